"""Beamforming of short packets: GramAscent, least powers and restored ones, one thread, one run.

python benchmarks/bench_beams.py [--json FILE] [--only SECTION ...]

Users are uniform over the area of a ring of 30 to 200 m around a station of 64 antennas, at 15 dB (6 users) and 20 dB
(16 users), with 256 bits in 256 channel uses; instances that are not feasible are left out and counted.

A section is a function that prints its table and returns its numbers; add one to `SECTIONS`.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from suite import milliseconds, run
from torchrrm.problems import MisoInstance, UrllcBeamforming, miso_instance
from torchrrm.records import index
from torchrrm.solvers import EqualPowerMMSE, GramAscent, MinimumPowerBeamforming, restored_power

SEED = 5_000_000
ANTENNAS, BATCH, SINGLES = 64, 256, 50
SIZES = {6: 15.0, 16: 20.0}  # users: SNR in dB
ASCENT_LIMIT_MS = {6: 0.2, 16: 1.0}
NEAR_M, FAR_M = 30.0, 200.0


def cells(users: int) -> tuple[MisoInstance, int]:
    """A batch of feasible instances in single precision, and how many were drawn for it."""
    generator = torch.Generator().manual_seed(SEED + users)
    drawn = 4 * BATCH
    spot = torch.rand(drawn, users, 1, generator=generator)
    distance_m = torch.sqrt(NEAR_M**2 + (FAR_M**2 - NEAR_M**2) * spot)
    fading = torch.randn(drawn, users, ANTENNAS, generator=generator, dtype=torch.complex64)
    channel = torch.sqrt(1 / (1 + (distance_m / 50.0) ** 3)) * fading
    instance = miso_instance(channel, max_power_w=10 ** (SIZES[users] / 10), blocklength=256.0)
    places = MinimumPowerBeamforming().solve(instance).converged.nonzero()[:BATCH, 0]
    if len(places) < BATCH:
        raise RuntimeError(f"drawn: must hold {BATCH} feasible instances, received {len(places)}")
    return index(instance, places), int(places[-1]) + 1


def allocators(users: int) -> dict[str, tuple[Callable[[MisoInstance], Any], float]]:
    """What is timed, and the limit of its p50 alone in ms."""
    wanted = torch.rand(BATCH, users, generator=torch.Generator().manual_seed(SEED)) ** 3

    def restore(instance: MisoInstance) -> Any:
        return restored_power(instance, wanted[0] if instance.active.ndim == 1 else wanted)

    return {
        "equal power": (EqualPowerMMSE(), math.inf),
        "least power": (MinimumPowerBeamforming(), math.inf),
        "restoration": (restore, math.inf),
        "ascent, 1 start": (GramAscent(starts=1), math.inf),
        "ascent": (GramAscent(), ASCENT_LIMIT_MS[users]),
        "ascent, 16 starts": (GramAscent(starts=16), math.inf),
    }


def latency() -> dict[str, Any]:
    """Calls alone and in batches, from instance to action."""
    problem, rows = UrllcBeamforming(), []
    print(f"{ANTENNAS} antennas, ms an instance: alone, and in batches of {BATCH}; objective in nats")
    heads = ("users", "p50", "p99", "asked", "batch", "objective")
    print(f"{'':20}" + "".join(f"{head:>11}" for head in heads))
    for users in SIZES:
        instance, drawn = cells(users)
        singles = [index(instance, i) for i in range(SINGLES)]
        for name, (allocator, limit) in allocators(users).items():
            alone = milliseconds([lambda one=one, call=allocator: call(one) for one in singles])
            many = milliseconds([lambda call=allocator, drops=instance: call(drops)]) / BATCH
            action = allocator(instance)
            scored = None if isinstance(action, tuple) else problem.evaluate(instance, action).objective
            row = {
                "users": users,
                "allocator": name,
                "p50_ms": float(np.median(alone)),
                "p99_ms": float(np.percentile(alone, 99)),
                "limit_ms": limit if math.isfinite(limit) else None,
                "batch_ms": float(np.median(many)),
                "objective": None if scored is None else float(scored.double().mean()),
                "infeasible": drawn - BATCH,
            }
            rows.append(row)
            shown = "" if scored is None else f"{row['objective']:.6f}"
            print(
                f"{name:20}{users:11}{row['p50_ms']:11.4f}{row['p99_ms']:11.4f}"
                f"{'' if row['limit_ms'] is None else limit:>11}{row['batch_ms']:11.4f}{shown:>11}",
                flush=True,
            )
        print(f"{drawn - BATCH} of {drawn} draws of {users} users left out: not feasible")
    return {"rows": rows}


SECTIONS: dict[str, Callable[[], dict[str, Any]]] = {"latency": latency}


if __name__ == "__main__":
    run("bench_beams", __doc__, SECTIONS, SEED)
