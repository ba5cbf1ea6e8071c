"""User association and power control of a dense network: solvers and networks alone, quality against latency.

python benchmarks/bench_association.py [--json FILE] [--only SECTION ...]

Drops of 120 users and 105 stations in the square of 200 m of [Zhang2022HBGNN], on one thread. What is asked: the
network in ONNX Runtime at most 5 ms; specialising at most 2 s and 50 times faster than JUAPCMWSER; HungarianWMMSE
within 2 % of its value after 20 s in at most 20 ms.

A section is a function that prints its table and returns its numbers; add one to `SECTIONS`.
"""

import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plain.association import effective_rate_plain
from suite import milliseconds, run
from torchrrm.channels import hudn_scenario
from torchrrm.deploy import InferenceSession, export
from torchrrm.learning.specialisation import Specialised
from torchrrm.policies import HBGNN, Refined, load_pretrained
from torchrrm.problems import AssociationAction, CellInstance, SumRateAssociation
from torchrrm.records import index
from torchrrm.setups.association import CellSource, draw_cells
from torchrrm.solvers import SOLVERS, EffectiveRateAssociation, HungarianWMMSE

SEED = 5_100_000
DROPS, SEARCHED, PLAIN, LONGEST_S = 20, 5, 2, 20.0
NETWORK_MS, SEARCH_MS, SPECIALISED_MS, FASTER = 5.0, 20.0, 2000.0, 50.0
RESTARTS = 200
PROBLEM = SumRateAssociation()
Call = Callable[[CellInstance], Any]


def drawn() -> CellInstance:
    """The drops, in single precision."""
    return draw_cells(CellSource(hudn_scenario()), DROPS, generator=torch.Generator().manual_seed(SEED))


def value(instance: CellInstance, call: Call) -> Tensor:
    """Sum of rates of each drop."""
    return PROBLEM.evaluate(instance, call(instance)).objective.double()


def network() -> HBGNN:
    """The policy whose weights ship."""
    policy = load_pretrained("hbgnn")
    if not isinstance(policy, HBGNN):
        raise TypeError(f"hbgnn: must be an HBGNN, received {type(policy).__name__}")
    return policy


@torch.no_grad()
def latency() -> dict[str, Any]:
    """Calls alone and in a batch, from instance to action, and the sum of rates."""
    instance, policy = drawn(), network()
    singles = [index(instance, i) for i in range(DROPS)]
    calls: dict[str, tuple[Call, float]] = {
        name: (make(), math.inf) for name, make in SOLVERS["association"].items() if name != "exhaustive"
    }
    calls["hungarian-wmmse"] = (HungarianWMMSE(), SEARCH_MS)
    calls["HBGNN"] = (policy, math.inf)
    calls["HBGNN, 1 round"] = (Refined(policy, HungarianWMMSE(), 1), math.inf)
    calls["HBGNN, 5 rounds"] = (Refined(policy, HungarianWMMSE(), 5), math.inf)
    print(f"ms a drop: alone, and in a batch of {DROPS}; sum of rates in bit/s/Hz")
    print(f"{'':26}" + "".join(f"{head:>11}" for head in ("p50", "p99", "asked", "batch", "sum")))
    rows = []
    for name, (call, limit) in calls.items():
        alone = milliseconds([lambda one=one, call=call: call(one) for one in singles])
        many = milliseconds([lambda call=call: call(instance)]) / DROPS
        p50, p99 = np.percentile(alone, (50, 99))
        reached = value(instance, call).mean().item()
        asked = limit if math.isfinite(limit) else None
        rows.append(
            {"allocator": name, "p50_ms": p50, "p99_ms": p99, "limit_ms": asked}
            | {"batch_ms": float(np.median(many)), "objective": reached}
        )
        shown = "" if asked is None else f"{asked:g}"
        print(f"{name:26}{p50:11.3f}{p99:11.3f}{shown:>11}{np.median(many):11.3f}{reached:11.2f}", flush=True)
    return {"rows": rows}


@torch.no_grad()
def search() -> dict[str, Any]:
    """`HungarianWMMSE` by its time limit, in per cent of its value after 20 s on the same drops."""
    instance = index(drawn(), slice(0, SEARCHED))
    singles = [index(instance, i) for i in range(SEARCHED)]
    solvers = {"default": HungarianWMMSE(), f"{RESTARTS} restarts": HungarianWMMSE(restarts=RESTARTS)}
    solvers |= {
        f"{limit:g} s": HungarianWMMSE(time_limit_s=limit) for limit in (0.02, 0.1, 0.5, 2.0, LONGEST_S)
    }
    found, rows = {}, []
    print(
        f"\nHungarianWMMSE, {SEARCHED} drops: s a call, sum of rates in bit/s/Hz, of that after {LONGEST_S:g} s in %"
    )
    for name, solver in solvers.items():
        begin = time.perf_counter()
        found[name] = torch.stack([value(one, solver) for one in singles])
        taken_s = (time.perf_counter() - begin) / SEARCHED
        rows.append({"limit": name, "seconds": taken_s, "objective": found[name].mean().item()})
    for row in rows:
        row["of_longest"] = (found[row["limit"]].sum() / found[f"{LONGEST_S:g} s"].sum()).item()
        print(
            f"{row['limit']:14}{row['seconds']:10.4f}{row['objective']:10.2f}{100 * row['of_longest']:10.3f}",
            flush=True,
        )
    return {"rows": rows}


