"""Power control of interference links: compiled, batched and sparse WMMSE against plain numpy, one thread, one run.

python benchmarks/bench_links.py [--json FILE] [--only SECTION ...]

Links fade independently (Rayleigh) at 10 dB; 100 iterations from full power. The numpy form is written as public code
writes it: a Python loop over iterations and over links, numpy over the interferers of a link. Networks are pairs 10 to
50 m apart at a density of 80 to the square kilometre, the 24 nearest interferers each, 20 iterations.

A section is a function that prints its table and returns its numbers; add one to `SECTIONS`.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from plain.links import wmmse as plain_wmmse
from suite import growth_exponent, milliseconds, run
from torchrrm.channels import PairedLinks
from torchrrm.channels.pathloss import DualSlope
from torchrrm.kernels import sparse_wmmse, wmmse
from torchrrm.problems import LinkInstance, SparseLinkInstance, link_instance, relative_gain, sparse_links
from torchrrm.records import index, replace
from torchrrm.solvers import WMMSE, ITLinQ, SparseWMMSE
from torchrrm.solvers.relative_links import arrays
from torchrrm.solvers.sparse_wmmse import arrays as sparse_arrays
from torchrrm.solvers.wmmse import start_amplitudes

SEED = 5_000_000
SIZES = (10, 20, 50)
STEPS = 100
BATCH = 50
KERNEL_LIMIT_MS = {10: 0.03, 20: 0.06, 50: 0.15}
TORCH_LIMIT_MS = {10: 0.1, 20: 0.2, 50: 0.7}
LEAST_RATIO = 200.0
NETWORKS = (1000, 3000, 10_000, 30_000, 100_000)
NEIGHBOURS, SPARSE_STEPS = 24, 20
SPARSE_LIMIT_S, GROWTH_LIMIT = 0.25, 1.3


def rayleigh(count: int, links: int) -> LinkInstance:
    """Instances of independent Rayleigh fading, 10 dB of mean SNR on every path."""
    generator = torch.Generator().manual_seed(SEED + links)
    gain = torch.empty(count, links, links).exponential_(generator=generator)
    return link_instance(gain, noise_power_w=0.1, max_power_w=1.0)


def network(links: int) -> SparseLinkInstance:
    """Pairs of devices at one density, with lists of the nearest interferers."""
    generator = torch.Generator().manual_seed(SEED + links)
    pairs = PairedLinks(side_m=500.0 * math.sqrt(links / 20))
    drop = pairs.sample(transmitters=links, receivers=links, generator=generator)
    return sparse_links(drop, DualSlope(2.0, 4.0, 100.0, 39.0), NEIGHBOURS)


def single_and_batches() -> dict[str, Any]:
    """Compiled WMMSE, alone and in batches, against numpy."""
    print(
        f"WMMSE, {STEPS} iterations, ms an instance (kernel p50, p99; solver call around it; batches of {BATCH})"
    )
    heads = (
        "links",
        "kernel p50",
        "p99",
        "asked",
        "call p50",
        "call less kernel",
        "batch",
        "numpy",
        "ratio",
        "asked",
    )
    print("".join(f"{head:>{max(len(head) + 2, 9)}}" for head in heads))
    rows = []
    for links in SIZES:
        drawn, solver = rayleigh(BATCH, links), WMMSE(STEPS)
        singles = [index(drawn, i) for i in range(BATCH)]
        start = start_amplitudes(links, 1, "max", 0)
        packed = [(*arrays(instance), start, STEPS, -1.0) for instance in singles]
        kernel = milliseconds([lambda row=row: wmmse.solve(*row) for row in packed])
        call = milliseconds([lambda one=one, solver=solver: solver(one) for one in singles])
        batch = milliseconds([lambda drawn=drawn, solver=solver: solver(drawn)]) / BATCH
        gains = [relative_gain(instance).double().numpy() for instance in singles[:10]]
        naive = milliseconds([lambda gain=gain: plain_wmmse(gain, STEPS) for gain in gains])
        apart = max(
            np.abs(plain_wmmse(gain, STEPS) - solver(instance).power_w.numpy()).max()
            for gain, instance in zip(gains, singles, strict=False)
        )
        row = {
            "links": links,
            "kernel_p50_ms": float(np.median(kernel)),
            "kernel_p99_ms": float(np.percentile(kernel, 99)),
            "limit_ms": KERNEL_LIMIT_MS[links],
            "call_p50_ms": float(np.median(call)),
            "overhead_us": 1e3 * float(np.median(call) - np.median(kernel)),
            "batch_ms": float(np.median(batch)),
            "numpy_ms": float(np.median(naive)),
            "ratio": float(np.median(naive) / np.median(kernel)),
            "largest_difference": float(apart),
        }
        rows.append(row)
        print(
            f"{links:9}{row['kernel_p50_ms']:12.4f}{row['kernel_p99_ms']:9.4f}{row['limit_ms']:9.2f}"
            f"{row['call_p50_ms']:10.4f}{row['overhead_us']:15.1f} us{row['batch_ms']:9.4f}"
            f"{row['numpy_ms']:9.2f}{row['ratio']:9.0f}{LEAST_RATIO:9.0f}",
            flush=True,
        )
    print(
        f"largest difference of a power fraction from numpy: {max(row['largest_difference'] for row in rows):.1e}"
    )
    return {"rows": rows}


def torch_batches() -> dict[str, Any]:
    """The torch form, which serves devices and gradients, in batches; ITLinQ beside it."""
    print(f"torch form of WMMSE in batches of {BATCH}, and ITLinQ, ms an instance")
    print(f"{'links':>9}{'torch':>9}{'asked':>9}{'with gradient':>15}{'ITLinQ call':>13}{'ITLinQ batch':>14}")
    rows = []
    for links in SIZES:
        drawn, solver, rule = rayleigh(BATCH, links), WMMSE(STEPS), ITLinQ()
        traced = replace(drawn, gain=drawn.gain.clone().requires_grad_())

        def forward(solver: WMMSE = solver, drawn: LinkInstance = drawn) -> Any:
            relative = solver.prepare(drawn)
            return solver.action(relative, solver.iterate(relative)[0])

        def gradient(solver: WMMSE = solver, traced: LinkInstance = traced) -> Any:
            return torch.autograd.grad(solver(traced).power_w.sum(), traced.gain)

        one = [index(drawn, i) for i in range(BATCH)]
        row = {
            "links": links,
            "torch_ms": float(np.median(milliseconds([forward]))) / BATCH,
            "limit_ms": TORCH_LIMIT_MS[links],
            "gradient_ms": float(np.median(milliseconds([gradient]))) / BATCH,
            "itlinq_call_ms": float(
                np.median(milliseconds([lambda i=i, rule=rule: rule(i) for i in one], 0.3))
            ),
            "itlinq_batch_ms": float(
                np.median(milliseconds([lambda drawn=drawn, rule=rule: rule(drawn)], 0.3))
            )
            / BATCH,
        }
        rows.append(row)
        print(
            f"{links:9}{row['torch_ms']:9.3f}{row['limit_ms']:9.2f}{row['gradient_ms']:15.3f}"
            f"{row['itlinq_call_ms']:13.4f}{row['itlinq_batch_ms']:14.4f}",
            flush=True,
        )
    return {"rows": rows}


def sparse_networks() -> dict[str, Any]:
    """WMMSE on lists of neighbours, from 1e3 to 1e5 links, and the search of the neighbours."""
    print(f"sparse WMMSE, {NEIGHBOURS} neighbours, {SPARSE_STEPS} iterations, ms")
    print(f"{'links':>9}{'kernel':>9}{'call':>9}{'neighbours':>12}{'bytes a link':>14}")
    rows, solver = [], SparseWMMSE(SPARSE_STEPS)
    for links in NETWORKS:
        begin = time.perf_counter()
        instance = network(links)
        built = 1e3 * (time.perf_counter() - begin)
        packed = sparse_arrays(instance)
        kernel = milliseconds([lambda packed=packed: sparse_wmmse.solve(*packed, SPARSE_STEPS, -1.0)])
        call = milliseconds([lambda instance=instance: solver(instance)])
        size = sum(value.nbytes for value in vars(instance).values())
        row = {
            "links": links,
            "kernel_ms": float(np.median(kernel)),
            "call_ms": float(np.median(call)),
            "built_ms": built,
            "bytes_per_link": size / links,
        }
        rows.append(row)
        print(
            f"{links:9}{row['kernel_ms']:9.2f}{row['call_ms']:9.2f}{built:12.1f}{size / links:14.0f}",
            flush=True,
        )
    times = {row["links"]: row["kernel_ms"] for row in rows}
    exponent = growth_exponent(times)
    print(f"{NETWORKS[-1]} links {times[NETWORKS[-1]] / 1e3:.3f} s (asked: {SPARSE_LIMIT_S:g} s)")
    print(f"growth exponent {exponent:.2f} (asked: {GROWTH_LIMIT:g})")
    return {"rows": rows, "growth_exponent": exponent}


SECTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "wmmse": single_and_batches,
    "torch": torch_batches,
    "sparse": sparse_networks,
}


if __name__ == "__main__":
    run("bench_links", __doc__, SECTIONS, SEED)
