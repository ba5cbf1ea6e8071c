"""The dual uplink by its Gram matrix: rates of optimal beams as functions of K powers, without antennas.

With powers as fractions `q` of the limit and channels relative to noise and limit, `g_k = h_k sqrt(P) / sigma_k`, the
Gram matrix is `G_kl = g_k^H g_l`, `Q = diag(q)`, and under beams that minimise the mean square error

    1 / (1 + SINR_k) = e_k = [(I + sqrt(Q) G sqrt(Q))^-1]_kk,   w_k ~ sum_l g_l [(I + Q G)^-1]_lk.
"""

import math

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from torchrrm.kernels.gram import MOST_HEARD
from torchrrm.problems.beamforming.records import BeamAction, DownlinkAction, MisoInstance
from torchrrm.problems.validation import MOST_RATIO

__all__ = [
    "MOST_HEARD",
    "audible",
    "coupled_sinr",
    "coupling",
    "downlink_sinr",
    "dual_sinr",
    "mmse_action",
    "mmse_beams",
    "mmse_error",
    "mmse_sinr",
    "power_slope",
    "relative_channel",
    "relative_gram",
    "to_downlink",
]


def relative_channel(instance: MisoInstance) -> Complex[Tensor, "*batch user ant"]:
    """`g_k = h_k sqrt(P) / sigma_k`; zero rows for users that are not active.

    Users whose strongest antenna exceeds `MOST_HEARD` count as of that, those below its inverse as not heard.
    """
    scale = torch.sqrt(instance.max_power_w)[..., None] / torch.sqrt(instance.noise_power_w)
    scale = torch.clamp(scale, max=MOST_RATIO)  # a number even without noise
    scale = torch.where(instance.active, scale, torch.zeros_like(scale))
    channel = torch.where(instance.active[..., None], instance.channel, torch.zeros_like(instance.channel))
    return channel * (scale * audible(channel.detach(), scale.detach()))[..., None]


def audible(
    channel: Complex[Tensor, "*batch user ant"], scale: Float[Tensor, "*batch user"]
) -> Float[Tensor, "*batch user"]:
    """What channels times the scale are to be multiplied by, that products of them be numbers: 1 but in extremes."""
    most = math.sqrt(MOST_HEARD)
    size = torch.maximum(channel.real.abs(), channel.imag.abs()).amax(-1) * scale
    factor = torch.where(size > most, most / size, torch.ones_like(size))
    return torch.where((size > 0) & (size < 1 / most), torch.zeros_like(size), factor)


def relative_gram(instance: MisoInstance) -> Complex[Tensor, "*batch user user"]:
    """`G_kl = g_k^H g_l`, Hermitian; zero rows and columns for users that are not active."""
    channel = relative_channel(instance)
    return channel.conj() @ channel.mT


def _error_matrix(
    gram: Complex[Tensor, "*#batch user user"], share: Float[Tensor, "*#batch user"]
) -> Complex[Tensor, "*batch user user"]:
    """`(I + sqrt(Q) G sqrt(Q))^-1`."""
    heard = share > 0  # the root of 0 has no derivative
    root = torch.where(heard, torch.sqrt(torch.where(heard, share, 1.0)), 0.0)
    system = root[..., :, None] * gram * root[..., None, :]
    one = torch.eye(share.shape[-1], dtype=gram.dtype, device=gram.device)
    return torch.linalg.inv_ex(one + system)[0]


def mmse_error(
    gram: Complex[Tensor, "*#batch user user"], share: Float[Tensor, "*#batch user"]
) -> Float[Tensor, "*batch user"]:
    """`e_k` of each user under optimal beams, in (0, 1]; `ln(1 + SINR_k) = -ln e_k`."""
    return _error_matrix(gram, share).diagonal(dim1=-2, dim2=-1).real


def mmse_sinr(
    gram: Complex[Tensor, "*#batch user user"], share: Float[Tensor, "*#batch user"]
) -> Float[Tensor, "*batch user"]:
    """`SINR_k = 1 / e_k - 1` of each user under optimal beams."""
    return 1 / mmse_error(gram, share) - 1


def power_slope(
    gram: Complex[Tensor, "*#batch user user"], share: Float[Tensor, "*#batch user"]
) -> Float[Tensor, "*batch user user"]:
    """Jacobian `J_kl = d ln(1 + SINR_k) / d q_l = (delta_kl A_kk - q_k |A_kl|^2) / e_k` with `A = G (I + Q G)^-1`."""
    one = torch.eye(share.shape[-1], dtype=gram.dtype, device=gram.device)
    matrix = torch.linalg.solve_ex(one + gram * share[..., None, :], gram)[0]  # equal to G (I + Q G)^-1
    own = matrix.diagonal(dim1=-2, dim2=-1).real
    error = 1 - share * own
    moved = torch.diag_embed(own) - share[..., :, None] * (matrix.real.square() + matrix.imag.square())
    return moved / error[..., :, None]


