"""The package against what people write by themselves, for each family: ratios and growth, one thread, one run.

python benchmarks/bench_plain.py [--json FILE] [--only SECTION ...]

The plain forms are those of `benchmarks/plain/`: numpy for one instance at a time with loops in Python, and the graph
network by PyTorch Geometric. Times are medians of whole calls, from instance to action. Growth is the exponent of the
time over the size, by least squares in log scale, over all sizes that a form is run at.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from bench_links import rayleigh
from bench_slicing import slices
from plain.association import effective_rate_plain
from plain.beamforming import least_power
from plain.demands import online_dual
from plain.links import wmmse as plain_wmmse
from plain.slicing import greedy
from suite import growth_exponent, milliseconds, run
from torchrrm.channels import hudn_scenario, urllc_scenario
from torchrrm.policies import OnlineDual, PowerGNN
from torchrrm.policies.pyg import PyGLinkGNN, dense_data
from torchrrm.problems import KINDS, SumRateAssociation, ergodic_instance, relative_gain
from torchrrm.problems.beamforming import least_sinr
from torchrrm.records import index
from torchrrm.setups.association import CellSource, cell_task
from torchrrm.setups.beamforming import BeamSource, BeamTerms, draw_beams
from torchrrm.solvers import WMMSE, ControlledEffectiveRate, ExactSlicing, MinimumPowerBeamforming

SEED = 8_000_000
BUDGET_S = 0.6


@dataclass(frozen=True)
class Pair:
    """Both forms on one instance: calls, what part of the plain one is run, and how far they are apart."""

    ours: Callable[[], Any]
    plain: Callable[[], Any] | None
    whole: float = 1.0
    apart: float | None = None


@dataclass(frozen=True)
class Comparison:
    """One claim: what it is of, at which sizes, and how an instance of a size is made."""

    title: str
    sizes: Sequence[int]
    make: Callable[[int], Pair]


def slicing_pair(users: int, *, per_user: bool) -> Pair:
    """A slice of 2 MHz a user: the exact solver, and greedy by blocks of 10 kHz, some of them extrapolated to all."""
    problem, blocks = KINDS["data-rate"], 20 if per_user else 200
    instance = index(slices(problem, 1, users, bandwidth_hz=2e6 * users), 0)
    ours = partial(ExactSlicing(problem), instance)
    plain = partial(greedy, problem, instance, per_user=per_user, blocks=blocks)
    return Pair(ours, plain, plain() / blocks) if users <= 1000 else Pair(ours, None)


def wmmse_pair(links: int) -> Pair:
    """WMMSE of 100 iterations from full power."""
    instance = index(rayleigh(1, links), 0)
    gain, solver = relative_gain(instance).double().numpy(), WMMSE(100)
    ours, plain = partial(solver, instance), partial(plain_wmmse, gain, 100)
    if links > 200:
        return Pair(ours, None)
    return Pair(ours, plain, apart=float(np.abs(plain() - ours().power_w.numpy()).max()))


@torch.inference_mode()
def network_pair(links: int) -> Pair:
    """The paper's power net on the complete graph, dense here, by messages there; features included in neither."""
    torch.manual_seed(SEED)
    policy, instance = PowerGNN.literal().eval(), index(rayleigh(1, links), 0)
    data, net = dense_data(policy, instance), PyGLinkGNN(policy).eval()
    geometric = torch.inference_mode()(lambda: net(data.x, data.edge_index, data.edge_weight))
    dense = torch.inference_mode()(lambda: policy(instance))
    return Pair(dense, geometric, apart=float((dense().power_w - geometric()).abs().max()))


def demands_pair(links: int) -> Pair:
    """200 slots of the online dual over WMMSE of 40 iterations, a demand of 0.2 bit/s/Hz each."""
    generator = torch.Generator().manual_seed(SEED + links)
    gain = torch.empty(200, links, links, dtype=torch.float64).exponential_(generator=generator)
    slots = ergodic_instance(gain, gain.mean(0), noise_power_w=0.03, max_power_w=1.0, min_rate_bps_hz=0.2)
    loop, demand = OnlineDual(WMMSE(40)), np.full(links, 0.2)
    plain = partial(online_dual, gain.numpy() / 0.03, demand, loop.step, 40)
    ours = partial(loop.track, slots, loop.start(slots))
    if links > 20:
        return Pair(ours, None)
    return Pair(ours, plain, apart=float(np.abs(plain() - ours()[0].rate_bps_hz.numpy()).mean()))


