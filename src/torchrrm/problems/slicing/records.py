"""Records of a slice: the instance, the instance with its schedule, and the action."""

from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.records import tensor_record

__all__ = ["SliceAction", "SliceInstance", "SliceSchedule"]


@tensor_record
class SliceInstance:
    """One slice.

    Attributes:
        cn0_hz: carrier-to-noise density ratio `P h / N0` of each user in Hz. For the effective capacity `h`
            is the large-scale gain.
        eavesdropper_cn0_hz: the same of its signal at the eavesdropper; only the secrecy rate reads it.
        min_rate_bps: minimum rate in bit/s.
        bandwidth_hz: bandwidth `W` of the slice in Hz.
        active: users that ask for service; the others are padding.
    """

    cn0_hz: Float[Tensor, "*batch user"]
    eavesdropper_cn0_hz: Float[Tensor, "*batch user"]
    min_rate_bps: Float[Tensor, "*batch user"]
    bandwidth_hz: Float[Tensor, "*batch"]
    active: Bool[Tensor, "*batch user"]

    holds: ClassVar[str] = "users of one slice"


@tensor_record
class SliceSchedule(SliceInstance):
    """A slice whose `active` users are the scheduled ones.

    Attributes:
        minimum_bandwidth_hz: bandwidth in Hz that gives each scheduled user its minimum rate; 0 for the
            others.
        surplus_hz: bandwidth in Hz that is left to share.
    """

    minimum_bandwidth_hz: Float[Tensor, "*batch user"]
    surplus_hz: Float[Tensor, "*batch"]


@tensor_record
class SliceAction:
    """Bandwidth of each user in Hz; 0 for users that are not scheduled."""

    bandwidth_hz: Float[Tensor, "*batch user"]
