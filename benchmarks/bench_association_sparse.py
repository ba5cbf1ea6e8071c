"""HBGNN on lists of stations: time and memory from 1e3 to 1e4 users, one thread, one run.

python benchmarks/bench_association_sparse.py [--json FILE] [--only SECTION ...]

Networks have the density of [Zhang2022HBGNN], 105 stations to 200 m x 200 m of which one in 21 is a macro station, five
users to a station, the mean of line of sight and none by distance (`UrbanMicro`), and the 32 strongest stations in each
user's list. The policy has the published width and random weights: neither time nor memory depends on them. Memory is
what tensors hold at most above the instance, as torch counts it; a layer's messages, 512 bytes a node, come on top.
"""

from typing import Any

import numpy as np
import torch

from suite import growth_exponent, milliseconds, run
from torchrrm.channels import Drop
from torchrrm.channels.pathloss import LosNlos, UrbanMicro, umi_los_probability
from torchrrm.policies import HBGNN, SparseHBGNN
from torchrrm.problems import SparseCellInstance, sparse_cells
from torchrrm.problems.association import MACRO_POWER_W, SMALL_POWER_W

SEED = 5_200_000
USERS, PER_STATION, NEIGHBOURS = (1000, 2000, 5000, 10_000), 5, 32
LIMIT_S, GROWTH_LIMIT = 1.0, 1.1


def network(users: int) -> SparseCellInstance:
    """One network, in single precision."""
    generator, stations = torch.Generator().manual_seed(SEED + users), users // PER_STATION
    side_m = 200.0 * (stations / 105) ** 0.5
    user, station = (side_m * torch.rand(size, 3, generator=generator) for size in (users, stations))
    macro = torch.arange(stations) < stations // 21
    user[:, 2], station[:, 2] = 1.5, torch.where(macro, 25.0, 10.0)
    loss = LosNlos(UrbanMicro(2e9), UrbanMicro(2e9, line_of_sight=False), umi_los_probability)
    limit = torch.where(macro, MACRO_POWER_W, SMALL_POWER_W)
    return sparse_cells(Drop(rx_position_m=user, tx_position_m=station), loss, limit, NEIGHBOURS)


def most_memory(policy: SparseHBGNN, instance: SparseCellInstance) -> int:
    """Bytes that tensors hold at most during a call: by the allocations and releases that torch records in order."""
    with torch.profiler.profile(
        profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]
    ) as seen:
        policy(instance)
    events = [each for each in seen.profiler.kineto_results.events() if each.name() == "[memory]"]  # pyright: ignore
    ordered: list[Any] = sorted(events, key=lambda each: each.start_ns())
    held = np.cumsum([each.nbytes() for each in ordered])
    return int(held.max(initial=0))


@torch.inference_mode()
def sizes() -> dict[str, Any]:
    """Whole allocations: features, network, choice of stations."""
    torch.manual_seed(SEED)
    policy, rows = SparseHBGNN.of(HBGNN().eval()), []
    print(f"HBGNN on lists of {NEIGHBOURS} stations")
    print(f"{'users':>9}{'stations':>10}{'p50 ms':>10}{'p99 ms':>10}{'MB':>9}{'bytes an edge':>15}")
    for users in USERS:
        instance = network(users)
        times = milliseconds([lambda one=instance: policy(one)], 4.0)
        memory = most_memory(policy, instance)
        row = {
            "users": users,
            "stations": users // PER_STATION,
            "edges": instance.neighbour.numel(),
            "p50_ms": float(np.median(times)),
            "p99_ms": float(np.percentile(times, 99)),
            "memory_bytes": memory,
            "bytes_per_edge": memory / instance.neighbour.numel(),
        }
        rows.append(row)
        print(
            f"{users:9}{row['stations']:10}{row['p50_ms']:10.1f}{row['p99_ms']:10.1f}{memory / 1e6:9.1f}"
            f"{row['bytes_per_edge']:15.0f}",
            flush=True,
        )
    growth = {
        name: growth_exponent({users: row[name] for users, row in zip(USERS, rows, strict=True)})
        for name in ("p50_ms", "memory_bytes")
    }
    print(f"{USERS[-1]} users {rows[-1]['p50_ms'] / 1e3:.3f} s (asked: {LIMIT_S:g} s)")
    print(
        f"growth exponents: time {growth['p50_ms']:.2f}, memory {growth['memory_bytes']:.2f} "
        f"(asked: linear, {GROWTH_LIMIT:g} at most)"
    )
    return {"rows": rows, "growth_exponents": growth}


SECTIONS = {"sizes": sizes}


if __name__ == "__main__":
    run("bench_association_sparse", __doc__, SECTIONS, SEED)
