"""Records of interference links: instances of one slot and of many, and their actions."""

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.records import replace, tensor_record

__all__ = ["ErgodicAction", "ErgodicInstance", "LinkInstance", "PowerAction"]


@tensor_record
class LinkInstance:
    """N transmitter-receiver pairs on one channel.

    Attributes:
        gain: `|h|^2`, linear; `gain[..., k, j]` is the link from transmitter `j` to receiver `k`.
        noise_power_w: noise power at a receiver in W.
        max_power_w: power limit of each transmitter in W.
        weight: of each link's rate: priorities, multipliers of long-term constraints.
        active: links that may transmit; the others are padding or have been told to pause.
    """

    gain: Float[Tensor, "*batch rx tx"]
    noise_power_w: Float[Tensor, "*batch"]
    max_power_w: Float[Tensor, "*batch tx"]
    weight: Float[Tensor, "*batch tx"]
    active: Bool[Tensor, "*batch tx"]

    same_axis: ClassVar[Mapping[str, str]] = {"rx": "tx"}
    """Receiver `k` is that of transmitter `k`: what masks the one masks the other."""
    holds: ClassVar[str] = "links in one slot"


@tensor_record
class PowerAction:
    """Transmit power of each link in W; 0 for links that are not active."""

    power_w: Float[Tensor, "*batch tx"]


@tensor_record
class ErgodicInstance:
    """The same links over slots in which the channel changes, with a minimum of each link's mean rate.

    Attributes:
        gain: `|h|^2` of each slot, in the order of time.
        mean_gain: `E[|h|^2]`, what is known before the first slot: the configuration `N` of [Huang2024].
        noise_power_w: noise power at a receiver in W.
        max_power_w: power limit of each transmitter in every slot, in W.
        min_rate_bps_hz: least mean rate over the slots, `f_min` of [Huang2024], in bit/s/Hz.
        active: links that take part.
    """

    gain: Float[Tensor, "*batch slot rx tx"]
    mean_gain: Float[Tensor, "*batch rx tx"]
    noise_power_w: Float[Tensor, "*batch"]
    max_power_w: Float[Tensor, "*batch tx"]
    min_rate_bps_hz: Float[Tensor, "*batch tx"]
    active: Bool[Tensor, "*batch tx"]

    same_axis: ClassVar[Mapping[str, str]] = {"rx": "tx"}
    """Receiver `k` is that of transmitter `k`: what masks the one masks the other."""
    holds: ClassVar[str] = "links over many slots"

    def slots(self) -> LinkInstance:
        """All slots as instances of batch shape `[*batch slot]`, every active link of weight 1."""
        return LinkInstance(
            gain=self.gain,
            noise_power_w=self._each_slot(self.noise_power_w),
            max_power_w=self._each_slot(self.max_power_w, links=True),
            weight=self._each_slot(self.active.to(self.gain.dtype), links=True),
            active=self._each_slot(self.active, links=True),
        )

    def slot(self, index: int) -> LinkInstance:
        """One slot, every active link of weight 1."""
        return self._links(self.gain[..., index, :, :])

    def between(self, first: int, last: int) -> "ErgodicInstance":
        """The slots from `first` up to `last`, without a copy."""
        return replace(self, gain=self.gain[..., first:last, :, :])

    def mean_slot(self) -> LinkInstance:
        """The slot of mean gains, every active link of weight 1."""
        return self._links(self.mean_gain)

    def _links(self, gain: Tensor) -> LinkInstance:
        return LinkInstance(
            gain=gain,
            noise_power_w=self.noise_power_w,
            max_power_w=self.max_power_w,
            weight=self.active.to(self.gain.dtype),
            active=self.active,
        )

    def _each_slot(self, value: Tensor, *, links: bool = False) -> Tensor:
        """Repeated along the axis of slots, without a copy."""
        shape = self.gain.shape[:-2] + value.shape[-1:] * links
        return value.unsqueeze(-2 if links else -1).expand(shape)


@tensor_record
class ErgodicAction:
    """Powers of all slots, and how far each link's minimum is relaxed.

    Attributes:
        power_w: transmit power in each slot in W; 0 for links that are not active.
        slack_bps_hz: `s` of Eq. (4) of [Huang2024] in bit/s/Hz: the minimum asked for is `f_min - s`.
    """

    power_w: Float[Tensor, "*batch slot tx"]
    slack_bps_hz: Float[Tensor, "*batch tx"]
