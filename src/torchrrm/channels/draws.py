"""What scenarios draw: channels, and where their ends stand."""

from jaxtyping import Bool, Complex, Float
from torch import Tensor

from torchrrm.records import tensor_record

__all__ = ["AntennaDraw", "ChannelDraw", "UrbanDraw"]


@tensor_record
class ChannelDraw:
    """Channels of one draw of a scenario. `gain[..., k, j]` is the link from transmitter `j` to receiver `k`.

    Attributes:
        large_scale_gain: path loss and shadowing, linear.
        small_scale_gain: fading, linear, of unit mean.
        rx_position_m: positions of the receivers.
        tx_position_m: positions of the transmitters.
    """

    large_scale_gain: Float[Tensor, "*batch rx tx"]
    small_scale_gain: Float[Tensor, "*batch rx tx"]
    rx_position_m: Float[Tensor, "*batch rx 3"]
    tx_position_m: Float[Tensor, "*batch tx 3"]

    @property
    def gain(self) -> Float[Tensor, "*batch rx tx"]:
        """`|h|^2`, the product of both."""
        return self.large_scale_gain * self.small_scale_gain


@tensor_record
class UrbanDraw(ChannelDraw):
    """Channels of one draw of a scenario with buildings, such as `UrbanSquare`.

    Attributes:
        building_m: lower and upper corner of each building.
        line_of_sight: whether no building stands between the ends of a link.
    """

    building_m: Float[Tensor, "*batch building 2 3"]
    line_of_sight: Bool[Tensor, "*batch rx tx"]


@tensor_record
class AntennaDraw:
    """Complex channels of one draw of a scenario; the middle axis counts independent samples of the fading.

    Attributes:
        channel: amplitudes from antenna `tx_ant` of transmitter `tx` to antenna `rx_ant` of receiver `rx`.
        large_scale_gain: path loss and shadowing, linear, the mean of `|channel|^2`.
        rx_position_m: positions of the receivers.
        tx_position_m: positions of the transmitters.
    """

    channel: Complex[Tensor, "*batch sample rx rx_ant tx tx_ant"]
    large_scale_gain: Float[Tensor, "*batch rx tx"]
    rx_position_m: Float[Tensor, "*batch rx 3"]
    tx_position_m: Float[Tensor, "*batch tx 3"]