@torch.no_grad()
def exported() -> dict[str, Any]:
    """The network in ONNX Runtime, and the whole service around it, against torch."""
    instance, policy = drawn(), network()
    singles = [index(instance, i) for i in range(DROPS)]
    with tempfile.TemporaryDirectory() as folder:
        session = InferenceSession(export(policy, Path(folder) / "hbgnn.onnx"))
    arrays = [{name: tensor.numpy() for name, tensor in vars(one).items()} for one in singles]
    feeds = [session._service.inputs(session._service.prepare(**one)[1]) for one in arrays]
    timed = {
        "ONNX Runtime": milliseconds([lambda feed=feed: session.run(feed) for feed in feeds]),
        "session": milliseconds([lambda one=one: session.allocate(**one) for one in arrays]),
        "torch": milliseconds([lambda one=one: policy(one) for one in singles]),
    }
    print(f"\nHBGNN at 120 x 105: ms, p50 and p99; {NETWORK_MS:g} are asked of ONNX Runtime")
    rows = []
    for name, seen in timed.items():
        p50, p99 = np.percentile(seen, (50, 99))
        rows.append({"runtime": name, "p50_ms": p50, "p99_ms": p99})
        print(f"{name:16}{p50:10.3f}{p99:10.3f}", flush=True)
    return {"rows": rows}


def plain(instance: CellInstance) -> AssociationAction:
    """JUAPCMWSER in loops over users and stations."""
    station, power_w, _ = effective_rate_plain(
        instance.gain.double().numpy(),
        instance.noise_power_w.item(),
        instance.max_power_w.double().numpy(),
        control=True,
    )
    return AssociationAction(
        station=torch.from_numpy(station), power_w=torch.from_numpy(power_w).to(instance.gain.dtype)
    )


def specialised() -> dict[str, Any]:
    """SRL to its stopping rule, the network and JUAPCMWSER, compiled and in plain loops, on the same drops."""
    instance, policy = index(drawn(), slice(0, SEARCHED)), network()
    searching = HungarianWMMSE(restarts=RESTARTS)
    calls: dict[str, tuple[Call, int]] = {
        "JUAPCMWSER, plain": (plain, PLAIN),
        "JUAPCMWSER, compiled": (EffectiveRateAssociation("control"), SEARCHED),
        "SRL": (Specialised(policy), SEARCHED),
        "SRL, refined": (Specialised(policy, refine=HungarianWMMSE()), SEARCHED),
        "SRL, searched": (Refined(Specialised(policy, refine=HungarianWMMSE()), searching, 5), SEARCHED),
        "GRL": (policy, SEARCHED),
        "GRL, refined": (Refined(policy, HungarianWMMSE(), 5), SEARCHED),
    }
    rows: list[dict[str, Any]] = []
    print(
        f"\n{SEARCHED} drops ({PLAIN} in plain loops): s a call, mean and most; sum of rates in bit/s/Hz; times faster"
    )
    for name, (call, drops) in calls.items():
        if call is not plain:
            call(index(instance, 0))
        seconds, reached = [], []
        for i in range(drops):
            begin = time.perf_counter()
            action = call(index(instance, i))
            seconds.append(time.perf_counter() - begin)
            reached.append(PROBLEM.evaluate(index(instance, i), action).objective.item())
        row = {"allocator": name, "drops": drops, "seconds": float(np.mean(seconds)), "most_s": max(seconds)}
        row |= {"objective": float(np.mean(reached))}
        row["times"] = (rows[0] if rows else row)["seconds"] / row["seconds"]
        rows.append(row)
        print(
            f"{name:22}{row['seconds']:10.4f}{row['most_s']:10.4f}{row['objective']:10.2f}{row['times']:10.1f}",
            flush=True,
        )
    return {"rows": rows, "limit_ms": SPECIALISED_MS, "asked_times": FASTER}


SECTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "latency": latency,
    "search": search,
    "exported": exported,
    "specialised": specialised,
}


if __name__ == "__main__":
    run("bench_association", __doc__, SECTIONS, SEED)
