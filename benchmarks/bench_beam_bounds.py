"""Gaps, parts and seconds of the certified bound for beamforming, one thread.

python benchmarks/bench_beam_bounds.py [--count 10] [--nodes 5000] [--json FILE]

Cells as in [He2022USRMNet]: users uniform over the area of a ring, gain 1 / (1 + (d / 50 m)^3), Rayleigh fading, 256
bits at an error of 1e-5. Gaps are relative to the best action known, over the draws whose minimum rates can be met.
"""

import argparse
import time
from typing import Any

import torch

from torchrrm.bench import source_commit
from torchrrm.files import atomic_write_text, to_json
from torchrrm.kernels import set_threads
from torchrrm.problems import MisoInstance, UrllcBeamforming, miso_instance
from torchrrm.records import index
from torchrrm.solvers import BeamformingBound, interference_free_bound

SEED = 6_000_000
CELLS = {  # antennas, near and far in m, SNR in dB, blocklength, users
    "Table I, 15 dB, 64, 128": (64, 120.0, 140.0, 15.0, 128.0, (2, 3, 4, 5, 6, 8)),
    "Table I, 15 dB, 32, 256": (32, 120.0, 140.0, 15.0, 256.0, (2, 3, 4, 5, 6, 8)),
    "30 to 200 m, 64": (64, 30.0, 200.0, 15.0, 128.0, (2, 3, 4, 5, 6, 8)),
    "50 to 300 m, 64": (64, 50.0, 300.0, 15.0, 256.0, (2, 3, 4, 5, 6, 8)),
    "loaded, 16": (16, 120.0, 140.0, 15.0, 256.0, (6, 10)),
}


def draw(count: int, users: int, antennas: int, ring_m: tuple[float, float], snr_db: float) -> torch.Tensor:
    """Channels `[count user ant]`."""
    generator = torch.Generator().manual_seed(SEED + users)
    near, far = ring_m
    area = torch.rand(count, users, 1, generator=generator, dtype=torch.float64)
    distance_m = torch.sqrt(near**2 + (far**2 - near**2) * area)
    fading = torch.randn(count, users, antennas, generator=generator, dtype=torch.complex128)
    return torch.sqrt(10 ** (snr_db / 10) / (1 + (distance_m / 50.0) ** 3)) * fading


def measure(instance: MisoInstance, solver: BeamformingBound) -> dict[str, Any]:
    """Gaps, parts and seconds of single instances, those that cannot be met counted."""
    gaps, free, nodes, seconds, closed, infeasible = [], [], [], [], 0, 0
    for i in range(len(instance.active)):
        one = index(instance, i)
        begin = time.perf_counter()
        solution = solver.solve(one)
        spent = time.perf_counter() - begin
        bound = float(solution.upper_bound if solution.upper_bound is not None else torch.inf)
        if bound == -torch.inf:
            infeasible += 1
            continue
        value = float(UrllcBeamforming().evaluate(one, solution.action).objective)
        gaps.append(bound / value - 1)
        free.append(float(interference_free_bound(one)) / value - 1)
        nodes.append(int(solution.iterations))
        seconds.append(spent)
        closed += bool(solution.converged)
    found: dict[str, Any] = {"met": len(gaps), "infeasible": infeasible, "closed": closed}
    if gaps:
        found |= {"gap_mean": sum(gaps) / len(gaps), "gap_max": max(gaps), "free_mean": sum(free) / len(free)}
        found |= {"nodes_p50": sorted(nodes)[len(nodes) // 2], "nodes_max": max(nodes)}
        found |= {"p50_s": sorted(seconds)[len(seconds) // 2], "max_s": max(seconds)}
    return found


def main() -> None:
    """Print the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10, help="instances of each case")
    parser.add_argument("--nodes", type=int, default=5000, help="limit of parts")
    parser.add_argument("--json", help="write the numbers")
    options = parser.parse_args()
    set_threads(1)
    torch.set_num_threads(1)
    solver, rows = BeamformingBound(1e-3, options.nodes), []
    solver(miso_instance(draw(1, 3, 4, (120.0, 140.0), 15.0)[0]))
    for name, (antennas, near, far, snr_db, blocklength, sizes) in CELLS.items():
        for users in sizes:
            channel = draw(options.count, users, antennas, (near, far), snr_db)
            found = measure(miso_instance(channel, max_power_w=1.0, blocklength=blocklength), solver)
            rows.append({"case": name, "users": users, **found})
            numbers = " ".join(f"{k} {v:.4g}" for k, v in found.items())
            print(f"{name:24} K {users:2}: {numbers}", flush=True)
    if options.json:
        result = {"schema": 1, "command": "python benchmarks/bench_beam_bounds.py", "commit": source_commit()}
        result |= {"device": "cpu", "threads": 1, "seed": SEED, "settings": vars(options), "rows": rows}
        atomic_write_text(options.json, to_json(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
