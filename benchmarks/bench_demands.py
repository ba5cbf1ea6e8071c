"""Demands met slot by slot: sum rate, shortfall and time a slot of the compiled loops, and the cost of a control step.

python benchmarks/bench_demands.py [--only SECTION ...] [--json FILE]

Rayleigh channels at 15 dB with the demands of Tables II to IV of [Behmandpoor2024]. A run is one loop over slots in the
order of time on one thread; sum rate and shortfall (Eq. (12)) are counted after the first thousand slots.
"""

import time
from typing import Any

import numba
import numpy as np
import torch

from suite import milliseconds, run
from torchrrm.bench.demands import blocks_until_met, shortfall
from torchrrm.kernels import control as kernels
from torchrrm.policies import OnlineDual, SharingSettings, TimeSharing
from torchrrm.policies.control import Controller
from torchrrm.problems import ErgodicInstance
from torchrrm.recipes.alcor.cases import TABLE2, TABLE3, TABLE4, Case, rayleigh
from torchrrm.recipes.alcor.loops import draw_runs
from torchrrm.solvers import WMMSE, certify_out_of_reach

SEED = 6_000_000
SETTLE, SLOTS = 1000, 8000
SPREAD = 4.0
ASKED: list[tuple[Case, int, int, float, float, float]] = [
    (TABLE4[1], 4, 40, 6.15, 20.0, 5.80),
    (TABLE4[2], 4, 40, 6.0, 20.0, 5.20),
    (TABLE4[3], 4, 40, 5.7, 20.0, 4.90),
    (TABLE3[10], 4, 40, 6.9, float("inf"), 3.13),
    (TABLE2[20], 4, 40, 7.95, 60.0, 6.56),
    (TABLE3[20], 4, 40, 7.9, 60.0, 3.97),
    (TABLE2[20], 16, 40, 8.2, 250.0, 6.56),
    (TABLE3[20], 16, 40, 8.1, 250.0, 3.97),
]
"""Demands, starts and steps of WMMSE, the sum rate and the time in us asked for, and what ALCOR prints."""
STEP = 0.02


def draw(case: Case, slots: int, seed: int, runs: int = 1) -> ErgodicInstance:
    """Runs of the case's links."""
    generator = torch.Generator().manual_seed(SEED + 1000 * case.links + seed)
    return draw_runs(rayleigh(case.links), case.demand, runs, slots, generator)


def follow(loop: Controller[Any], case: Case) -> dict[str, Any]:
    """Numbers of one run."""
    instance = draw(case, SETTLE + SLOTS, 0)
    state = loop.start(instance)
    loop.track(instance.between(0, 2), state)  # loads what is compiled
    begin = time.perf_counter()
    seen, _ = loop.track(instance, state)
    taken = 1e6 * (time.perf_counter() - begin) / (SETTLE + SLOTS)
    rate = seen.rate_bps_hz[0]
    mean = rate[SETTLE:].mean(0)
    return {
        "sum_rate": float(mean.sum()),
        "shortfall": float(shortfall(mean, case.demand)),
        "us_a_slot": taken,
        "blocks": int(blocks_until_met(rate, case.demand)),
    }


def dual() -> dict[str, Any]:
    """`OnlineDual` over compiled WMMSE, nothing trained."""
    print(
        f"OnlineDual over WMMSE of 40 steps, random starts of spread {SPREAD:g}, step {STEP}, one run of {SLOTS} slots"
    )
    print("demands              starts  sum rate (asked)  shortfall %  us a slot (asked)  printed ALCOR")
    found = {}
    for case, starts, steps, least, limit, printed in ASKED:
        loop = OnlineDual(WMMSE(steps, starts=starts, spread=SPREAD), step=STEP)
        row = follow(loop, case)
        found[f"{case.name}, {starts} starts"] = row | {"asked_sum_rate": least, "asked_us": limit}
        print(
            f"{case.name:22}{starts:4d}{row['sum_rate']:11.3f} ({least:g}){100 * row['shortfall']:13.2f}"
            f"{row['us_a_slot']:12.1f} ({limit:g}){printed:13.2f}",
            flush=True,
        )
    return found


