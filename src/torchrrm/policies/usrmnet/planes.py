"""`USRMNet` with complex numbers as real and imaginary planes: what `torchrrm.deploy` exports."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.nn.hermitian import beam_planes, gram_planes, loaded_gram
from torchrrm.policies.unrolled import Unrolled
from torchrrm.policies.usrmnet.core import Uplink, Wish, layer_program, outlook
from torchrrm.records import tensor_record

__all__ = ["BeamPlanes", "PlaneInstance", "unroll_planes"]


@tensor_record
class PlaneInstance:
    """A `MisoInstance` as an exported graph reads it; users that are not active may hold anything.

    Attributes:
        channel_real: real part of `g_k = h_k sqrt(P) / sigma_k`.
        channel_imag: its imaginary part.
        weight: of each user's rate.
        back_off: `theta` in nats, see `torchrrm.rates.packet_back_off`.
        least_sinr: the SINR from which on a user has its minimum rate.
        active: users that are to be served.
        start: shares of the power limit that the first layer begins with, see `torchrrm.policies.usrmnet.core.Uplink`.
    """

    channel_real: Float[Tensor, "*batch user ant"]
    channel_imag: Float[Tensor, "*batch user ant"]
    weight: Float[Tensor, "*batch user"]
    back_off: Float[Tensor, "*batch"]
    least_sinr: Float[Tensor, "*batch user"]
    active: Bool[Tensor, "*batch user"]
    start: Float[Tensor, "*batch user"]


@tensor_record
class BeamPlanes:
    """A `BeamAction` before its powers are restored, and what to restore them from.

    Attributes:
        share: uplink power of each user in parts of the limit, 1 together; minimum rates are kept under the beams
            before the last layer, where they can be.
        beam_real: real part of the best beams at these powers, unit vectors.
        beam_imag: its imaginary part.
        wanted: what `restored_power` is to take: proportions of powers without regard to minimum rates.
    """

    share: Float[Tensor, "*batch user"]
    beam_real: Float[Tensor, "*batch user ant"]
    beam_imag: Float[Tensor, "*batch user ant"]
    wanted: Float[Tensor, "*batch user"]


def unroll_planes(policy: Unrolled[Uplink, Wish], instance: PlaneInstance) -> BeamPlanes:
    """As `torchrrm.policies.unrolled.unroll`, with the best beams of the last powers; computed in float64."""
    single, zero = instance.channel_real.dtype, torch.zeros_like(instance.channel_real)
    real = torch.where(instance.active[..., None], instance.channel_real, zero).double()
    imag = torch.where(instance.active[..., None], instance.channel_imag, zero).double()
    links = _uplink(instance, *gram_planes(real, imag))
    state = policy.begin(links)
    for layer in policy.layers:
        known = outlook(links, state.share, _response)
        state = policy.advance(links, state, layer(layer_program(links, state.share, known)))
    along, across = beam_planes(real, imag, _loaded(links.gram, state.share), state.share)
    return BeamPlanes(
        share=state.share.to(single),
        beam_real=along.to(single),
        beam_imag=across.to(single),
        wanted=state.wanted.to(single),
    )


def _uplink(instance: PlaneInstance, real: Tensor, imag: Tensor) -> Uplink:
    """As `torchrrm.policies.usrmnet.core.uplink`; `gram` is `[*batch 2 user user]`."""
    gain = real.diagonal(dim1=-2, dim2=-1)
    served, zero = instance.active & (gain > 0), torch.zeros_like(gain)
    weight = torch.where(served, instance.weight.double(), zero)
    mean = weight.sum(-1, keepdim=True) / served.sum(-1, keepdim=True).clamp_min(1)
    return Uplink(
        gram=torch.stack([real, imag], dim=-3),
        gain=gain,
        target=torch.where(served, instance.least_sinr.double(), zero),
        back_off=instance.back_off.double()[..., None],
        weight=weight / torch.where(mean > 0, mean, torch.ones_like(mean)),
        served=served,
        start=torch.where(served, instance.start.double(), zero),
    )


def _response(gram: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As `torchrrm.policies.usrmnet.core.response`, of planes."""
    real, imag = _loaded(gram, share)
    own = real.diagonal(dim1=-2, dim2=-1)
    return own, real.square() + imag.square(), 1 - share * own


def _loaded(gram: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """`loaded_gram` of `[*batch 2 user user]`."""
    return loaded_gram(gram[..., 0, :, :], gram[..., 1, :, :], share)
