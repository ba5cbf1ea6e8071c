"""Weighted sum rate against latency of a single slot: who is on the front; one thread, one run.

python benchmarks/bench_demands_front.py [--json FILE] [--only SECTION ...]

Links fade independently (Rayleigh) at 15 dB, as in Section V of [Behmandpoor2024]. Compiled WMMSE of 40 steps from 1 to
64 starts, greedy admission (`GreedyLinks`) and the policy that unfolds it (`UnfoldedPower`), alone and with steps of
WMMSE; the policy is trained first, on other channels. `kernel` is the compiled call on arrays, as control loops make
it, `call` the allocator's. Rates are in parts of the best that any of the allocators finds for an instance. On the
front (*) is whoever none surpasses in less time, by the kernel.

A section is a function that prints its table and returns its numbers; add one to `SECTIONS`.
"""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from suite import milliseconds, run
from torchrrm.kernels import link_greedy, unfolded, wmmse
from torchrrm.policies import UnfoldedPower, load_pretrained
from torchrrm.problems import LinkInstance, WeightedSumRate
from torchrrm.recipes.alcor.allocators import SPREAD
from torchrrm.recipes.alcor.cases import rayleigh
from torchrrm.recipes.alcor.unfolded import looped_weights
from torchrrm.records import index, replace
from torchrrm.setups.links import draw_links
from torchrrm.solvers import WMMSE, GreedyLinks
from torchrrm.solvers.relative_links import arrays

SEED = 25_000_000
SIZES = {10: 500, 20: 400, 50: 200, 100: 100, 200: 40}
WEIGHTED_SIZES = {5: 500, **SIZES}
STARTS, STEPS, POLISH = (1, 2, 4, 8, 16, 32, 64), 40, 10
TIMED = 20  # instances that the timed calls take turns on
BATCH = 50

Allocator = WMMSE | GreedyLinks | UnfoldedPower


@functools.cache
def trained() -> UnfoldedPower:
    """The policy that ships."""
    policy = load_pretrained("unfolded-power")
    if not isinstance(policy, UnfoldedPower):
        raise TypeError(f"policy: must be UnfoldedPower, received {type(policy).__name__}")
    return policy


def variant(**changed: Any) -> UnfoldedPower:
    """The trained policy with other settings."""
    policy = UnfoldedPower(**{**trained().arguments, **changed})
    policy.load_state_dict(trained().state_dict())
    return policy


@functools.cache
def allocators() -> Mapping[str, Allocator]:
    """All that is compared, by name."""
    greedy = {
        f"greedy, {b} anchors, {s} starts": (s, b) for b, s in ((1, 1), (4, 1), (8, 1), (16, 4), (48, 16))
    }
    learned = {f"unfolded, price {price:g}": price for price in (1e-2, 1e-3, 3e-4, 1e-4)}
    return {
        **{f"WMMSE, {starts} starts": WMMSE(STEPS, starts=starts, spread=SPREAD) for starts in STARTS},
        **{f"{name} + {POLISH}": GreedyLinks(*size, POLISH) for name, size in greedy.items()},
        **{f"{name} + {POLISH}": variant(price=price, steps=POLISH) for name, price in learned.items()},
        "unfolded, price 0.001": variant(price=1e-3, steps=0),
        f"unfolded, price 0.001, 1 start + {POLISH}": variant(price=1e-3, starts=1, steps=POLISH),
    }


def kernel(allocator: Allocator, links: int) -> Callable[..., Any]:
    """The compiled call on the arrays of an instance."""
    if isinstance(allocator, WMMSE):
        solve, effort = wmmse.solve, tuple(allocator.rule(links))
    elif isinstance(allocator, GreedyLinks):
        solve, effort = link_greedy.solve, (allocator.breadth, allocator.starts, allocator.steps)
    else:
        sizes = allocator.breadth, allocator.starts, allocator.steps
        solve, effort = unfolded.solve, (allocator.arrays, allocator.price, *sizes)
    call: Any = solve
    return lambda *packed: call(*packed, *effort)


def draw(links: int, count: int, weighted: bool) -> LinkInstance:
    """Unseen channels; weights of a control loop if asked for."""
    generator = torch.Generator().manual_seed(SEED + links)
    source = rayleigh(links)
    drawn = draw_links(source, count, generator=generator)
    if not weighted:
        return drawn
    return replace(drawn, weight=looped_weights(drawn.weight.shape, generator=generator))