def mmse_beams(
    instance: MisoInstance, power_w: Float[Tensor, "*batch user"]
) -> Complex[Tensor, "*batch user ant"]:
    """The beams that maximise every user's SINR at these powers, Eq. (9) of [He2022USRMNet], by the Gram form.

    A user whose channel is 0 has no direction: its beam is 0, as that of a user that is not active.
    """
    channel = relative_channel(instance).to(
        torch.complex128
    )  # at a high SNR single precision loses the noise
    share = power_w / instance.max_power_w[..., None]
    gram = channel.conj() @ channel.mT
    one = torch.eye(share.shape[-1], dtype=gram.dtype, device=gram.device)
    mix = torch.linalg.inv_ex(one + share[..., :, None] * gram)[0]  # [l, k] of user l in beam k
    beam = (mix.mT @ channel).to(instance.channel.dtype)
    norm = torch.linalg.vector_norm(beam, dim=-1, keepdim=True)
    heard = norm > 0
    return torch.where(heard, beam / torch.where(heard, norm, torch.ones_like(norm)), torch.zeros_like(beam))


def mmse_action(instance: MisoInstance, power_w: Float[Tensor, "*batch user"]) -> BeamAction:
    """The action of these uplink powers with their best beams; power of users that are not active is dropped."""
    power_w = torch.where(instance.active, power_w, torch.zeros_like(power_w))
    return BeamAction(power_w=power_w, beam=mmse_beams(instance, power_w))


def coupling(
    instance: MisoInstance, beam: Complex[Tensor, "*batch user ant"]
) -> Float[Tensor, "*batch user user"]:
    """`C_kl = |g_k^H w_l|^2`: what user `k` and beam `l` have in common, relative to noise at full power."""
    product = relative_channel(instance).conj() @ beam.mT  # [*batch user user]
    return product.real.square() + product.imag.square()


def _without_own(matrix: Tensor) -> Tensor:
    own = torch.eye(matrix.shape[-1], dtype=torch.bool, device=matrix.device)
    return matrix.masked_fill(own, 0.0)


def coupled_sinr(
    coupled: Float[Tensor, "*#batch user user"], share: Float[Tensor, "*#batch user"]
) -> Float[Tensor, "*batch user"]:
    """Uplink SINR of given beams, Eq. (8) of [He2022USRMNet]: `q_k C_kk / (1 + sum_{l != k} q_l C_lk)`."""
    heard = (_without_own(coupled).mT @ share[..., None])[..., 0]
    return share * coupled.diagonal(dim1=-2, dim2=-1) / (1 + heard)


def dual_sinr(instance: MisoInstance, action: BeamAction) -> Float[Tensor, "*batch user"]:
    """Uplink SINR of each user under the action's own beams; 0 of users that are not active, who do not interfere."""
    share = torch.where(instance.active, action.power_w, torch.zeros_like(action.power_w))
    return coupled_sinr(coupling(instance, action.beam), share / instance.max_power_w[..., None])


def downlink_sinr(instance: MisoInstance, action: DownlinkAction) -> Float[Tensor, "*batch user"]:
    """SINR at each user: `p_k C_kk / (1 + sum_{l != k} p_l C_kl)` with powers relative to the limit."""
    share = torch.where(instance.active, action.power_w, torch.zeros_like(action.power_w))
    return coupled_sinr(coupling(instance, action.beam).mT, share / instance.max_power_w[..., None])


def to_downlink(instance: MisoInstance, action: BeamAction) -> DownlinkAction:
    """Downlink powers of the same beams, with the same SINR for every user and the same sum.

    By uplink-downlink duality `p` solves `p_k C_kk / SINR_k - sum_{l != k} C_kl p_l = 1` for users of positive
    power; it is computed in double precision. What the action's beams reach in the uplink they reach here, exactly.
    """
    share = torch.where(instance.active, action.power_w, torch.zeros_like(action.power_w)).double()
    share = share / instance.max_power_w.double()[..., None]
    coupled = coupling(instance, action.beam).double()
    target = coupled_sinr(coupled, share)
    sent: Bool[Tensor, "*batch user"] = target > 0
    own = coupled.diagonal(dim1=-2, dim2=-1) / torch.where(sent, target, torch.ones_like(target))
    both = sent[..., :, None] & sent[..., None, :]
    cross = torch.where(both, _without_own(coupled), torch.zeros_like(coupled))
    system = torch.diag_embed(torch.where(sent, own, torch.ones_like(own))) - cross
    power = torch.linalg.solve(system, sent.to(system.dtype)[..., None])[..., 0]
    power_w = power * instance.max_power_w.double()[..., None]
    return DownlinkAction(power_w=power_w.to(action.power_w.dtype), beam=action.beam)
