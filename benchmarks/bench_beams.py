"""Beamforming of short packets: solvers and networks alone and in batches, quality against latency, on one thread.

python benchmarks/bench_beams.py [--json FILE] [--only SECTION ...]

Instances have 64 antennas and 256 bits to each user: *paper* is the ring of 120 to 140 m at 15 dB with 128 channel
uses; *wide* is 30 to 200 m with 256 uses, at 15 dB (6 users) and 20 dB (16 users), where minimum rates bind; *loaded*
is the paper's ring with 16 antennas for 12 users, at 20 dB and 256 uses. Draws that are not feasible are left out and
counted.

A section is a function that prints its table and returns its numbers; add one to `SECTIONS`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite import milliseconds, run
from torchrrm.channels import urllc_scenario
from torchrrm.policies import load_pretrained
from torchrrm.problems import MisoInstance, UrllcBeamforming, mmse_action
from torchrrm.records import index
from torchrrm.setups.beamforming import BeamSource, BeamTerms, draw_beams
from torchrrm.solvers import (
    EqualPowerMMSE,
    GramAscent,
    HeBF,
    MinimumPowerBeamforming,
    ZeroForcing,
    restored_power,
)

SEED = 5_000_000
BATCH, SINGLES, HEBF_DRAWS = 256, 50, 20
PROBLEM = UrllcBeamforming()


@dataclass(frozen=True)
class Cell:
    """Where instances are drawn from."""

    name: str
    users: int
    antennas: int
    ring: tuple[float, float]
    snr_db: float
    blocklength: float

    def draw(self) -> tuple[MisoInstance, int]:
        """A batch of feasible instances in single precision, and how many were drawn for it."""
        terms = BeamTerms.at_snr(self.snr_db, self.blocklength)
        source = BeamSource(urllc_scenario(*self.ring), self.users, self.antennas, terms)
        generator = torch.Generator().manual_seed(SEED + self.users)
        instance = draw_beams(source, 4 * BATCH, generator=generator)
        places = MinimumPowerBeamforming().solve(instance).converged.nonzero()[:BATCH, 0]
        if len(places) < BATCH:
            raise RuntimeError(f"drawn: must hold {BATCH} feasible instances, received {len(places)}")
        return index(instance, places), int(places[-1]) + 1


CELLS = (
    Cell("paper", 6, 64, (120.0, 140.0), 15.0, 128.0),
    Cell("wide", 6, 64, (30.0, 200.0), 15.0, 256.0),
    Cell("wide", 16, 64, (30.0, 200.0), 20.0, 256.0),
    Cell("loaded", 12, 16, (120.0, 140.0), 20.0, 256.0),
)
ASCENT_MS, NETWORK_MS = {6: 0.2, 16: 1.0}, {6: 1.0}
FASTER = 1000.0  # asked of the network, against HeBF


def equal_restored(instance: MisoInstance) -> Any:
    """Equal powers, restored to the minimum rates."""
    return restored_power(instance, torch.ones_like(instance.noise_power_w))


def allocators(users: int) -> dict[str, tuple[Callable[[MisoInstance], Any], float]]:
    """What is timed, and the limit of its p50 alone in ms."""
    network = load_pretrained("usrmnet")
    return {
        "equal power": (EqualPowerMMSE(), math.inf),
        "zero forcing, torch": (ZeroForcing(), math.inf),
        "least power": (MinimumPowerBeamforming(), math.inf),
        "equal, restored": (equal_restored, math.inf),
        "USRMNet": (network, NETWORK_MS.get(users, math.inf)),
        "ascent, 1 step": (GramAscent(max_steps=1, starts=1), math.inf),
        "ascent, 1 start": (GramAscent(starts=1), math.inf),
        "ascent": (GramAscent(), ASCENT_MS.get(users, math.inf)),
        "ascent, 16 starts": (GramAscent(starts=16), math.inf),
    }


def objective(instance: MisoInstance, action: Any) -> Tensor:
    """Of beams, or of restored powers with their best beams."""
    if isinstance(action, tuple):
        action = mmse_action(instance, action[0])
    return PROBLEM.evaluate(instance, action).objective.double()


@torch.no_grad()
def latency() -> dict[str, Any]:
    """Calls alone and in batches, from instance to action, and what is lost to the best of all in each draw."""
    rows = []
    print(f"ms an instance: alone, and in batches of {BATCH}; loss to the best known, of the worst draw")
    heads = ("p50", "p99", "asked", "batch", "loss", "worst")
    for cell in CELLS:
        instance, drawn = cell.draw()
        place = f"{cell.name}, {cell.users} users, {cell.antennas} antennas"
        print(f"\n{place + f' ({drawn - BATCH} of {drawn} draws infeasible)':64}")
        print(f"{'':22}" + "".join(f"{head:>11}" for head in heads))
        chosen = allocators(cell.users)
        value = {name: objective(instance, call(instance)) for name, (call, _) in chosen.items()}
        best = torch.stack(list(value.values())[2:]).amax(0)  # of those that keep the minimum rates
        for name, (call, limit) in chosen.items():
            row = timed(instance, call) | lost(value[name], best)
            row |= {"cell": place, "allocator": name, "limit_ms": limit if math.isfinite(limit) else None}
            rows.append(row)
            asked = "" if row["limit_ms"] is None else limit
            print(
                f"{name:22}{row['p50_ms']:11.4f}{row['p99_ms']:11.4f}{asked:>11}{row['batch_ms']:11.4f}"
                f"{row['loss']:11.1e}{row['worst']:11.1e}",
                flush=True,
            )
    return {"rows": rows}


def timed(instance: MisoInstance, call: Callable[[MisoInstance], Any]) -> dict[str, float]:
    """Durations alone and in a batch, in ms an instance."""
    singles = [index(instance, i) for i in range(SINGLES)]
    alone = milliseconds([lambda one=one: call(one) for one in singles])
    many = milliseconds([lambda: call(instance)]) / len(instance.active)
    p50, p99 = np.percentile(alone, (50, 99))
    return {"p50_ms": float(p50), "p99_ms": float(p99), "batch_ms": float(np.median(many))}


def lost(value: Tensor, best: Tensor) -> dict[str, float]:
    """Relative to the best known: of the means, and of the worst draw. Negative where minimum rates are missed."""
    worst = (1 - value / best).max()
    return {"loss": float(1 - value.sum() / best.sum()), "worst": float(worst)}


@torch.no_grad()
def against_hebf() -> dict[str, Any]:
    """The network and the ascent against convex programs on the same instances, one by one."""
    rows = []
    print(f"\nHeBF, {HEBF_DRAWS} draws each: ms, and how many times faster; loss of HeBF to the ascent")
    print(
        f"{'':36}{'HeBF p50':>11}{'USRMNet':>11}{'times':>9}{'asked':>8}{'ascent':>11}{'times':>9}{'loss':>11}"
    )
    network, ascent, hebf = load_pretrained("usrmnet"), GramAscent(), HeBF()
    for cell in CELLS:
        instance = index(cell.draw()[0], slice(0, HEBF_DRAWS))
        singles = [index(instance, i) for i in range(HEBF_DRAWS)]
        slow = milliseconds([lambda one=one: hebf(one) for one in singles], 0.02 * HEBF_DRAWS)
        quick, exact = (
            milliseconds([lambda one=one, call=call: call(one) for one in singles])
            for call in (network, ascent)
        )
        found, reference = (objective(instance, call(instance)) for call in (hebf, ascent))
        row = {
            "cell": f"{cell.name}, {cell.users} users, {cell.antennas} antennas",
            "hebf_ms": float(np.median(slow)),
            "network_ms": float(np.median(quick)),
            "ascent_ms": float(np.median(exact)),
            "loss": float((1 - found / reference).max()),
            "gain": float((found / reference - 1).max()),
        }
        rows.append(row)
        print(
            f"{row['cell']:36}{row['hebf_ms']:11.1f}{row['network_ms']:11.4f}"
            f"{row['hebf_ms'] / row['network_ms']:9.0f}{FASTER:8.0f}{row['ascent_ms']:11.4f}"
            f"{row['hebf_ms'] / row['ascent_ms']:9.0f}{row['loss']:11.1e}",
            flush=True,
        )
    return {"rows": rows}


SECTIONS: dict[str, Callable[[], dict[str, Any]]] = {"latency": latency, "hebf": against_hebf}


if __name__ == "__main__":
    run("bench_beams", __doc__, SECTIONS, SEED)