def sharing() -> dict[str, Any]:
    """ALCOR over compiled WMMSE by its three updates."""
    print(
        "\nTimeSharing over WMMSE of 100 steps, one run: sum rate, shortfall %, blocks of 25 slots until met, us a slot"
    )
    found = {}
    for case in (*TABLE4.values(), TABLE3[10], TABLE3[20]):
        for update in ("simple", "printed", "corrected"):
            row = follow(TimeSharing(WMMSE(100), settings=SharingSettings(update=update)), case)
            found[f"{case.name}, {update}"] = row
            print(
                f"{case.name:22}{update:10}{row['sum_rate']:8.3f}{100 * row['shortfall']:9.2f}{row['blocks']:6d}"
                f"{row['us_a_slot']:9.1f}",
                flush=True,
            )
    return found


@numba.njit
def _dual_steps(multiplier, least, rate, count):
    for _ in range(count):
        kernels.dual_step(multiplier, least, rate, 0.02, 0.0, 1e3)


@numba.njit
def _sharing_steps(state, active, demand, rate, settings, on, count):
    for slot in range(count):
        kernels.select(state[0], active, 1, slot, on)
        kernels.sharing_step(state, slot, demand, rate, settings)


def steps() -> dict[str, Any]:
    """What the control costs beside the allocator, at 20 links; 5 us a slot are asked for."""
    links, count = 20, 10_000
    case, rng = TABLE3[20], np.random.default_rng(0)
    demand, rate = np.array(case.demand_bps_hz), rng.random(links)
    multiplier, rows, on = np.zeros(links), np.zeros((5, links)), np.zeros(links, np.bool_)
    active, how = np.ones(links, np.bool_), (kernels.SIMPLE, 25, 5.0, 0.9, 0.0, 1e3)
    calls = {
        "dual, in a compiled loop": (lambda: _dual_steps(multiplier, demand, rate, count), count),
        "sharing, in a compiled loop": (
            lambda: _sharing_steps(rows, active, demand, rate, how, on, count),
            count,
        ),
        "dual, a call from Python": (lambda: kernels.dual_step(multiplier, demand, rate, 0.02, 0.0, 1e3), 1),
        "sharing, two calls from Python": (
            lambda: (
                kernels.select(rows[0], active, 1, 7, on),
                kernels.sharing_step(rows, 7, demand, rate, how),
            ),
            1,
        ),
    }
    for runs in (1, 50):
        instance = draw(case, 1, 1, runs)
        links_, given = instance.slot(0), torch.rand(runs, links)
        for name, loop in (("dual", OnlineDual(WMMSE(1))), ("sharing", TimeSharing(WMMSE(1)))):
            calls[f"{name}, torch, {runs} runs at once"] = (_torch_step(loop, instance, links_, given), runs)
    print("\ncontrol step at 20 links: us a slot (5 asked)")
    found = {}
    for name, (call, each) in calls.items():
        found[name] = float(1e3 * np.median(milliseconds([call], 0.5)) / each)
        print(f"{name:40}{found[name]:9.3f}", flush=True)
    return found


def _torch_step(loop: Any, instance: ErgodicInstance, links: Any, rate: torch.Tensor) -> Any:
    """Selection or weights, and the update, of a loop in torch; the allocator is left out."""
    state = loop.start(instance)

    def step() -> None:
        if isinstance(loop, TimeSharing):
            loop.select(links, state)
        else:
            links.weight * (1 + state.multiplier)
        loop.observe(rate, state)

    return step


def infeasible() -> dict[str, Any]:
    """Demands out of reach over 1e4 slots: multipliers stay bounded, the report says who is short."""
    print("\ndemands of 2 bit/s/Hz by each of five links, 1e4 slots: they are out of reach together")
    case, found = Case("five times two", (2.0,) * 5), {}
    loops: dict[str, Controller[Any]] = {
        "OnlineDual": OnlineDual(WMMSE(40, starts=4, spread=SPREAD), step=STEP),
        "TimeSharing": TimeSharing(WMMSE(100)),
    }
    instance = draw(case, 10_000, 2)
    for name, loop in loops.items():
        seen, _ = loop.track(instance, loop.start(instance))
        rate, top = seen.rate_bps_hz[0, -2000:].mean(0), float(seen.multiplier.amax())
        excess = certify_out_of_reach(instance.between(0, 100), seen.multiplier[:, -1], case.demand[None])
        found[name] = {"multiplier": top, "sum_rate": float(rate.sum()), "excess": float(excess)}
        print(
            f"{name:14} largest multiplier {top:8.2f}, mean rates {[round(float(r), 2) for r in rate]}, "
            f"certified excess {100 * float(excess):.1f} % of the demands"
        )
    return found


if __name__ == "__main__":
    sections = {"dual": dual, "sharing": sharing, "steps": steps, "infeasible": infeasible}
    run("bench_demands", __doc__, sections, SEED)
