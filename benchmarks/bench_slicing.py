"""Exact allocation of slices against the greedy that people write, one thread, all in one run.

python benchmarks/bench_slicing.py [--json FILE] [--only SECTION ...]

Slices of the paper's cell: exponent 4, 8 dB, Rayleigh fading, 10 Mbit/s, 100 MHz. Times include scheduling. The naive
greedy is Algorithm 1 of [Hao2024] as printed, user by user, all increments anew at each block of 10 kHz; beside it the
same with numpy over the users.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from plain.slicing import greedy
from suite import growth_exponent, milliseconds, run
from torchrrm.channels import hml_scenario
from torchrrm.kernels import slicing
from torchrrm.problems import KINDS, QoS, SliceBandwidth, SliceInstance, slice_instance
from torchrrm.problems.slicing.schedule import arrays
from torchrrm.records import index
from torchrrm.solvers import ExactSlicing

SEED = 4_000_000
NAIVE_BLOCKS = 200  # timed (a tenth of it user by user), and extrapolated to all blocks: each costs the same
LIMITS_US = {"data-rate": 10.0, "secrecy": 30.0, "secrecy-short": 30.0}
LIMITS_US |= {"effective-capacity": 3000.0, "effective-capacity-short": 3000.0}
MOST_USERS = {QoS.DATA_RATE: 100_000, QoS.SECRECY: 100_000, QoS.EFFECTIVE_CAPACITY: 10_000}


def slices(problem: SliceBandwidth, count: int, users: int, *, bandwidth_hz: float = 100e6) -> SliceInstance:
    """Random slices; the effective capacity averages over the fading, so it gets none."""
    generator = torch.Generator().manual_seed(SEED + users)
    draw = hml_scenario().sample(count, transmitters=users, receivers=2, generator=generator)
    gain = draw.large_scale_gain if problem.qos is QoS.EFFECTIVE_CAPACITY else draw.gain
    return slice_instance(gain[:, 0], gain[:, 1], bandwidth_hz=bandwidth_hz)


def microseconds(calls: list[Callable[[], Any]], budget_s: float = 2.0) -> np.ndarray:
    """Durations of the calls in turn, until the budget is spent."""
    return 1e3 * milliseconds(calls, budget_s)


def greedy_us(problem: SliceBandwidth, instance: SliceInstance, *, per_user: bool) -> float:
    """Duration of the naive greedy on one slice: a loop over users, or numpy over them."""
    blocks = NAIVE_BLOCKS // 10 if per_user else NAIVE_BLOCKS
    begin = time.perf_counter()
    count = greedy(problem, instance, per_user=per_user, blocks=blocks)
    return 1e6 * (time.perf_counter() - begin) * count / blocks


def single(problem: SliceBandwidth, users: int = 50) -> dict[str, Any]:
    """One slice: the kernel, the solver around it, and the naive greedy."""
    drawn = slices(problem, 100, users)
    one = [index(drawn, i) for i in range(100)]
    cn0, heard, rate, limit, active, law = arrays(problem, drawn)
    rows = [(cn0[i], heard[i], rate[i], limit[i], active[i], law) for i in range(100)]
    kernel = microseconds([lambda row=row: slicing.solve(*row) for row in rows])
    solver = microseconds([lambda i=i: ExactSlicing(problem)(i) for i in one])
    naive = np.mean([greedy_us(problem, instance, per_user=True) for instance in one[:20]])
    vectorised = np.mean([greedy_us(problem, instance, per_user=False) for instance in one])
    p50, p99 = np.percentile(kernel, [50, 99])
    return {
        "case": f"{problem.name}, {users} users",
        "kernel_p50_us": p50,
        "kernel_p99_us": p99,
        "limit_us": LIMITS_US.get(problem.name),
        "solver_p50_us": float(np.median(solver)),
        "kernel_mean_us": float(kernel.mean()),
        "naive_greedy_us": float(naive),
        "numpy_greedy_us": float(vectorised),
        "ratio_to_naive": float(naive / kernel.mean()),
        "ratio_to_numpy": float(vectorised / kernel.mean()),
    }


def batch(problem: SliceBandwidth, count: int, users: int, bandwidth_hz: float) -> float:
    """Median duration in ms of a batch through the kernel."""
    drawn = arrays(problem, slices(problem, count, users, bandwidth_hz=bandwidth_hz))
    return float(np.median(microseconds([lambda: slicing.solve_batch(*drawn)]))) / 1e3


def growth(problem: SliceBandwidth) -> tuple[float, dict[int, float]]:
    """Exponent of the time over the number of users, by least squares in log scale, and the times in ms."""
    sizes = [n for n in (100, 300, 1000, 3000, 10_000, 30_000, 100_000) if n <= MOST_USERS[problem.qos]]
    counts = {n: max(4, 3000 // n) for n in sizes}  # more slices of the small sizes, whose times vary most
    times = {n: batch(problem, counts[n], n, 2e6 * n) / counts[n] for n in sizes}
    return growth_exponent(times), times


def single_slices() -> dict[str, Any]:
    """Single slices of each kind: kernel and solver against the naive greedy."""
    cases = []
    print("one slice, us; ratios are of mean times, greedy without its scheduling to the kernel with its own")
    heads = ("kernel p50", "p99", "limit", "solver p50", "naive", "ratio", "numpy", "ratio")
    widths = (11, 9, 7, 11, 11, 8, 11, 8)
    print(" " * 34 + "".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)))
    for problem in KINDS.values():
        row = single(problem)
        cases.append(row)
        limit = "" if row["limit_us"] is None else f"{row['limit_us']:g}"
        print(
            f"{row['case']:34}{row['kernel_p50_us']:11.1f}{row['kernel_p99_us']:9.1f}{limit:>7}"
            f"{row['solver_p50_us']:11.1f}{row['naive_greedy_us']:11.0f}{row['ratio_to_naive']:8.0f}"
            f"{row['numpy_greedy_us']:11.0f}{row['ratio_to_numpy']:8.0f}",
            flush=True,
        )
    slow = [case["case"] for case in cases if case["kernel_p50_us"] > (case["limit_us"] or math.inf)]
    print(f"over the limit: {slow}" if slow else "all single-slice limits held")
    return {"rows": cases}


def batches() -> dict[str, Any]:
    """Many slices at once, and one of many users."""
    many = batch(KINDS["data-rate"], 1024, 50, 100e6)
    large = batch(KINDS["data-rate"], 1, 100_000, 100e6)
    print(f"data-rate: 1024 slices of 50 users {many:.2f} ms (asked: 10)")
    print(f"data-rate: 1e5 users in 100 MHz {large:.1f} ms (asked: 30)", flush=True)
    return {"batch_1024x50_ms": many, "users_1e5_ms": large}


def growths() -> dict[str, Any]:
    """How the time grows with the users."""
    exponents = {}
    for name, problem in KINDS.items():
        exponents[name], times = growth(problem)
        shown = ", ".join(f"{n}: {ms:.3g}" for n, ms in times.items())
        print(f"{name}: growth exponent {exponents[name]:.3f} (asked: 1.15)")
        print(f"  ms by users: {shown}", flush=True)
    return {"growth_exponent": exponents}


SECTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "single": single_slices,
    "batches": batches,
    "growth": growths,
}


if __name__ == "__main__":
    run("bench_slicing", __doc__, SECTIONS, SEED)
