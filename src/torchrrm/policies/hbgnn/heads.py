"""Output layers of HBGNN: probabilities from scores, differentiable."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.nn import edge_softmax

__all__ = [
    "LARGEST_TEMPERATURE",
    "LEAST_TEMPERATURE",
    "straight_through",
    "temperature_of",
    "tempered_softmax",
]

LEAST_TEMPERATURE, LARGEST_TEMPERATURE = 0.05, 1.0


def temperature_of(probability: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Temperature after a step whose largest probability was `x`: `x (1 - x) / |2 x - 1|`, clamped to [0.05, 1].

    Theorem 5 of [Zhang2022HBGNN], whose sign is a slip: as printed, `x (x - 1) / (2 x - 1)`, it is negative above 1/2.
    Corrected it is still unbounded at 1/2 and 0 at 1, hence the clamp.

    >>> temperature_of(torch.tensor([0.5, 0.9, 1.0]))
    tensor([1.0000, 0.1125, 0.0500])
    """
    spread = (2 * probability - 1).abs().clamp_min(torch.finfo(probability.dtype).tiny)
    return (probability * (1 - probability) / spread).clamp(LEAST_TEMPERATURE, LARGEST_TEMPERATURE)


def tempered_softmax(
    score: Float[Tensor, "*batch user bs"],
    reach: Bool[Tensor, "*batch user bs"],
    temperature: float | Float[Tensor, ""] = 1.0,
) -> Float[Tensor, "*batch user bs"]:
    """Softmax over stations of `score / T`, Eq. (11) of [Zhang2022HBGNN]; 0 out of reach."""
    return edge_softmax(score / temperature, reach, -1)


def straight_through(
    score: Float[Tensor, "*batch user bs"],
    reach: Bool[Tensor, "*batch user bs"],
    temperature: float | Float[Tensor, ""] = 1.0,
    *,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*batch user bs"]:
    """One station for each user exactly, drawn by its score, with the gradient of the tempered softmax [Jang2017].

    The alternative to low temperatures: what is scored is an association, so that there is no error of relaxation,
    and the noise explores.

    Args:
        score: logits.
        reach: which stations may be drawn.
        temperature: of the softmax whose gradient is taken.
        generator: of the Gumbel noise; without, the likeliest station is taken.
    """
    if generator is not None:
        waited = torch.empty_like(score).exponential_(generator=generator)
        score = score - torch.log(waited.clamp_min(torch.finfo(score.dtype).tiny))
    soft = tempered_softmax(score, reach, temperature)
    best = torch.where(reach, score, -torch.inf).max(-1, keepdim=True).indices if score.shape[-1] else soft
    hard = torch.zeros_like(soft).scatter(-1, best, 1.0) * reach
    return hard + soft - soft.detach()
