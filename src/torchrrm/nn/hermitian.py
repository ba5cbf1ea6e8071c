"""Hermitian matrices as pairs of real ones, in operators that ONNX has.

ONNX has neither complex tensors nor inverses. All that beamforming policies need of them follows from one elimination
without pivoting, whose pivots are at least 1. It takes a step a user, of any number of users: an exported graph loops
over them. Elsewhere `torch.linalg` does the same.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch._higher_order_ops.scan import scan_op

__all__ = ["beam_planes", "gram_planes", "loaded_gram"]

Matrices = tuple[Float[Tensor, "*batch user user"], Float[Tensor, "*batch user user"]]
Vectors = tuple[Float[Tensor, "*batch user ant"], Float[Tensor, "*batch user ant"]]


def gram_planes(real: Float[Tensor, "*batch user ant"], imag: Float[Tensor, "*batch user ant"]) -> Matrices:
    """Real and imaginary part of `G_kl = g_k^H g_l` from those of `g`."""
    across = real @ imag.mT
    return real @ real.mT + imag @ imag.mT, across - across.mT


def loaded_gram(
    gram_real: Float[Tensor, "*batch user user"],
    gram_imag: Float[Tensor, "*batch user user"],
    share: Float[Tensor, "*batch user"],
) -> Matrices:
    """Real and imaginary part of `A = G (I + Q G)^-1`, `Q = diag(share)`, which is Hermitian as `G` is.

    In an exported graph, user `l` adds its power to those before it, `A -= A_:l A_l: / (1 / q_l + A_ll)`, from `A = G`
    on; see `torchrrm.kernels.gram.sweep`. The errors are `e_k = 1 - q_k A_kk`: at an SINR of 30 dB they lose three
    digits, so take double precision.
    """
    if not torch.compiler.is_exporting():
        gram = torch.complex(gram_real, gram_imag)
        one = torch.eye(share.shape[-1], dtype=gram.dtype, device=gram.device)
        loaded = torch.linalg.solve(one + gram * share[..., None, :], gram)  # (I + G Q)^-1 G
        return loaded.real, loaded.imag
    one = torch.eye(share.shape[-1], dtype=share.dtype, device=share.device)
    place = _two_by_two(one, torch.zeros_like(one)).unflatten(-1, (-1, 2)).movedim(-2, 0)
    place = place[:, None].expand(
        -1, share.shape[0], -1, -1
    )  # [user batch part 2]: of a graph's one batch axis
    inverse = (1 / share).mT[..., None, None]  # [user batch 1 1]; infinite without power

    def add(loaded: Tensor, place: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
        own = torch.bmm(loaded, place)  # [batch part 2]: of A_:l
        pivot = inverse + (own * place).amax((-2, -1), keepdim=True)  # [batch 1 1]; all but A_ll are 0
        return loaded - torch.bmm(own / pivot, own.mT), pivot

    loaded, _ = scan_op(add, [_two_by_two(gram_real, gram_imag)], [place, inverse], ())
    return loaded[..., 0::2, 0::2], loaded[..., 1::2, 0::2]


def beam_planes(
    real: Float[Tensor, "*batch user ant"],
    imag: Float[Tensor, "*batch user ant"],
    loaded: Matrices,
    share: Float[Tensor, "*batch user"],
) -> Vectors:
    """Real and imaginary parts of the best beams, `w_k ~ sum_l g_l (delta_lk - q_l A_lk)`, of unit length.

    Args:
        real: of `g`.
        imag: of `g`; a user whose channel is 0 has the beam 0.
        loaded: `loaded_gram` at the shares.
        share: `q`.
    """
    one = torch.eye(share.shape[-1], dtype=share.dtype, device=share.device)
    mix_real = (one - share[..., :, None] * loaded[0]).mT  # [*batch beam user]
    mix_imag = -(share[..., :, None] * loaded[1]).mT
    along = mix_real @ real - mix_imag @ imag
    across = mix_real @ imag + mix_imag @ real
    length = torch.sqrt((along.square() + across.square()).sum(-1, keepdim=True))
    length = torch.where(length > 0, length, torch.ones_like(length))
    return along / length, across / length


def _two_by_two(real: Tensor, imag: Tensor) -> Float[Tensor, "*batch part part"]:
    """Each complex entry `a + i b` as the real block `[[a, -b], [b, a]]`: twice as many rows and columns."""
    rows = torch.stack([torch.stack([real, -imag], dim=-1), torch.stack([imag, real], dim=-1)], dim=-3)
    return rows.flatten(-4, -3).flatten(-2, -1)