def beams_pair(users: int) -> Pair:
    """Least powers of users in the wide ring at a station of 64 antennas, 20 dB and 256 channel uses."""
    source = BeamSource(urllc_scenario(30.0, 200.0), users, 64, BeamTerms.at_snr(20.0, 256.0))
    instance = index(draw_beams(source, 1, generator=torch.Generator().manual_seed(SEED + users)), 0)
    solver = MinimumPowerBeamforming()
    arrays = instance.channel.to(torch.complex128), least_sinr(instance), instance.noise_power_w.double()
    plain = partial(least_power, *(array.numpy() for array in arrays))
    apart = np.abs(plain() / solver(instance).power_w.double().numpy() - 1).max()
    return Pair(partial(solver, instance), plain, apart=float(apart))


def association_pair(users: int) -> Pair:
    """Effective-rate association with power control (JUAPCMWSER), seven stations to eight users."""
    source = CellSource(hudn_scenario(), users, users * 7 // 8)
    task = cell_task(source, SumRateAssociation())
    cells = index(task.sample(1, generator=torch.Generator().manual_seed(SEED + users)), 0)
    solver, noise = ControlledEffectiveRate(), float(cells.noise_power_w)
    plain = partial(
        effective_rate_plain, cells.gain.double().numpy(), noise, cells.max_power_w.double().numpy()
    )
    if users > 60:
        return Pair(partial(solver, cells), None)
    value = float(task.problem.evaluate(cells, solver(cells)).objective)
    return Pair(partial(solver, cells), plain, apart=abs(plain()[2] / value - 1))


COMPARISONS = {
    "slicing": Comparison(
        "slice, exact : greedy user by user",
        (10, 100, 1000, 10_000, 100_000),
        partial(slicing_pair, per_user=True),
    ),
    "slicing-numpy": Comparison(
        "slice, exact : greedy, numpy over users",
        (10, 100, 1000, 10_000, 100_000),
        partial(slicing_pair, per_user=False),
    ),
    "links": Comparison("WMMSE, 100 iterations : numpy", (10, 20, 50, 100, 200, 400), wmmse_pair),
    "graphs": Comparison("power net, dense : PyTorch Geometric", (10, 20, 50, 100, 200), network_pair),
    "demands": Comparison("online dual, 200 slots : numpy", (5, 10, 20, 50), demands_pair),
    "beamforming": Comparison("least powers, 64 antennas : numpy", (2, 4, 8, 16, 24), beams_pair),
    "association": Comparison("effective rates : loops", (16, 32, 64, 120), association_pair),
}


def measured(comparison: Comparison) -> dict[str, Any]:
    """Times of both forms by size in ms, their ratio where both are run, and how they grow."""
    ours: dict[int, float] = {}
    plain: dict[int, float] = {}
    apart: list[float] = []
    for size in comparison.sizes:
        pair = comparison.make(size)
        ours[size] = float(np.median(milliseconds([pair.ours], BUDGET_S)))
        if pair.plain is not None:
            plain[size] = pair.whole * float(np.median(milliseconds([pair.plain], BUDGET_S)))
        apart += [] if pair.apart is None else [pair.apart]
    ratio = {size: plain[size] / ours[size] for size in plain}
    return {
        "title": comparison.title,
        "ours_ms": ours,
        "plain_ms": plain,
        "ratio": ratio,
        "growth_exponent": growth_exponent(ours),
        "plain_growth_exponent": growth_exponent(plain),
        "largest_difference": max(apart, default=None),
    }


def shown(comparison: Comparison) -> dict[str, Any]:
    """Measure, and print a line a size and one of growth."""
    found = measured(comparison)
    print(f"{found['title']}: ms, and how many times faster")
    for size, ours in found["ours_ms"].items():
        plain = found["plain_ms"].get(size)
        beside = "" if plain is None else f"{plain:14.3f}{found['ratio'][size]:11.0f}"
        print(f"{size:9}{ours:12.4f}{beside}")
    grown = f"{found['growth_exponent']:12.2f}{found['plain_growth_exponent']:14.2f}"
    apart = found["largest_difference"]
    told = "" if apart is None else f"   largest difference {apart:.1e}"
    print(f"{'growth':>9}{grown}{told}", flush=True)
    return found


SECTIONS = {name: partial(shown, comparison) for name, comparison in COMPARISONS.items()}


if __name__ == "__main__":
    run("bench_plain", __doc__, SECTIONS, SEED)
