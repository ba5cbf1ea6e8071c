"""Records of a multi-antenna downlink: the instance, and its actions in the dual uplink and in the downlink."""

from typing import ClassVar

from jaxtyping import Bool, Complex, Float
from torch import Tensor

from torchrrm.records import tensor_record

__all__ = ["BeamAction", "DownlinkAction", "MisoInstance"]


@tensor_record
class MisoInstance:
    """One station of many antennas that serves K users of one antenna with short packets.

    Attributes:
        channel: complex amplitudes; row `k` is `h_k` (not conjugated), and a beam `w` reaches user `k` as `h_k^H w`.
        noise_power_w: noise power at each user in W, `sigma_k^2`.
        max_power_w: power limit of the station in W, over all users.
        weight: of each user's rate, `alpha_k`.
        blocklength: channel uses of a packet, `n`.
        error_probability: of decoding a packet, `epsilon`, below 1/2.
        payload_bits: of each user's packet, `D`: the least rate is `D ln(2) / n` nats a channel use; 0 asks for none.
        active: users that are to be served; the others are padding or have been told to pause.
    """

    channel: Complex[Tensor, "*batch user ant"]
    noise_power_w: Float[Tensor, "*batch user"]
    max_power_w: Float[Tensor, "*batch"]
    weight: Float[Tensor, "*batch user"]
    blocklength: Float[Tensor, "*batch"]
    error_probability: Float[Tensor, "*batch"]
    payload_bits: Float[Tensor, "*batch user"]
    active: Bool[Tensor, "*batch user"]

    holds: ClassVar[str] = "users of an antenna array"


@tensor_record
class BeamAction:
    """Powers and beams of the dual uplink, in which the problem is solved; `to_downlink` tells what the station sends.

    Attributes:
        power_w: uplink power of each user in W, `q_k`; 0 for users that are not active.
        beam: unit vectors, `w_k`, used at the station in both directions; 0 for users that are not active.
    """

    power_w: Float[Tensor, "*batch user"]
    beam: Complex[Tensor, "*batch user ant"]


@tensor_record
class DownlinkAction:
    """What the station sends: `sum_k sqrt(p_k) w_k s_k` with symbols `s_k` of unit power.

    Attributes:
        power_w: downlink power of each user's beam in W; their sum is that of the uplink.
        beam: unit vectors, those of the uplink.
    """

    power_w: Float[Tensor, "*batch user"]
    beam: Complex[Tensor, "*batch user ant"]
