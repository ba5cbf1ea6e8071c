"""Interference links that the suites are tried on."""

import torch

from torchrrm.problems import ErgodicInstance, LinkInstance, ergodic_instance, link_instance
from torchrrm.records import replace
from torchrrm.testing import Expected

LINKS = Expected(axes=(("rx", "tx"),), closeness=2e-5)
ERGODIC = Expected(axes=(("rx", "tx"),), closeness=2e-5, violation={"min_rate": 1.0})
LEAST_RATE = 0.05  # bit/s/Hz, which every instance of `sample` can give
HALL_DB = """
-79.83,-79.59,-79.83,-80.65,-79.55,-79.78,-80.27,-79.71
-79.82,-79.85,-79.99,-79.73,-80.37,-80.08,-80.24,-79.70
-79.98,-80.15,-80.39,-80.13,-80.00,-80.14,-79.35,-79.50
-81.36,-80.94,-80.09,-80.21,-79.89,-79.89,-78.94,-80.56
-80.19,-78.98,-79.68,-79.67,-80.26,-80.82,-79.92,-79.95
-80.61,-80.34,-80.04,-80.47,-80.05,-79.95,-79.98,-80.25
-79.70,-79.55,-79.84,-80.41,-79.63,-80.25,-79.56,-80.54
-79.54,-80.01,-80.62,-80.16,-79.97,-79.86,-80.49,-80.55
"""
"""Gains in dB between eight links in a hall, with a spread of 0.5 dB."""


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


def symmetric() -> LinkInstance:
    """Six links with all gains at -80 dB."""
    return link_instance(torch.full((6, 6), 1e-8, dtype=torch.float64))


def hall() -> LinkInstance:
    """The links of `HALL_DB`."""
    rows = [[float(value) for value in row.split(",")] for row in HALL_DB.split()]
    return link_instance(10 ** (torch.tensor(rows, dtype=torch.float64) / 10))


def partly_feasible(count: int, size: int = 4, seed: int = 0) -> LinkInstance:
    """Instances in double precision of which some cannot give 1 bit/s/Hz to all."""
    generator = torch.Generator().manual_seed(seed)
    gain = torch.empty(count, size, size, dtype=torch.float64).exponential_(generator=generator)
    strength = 10 ** (-1.2 + 0.7 * torch.rand(count, size, size, generator=generator).double())
    own = torch.eye(size, dtype=torch.float64)
    return link_instance(gain * (strength * (1 - own) + own), noise_power_w=0.03, max_power_w=1.0)


def weighted_rayleigh(count: int, links: int, seed: int = 0, idle: float = 0.2) -> LinkInstance:
    """Rayleigh links of 15 dB with weights of a control loop, some of them not active."""
    generator = torch.Generator().manual_seed(seed)
    gain = torch.empty(count, links, links, dtype=torch.float64).exponential_(generator=generator)
    weight = 1.0 + torch.empty(count, links, dtype=torch.float64).exponential_(generator=generator) * (
        torch.rand(count, links, generator=generator) < 1 / 3
    )
    instance = link_instance(gain, noise_power_w=1.0, max_power_w=10**1.5, weight=weight)
    active = torch.rand(count, links, generator=generator) >= idle
    return replace(instance, active=active)


def configurations(count: int, slots: int, generator: torch.Generator, links: int = 5) -> ErgodicInstance:
    """Links over slots of Rayleigh fading, strong direct gains, a minimum of 1 bit/s/Hz each."""
    gain = torch.empty(count, slots, links, links).exponential_(generator=generator)
    gain = gain * (0.05 + 2 * torch.eye(links))
    return ergodic_instance(gain, noise_power_w=0.01, max_power_w=1.0, min_rate_bps_hz=1.0)


def rayleigh_slots(
    generator: torch.Generator,
    *,
    runs: int = 1,
    slots: int = 60,
    links: int = 5,
    min_rate_bps_hz: float = 0.0,
) -> ErgodicInstance:
    """Links of independent Rayleigh fading over slots, 15 dB over the noise, in double precision."""
    gain = torch.empty(runs, slots, links, links, dtype=torch.float64).exponential_(generator=generator)
    return ergodic_instance(gain, noise_power_w=1.0, max_power_w=10**1.5, min_rate_bps_hz=min_rate_bps_hz)
