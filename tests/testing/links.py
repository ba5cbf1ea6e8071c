"""Interference links that the suites are tried on."""

import torch

from torchrrm.problems import ErgodicInstance, LinkInstance
from torchrrm.testing import Expected

LINKS = Expected(axes=(("rx", "tx"),), closeness=2e-5)
ERGODIC = Expected(axes=(("rx", "tx"),), closeness=2e-5, violation={"min_rate": 1.0})


def some(batch_size: int, links: int, *, generator: torch.Generator) -> LinkInstance:
    """Direct gains above the others, in physical units; limits and weights differ."""
    gain = 10 ** (-11 + 2 * torch.rand(batch_size, links, links, generator=generator))
    gain = gain + 1e-9 * torch.rand(batch_size, links, 1, generator=generator) * torch.eye(links)
    return LinkInstance(
        gain=gain,
        noise_power_w=1e-13 * (1 + torch.rand(batch_size, generator=generator)),
        max_power_w=0.01 * (0.5 + torch.rand(batch_size, links, generator=generator)),
        weight=0.5 + torch.rand(batch_size, links, generator=generator),
        active=torch.ones(batch_size, links, dtype=torch.bool),
    )


def sample(batch_size: int, *, generator: torch.Generator, links: int = 6) -> LinkInstance:
    """Six of them."""
    return some(batch_size, links, generator=generator)


def sample_ergodic(batch_size: int, *, generator: torch.Generator, links: int = 6) -> ErgodicInstance:
    """The same links over four slots of Rayleigh fading."""
    drawn = sample(batch_size, generator=generator, links=links)
    fading = torch.empty(batch_size, 4, links, links).exponential_(generator=generator)
    return ErgodicInstance(
        gain=drawn.gain[:, None] * fading,
        mean_gain=drawn.gain,
        noise_power_w=drawn.noise_power_w,
        max_power_w=drawn.max_power_w,
        min_rate_bps_hz=torch.rand(batch_size, links, generator=generator),
        active=drawn.active,
    )