def in_turn(calls: Mapping[str, list[Callable[[], Any]]], least: int = 20) -> dict[str, np.ndarray]:
    """Durations in microseconds; the calls take turns, so that a busy moment meets all of them.

    Each is timed right after itself, as what went before leaves its own data in the cache.
    """
    seen: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + 0.15 * len(calls)
    while time.perf_counter() < end or min(map(len, seen.values())) < least:
        for name, each in calls.items():
            for _ in range(len(each) if len(seen[name]) < least or seen[name][-1] < 1e3 else 1):
                call = each[len(seen[name]) % len(each)]
                call()
                begin = time.perf_counter()
                call()
                seen[name].append(1e6 * (time.perf_counter() - begin))
    return {name: np.array(durations) for name, durations in seen.items()}


@torch.inference_mode()
def table(links: int, count: int, weighted: bool) -> list[dict[str, Any]]:
    """Rates and durations of all allocators on the same instances."""
    drawn, problem = draw(links, count, weighted), WeightedSumRate()
    singles = [index(drawn, i) for i in range(min(count, TIMED))]
    packed = [arrays(one) for one in singles]
    rate, kernels, calls = {}, {}, {}
    for name, allocator in allocators().items():
        rate[name] = problem.evaluate(drawn, allocator(drawn)).objective
        compiled = kernel(allocator, links)
        kernels[name] = [functools.partial(compiled, *one) for one in packed]
        calls[name] = [functools.partial(allocator, one) for one in singles]
    best = torch.stack(list(rate.values())).amax(0).mean()
    times = [
        {name: np.percentile(value, [50, 99]) for name, value in in_turn(c).items()} for c in (kernels, calls)
    ]
    rows = [
        {
            "problem": problem.name,
            "setting": f"{links} links" + (", weights of a control loop" if weighted else ""),
            "allocator": name,
            "kind": "policy" if isinstance(allocator, UnfoldedPower) else "solver",
            "objective": float(rate[name].mean()),
            "bound": float(best),
            "bound_kind": "best known",
            "optimality": float(rate[name].mean() / best),
            "p50_us": float(times[0][name][0]),
            "p99_us": float(times[0][name][1]),
            "call_p50_us": float(times[1][name][0]),
            "instances": count,
        }
        for name, allocator in allocators().items()
    ]
    for row in rows:
        ahead = [o for o in rows if o["objective"] > row["objective"] and o["p50_us"] <= row["p50_us"]]
        row["front"] = not ahead
    return rows


def show(sizes: Mapping[int, int], weighted: bool) -> dict[str, Any]:
    """Print the tables of all sizes."""
    trained()
    rows = []
    for links, count in sizes.items():
        found = table(links, count, weighted)
        print(f"{found[0]['setting']}, {count} instances, best known {found[0]['bound']:.3f} bit/s/Hz")
        print(f"{'':>42}{'rate / %':>10}{'kernel us':>11}{'p99':>9}{'call us':>9}")
        for row in sorted(found, key=lambda row: row["p50_us"]):
            print(
                f"{row['allocator']:>40} {'*' if row['front'] else ' '}{100 * row['optimality']:10.2f}"
                f"{row['p50_us']:11.1f}{row['p99_us']:9.1f}{row['call_p50_us']:9.1f}",
                flush=True,
            )
        rows += found
    return {"rows": rows}


def front() -> dict[str, Any]:
    """All links count the same."""
    return show(SIZES, weighted=False)


def weighted_front() -> dict[str, Any]:
    """Weights as control loops have them: 1 + mu, mu exponential of mean 1 for a third of the links, else 0."""
    return show(WEIGHTED_SIZES, weighted=True)


@torch.no_grad()
def forms() -> dict[str, Any]:
    """Compiled and torch forms in batches."""
    print(f"batches of {BATCH}, us an instance\n{'links':>9}{'allocator':>12}{'compiled':>10}{'torch':>9}")
    rows = []
    for links in (10, 20, 50):
        drawn = draw(links, BATCH, weighted=False)
        traced = replace(drawn, gain=drawn.gain.clone().requires_grad_())
        for name, allocator in (("greedy", GreedyLinks()), ("unfolded", trained())):
            compiled = float(np.median(milliseconds([lambda a=allocator, d=drawn: a(d)], 0.5)))
            with torch.enable_grad():
                batched = float(np.median(milliseconds([lambda a=allocator, d=traced: a(d)], 0.5)))
            row = {"links": links, "allocator": name}
            row |= {"compiled_us": 1e3 * compiled / BATCH, "torch_us": 1e3 * batched / BATCH}
            rows.append(row)
            print(f"{links:9}{name:>12}{row['compiled_us']:10.1f}{row['torch_us']:9.1f}", flush=True)
    return {"rows": rows}


SECTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "front": front,
    "weighted": weighted_front,
    "forms": forms,
}


if __name__ == "__main__":
    run("bench_demands_front", __doc__, SECTIONS, SEED)
