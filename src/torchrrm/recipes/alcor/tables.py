"""Tables I to IV of [Behmandpoor2024] with the printed numbers beside ours, and the table beyond them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torchrrm.bench import metrics
from torchrrm.bench.demands import NEVER, shortfall
from torchrrm.recipes.alcor import published
from torchrrm.recipes.alcor.cases import CASES, TABLE2, TABLE3, TABLE4, Case
from torchrrm.recipes.alcor.plan import REFERENCE, UPDATES
from torchrrm.recipes.exhibits import Exhibit, interval_text

__all__ = ["Found", "beyond", "demand_tables", "meets_demands", "table1", "updates"]

Found = Mapping[tuple[str, str], dict[str, Tensor]]
"""What the loops' jobs gave, by the names of case and loop."""
_HEADER = [
    "demands",
    "method",
    "sum rate / (bit/s/Hz)",
    "violation (12) / %",
    "of single runs / %",
    "printed sum rate",
    "printed violation / %",
]
_NOTHING = "–"
_MISSED = 0.01  # relative: what means over all runs may fall short of a demand by


def table1(rates: Mapping[tuple[str, float], Tensor], draws: int) -> Exhibit:
    """Table I: sum rates without demands, 20 links of which each is on with probability `kappa`."""
    methods = list(dict.fromkeys(method for method, _ in rates))
    kappas = list(dict.fromkeys(kappa for _, kappa in rates))
    rows = []
    for method in methods:
        cells = []
        for kappa in kappas:
            printed = published.TABLE1[kappa].get(method)
            text = interval_text(rates[method, kappa])
            cells.append(text if printed is None else f"{text} ({printed:.2f})")
        rows.append([method, *cells])
    return Exhibit(
        name="table1",
        title="Table I: sum rate without demands, 20 links",
        note=f"Sum rates in bit/s/Hz, the printed ones in brackets; means and 95 % intervals over {draws} unseen "
        "draws, the same for all methods. `local` holds the channel for its rounds (see "
        "the distributed policy by itself, below). `one winner`: of the links that are on, the one with the strongest "
        "direct channel transmits; the printed centralised columns are at this rule.",
        figure=None,
        header=["", *(f"kappa = {kappa:g}" for kappa in kappas)],
        rows=rows,
        data={f"{method}, {kappa:g}": rates[method, kappa].double().mean() for method, kappa in rates},
    )


def meets_demands(rate: Tensor, demand: Tensor) -> bool:
    """Whether mean rates over all runs, of `[run tx]`, meet the demands to 1 %.

    A sum rate that does not is not compared with the bound of those that do. Single runs say nothing of it: their
    means over some hundred slots fluctuate around the demand.
    """
    return float(shortfall(rate.double().mean(0), demand.double())) <= _MISSED


def score_cells(rate: Tensor, demand: Tensor) -> list[str]:
    """Sum rate, violation of the mean over the runs, mean violation of single runs, of mean rates `[run tx]`."""
    return [
        interval_text(rate.sum(-1)),
        f"{100 * float(shortfall(rate.double().mean(0), demand.double())):.2f}",
        f"{100 * float(shortfall(rate, demand).mean()):.2f}",
    ]


def _printed(table: Mapping[int, Mapping[str, tuple[float, float]]], key: int, method: str) -> list[str]:
    found = table.get(key, {}).get(method)
    return [_NOTHING, _NOTHING] if found is None else [f"{found[0]:.2f}", f"{found[1]:.2f}"]


def demand_tables(
    loops: Found, others: Mapping[tuple[str, str], Tensor], notes: Mapping[str, str], sizes: Sequence[int]
) -> list[Exhibit]:
    """Tables II, III and IV.

    Args:
        loops: what loops gave.
        others: mean rates `[1 tx]` of networks that were trained for demands, by case and method.
        notes: a sentence more for a table, by its name.
        sizes: numbers of links.
    """
    parts: list[tuple[str, str, Mapping[int, Case], Any]] = [
        ("table2", "Table II: demands that power control meets with ease", TABLE2, published.TABLE2),
        ("table3", "Table III: stricter demands", TABLE3, published.TABLE3),
        ("table4", "Table IV: five links", TABLE4, published.TABLE4),
    ]
    found = []
    for name, title, cases, printed in parts:
        rows, data = [], {}
        for key, case in cases.items():
            if case.links not in (5, *sizes):
                continue
            rates = _rates(case, loops) | {m: rate for (c, m), rate in others.items() if c == case.name}
            for i, (method, rate) in enumerate(rates.items()):
                cells = score_cells(rate, case.demand)
                rows.append([case.name if i == 0 else "", method, *cells, *_printed(printed, key, method)])
                data[f"{case.name}, {method}"] = rate.double().mean(0)
        found.append(
            Exhibit(
                name=name,
                title=title,
                note="Mean rates after the loops have settled; 95 % intervals over independent runs. The violation is "
                "that of the rates' means over all runs, as in (12), and beside it the mean over runs of what each run "
                f"by itself falls short over its slots. {notes.get(name, '')}".rstrip(),
                figure=None,
                header=_HEADER,
                rows=rows,
                data=data,
            )
        )
    return found


_OF_PAPER = ("ALCOR, central", "ALCOR, local", "ALCOR, WMMSE")
_OURS = ("OnlineDual, WMMSE, 4 starts", "OnlineDual, greedy", "OnlineDual, local")


def _rates(case: Case, loops: Found) -> dict[str, Tensor]:
    """Mean rates `[run tx]` of the loops that are in the tables of the paper."""
    wanted = (*_OF_PAPER, *_OURS)
    return {name: loops[case.name, name]["rate"] for name in wanted if (case.name, name) in loops}


def blocks_text(blocks: Tensor) -> str:
    """Median, lowest and highest number of blocks until demands are met; how many runs never meet them."""
    met = blocks[blocks != NEVER]
    missed = len(blocks) - len(met)
    never = f", {missed} of {len(blocks)} never" if missed else ""
    if not len(met):
        return "never"
    return f"{float(met.double().median()):g} ({int(met.min())} to {int(met.max())}){never}"


def updates(loops: Found) -> Exhibit:
    """The three forms of the update of ALCOR, over WMMSE."""
    rows, data = [], {}
    for case in CASES.values():
        for name in UPDATES:
            key = (case.name, f"update, {name}")
            if key not in loops:
                continue
            found = loops[key]
            cells = score_cells(found["rate"], case.demand)
            rows.append([case.name, name, *cells, blocks_text(found["blocks"])])
            data[", ".join(key)] = found["rate"].double().mean(0)
    return Exhibit(
        name="updates",
        title="The update of ALCOR: simple, printed, corrected",
        note="Over WMMSE, `gamma = 5`, `alpha = 0.9`, batches of 25 slots; diminishing: `alpha~ = 0.5`. Demands are "
        "met from a block of 25 slots on if ten blocks from there fall short of none by more than 5 %: median, lowest "
        "and highest over the runs. The corrected update promises demands for the slots drawn by `lambda`; those drawn "
        "by the base iterate count here too, and miss them unless the step is small.",
        figure=None,
        header=[*_HEADER[:5], "blocks until met"],
        rows=rows,
        data=data,
    )


def beyond(loops: Found, latency: Mapping[tuple[str, str], float], bounds: Mapping[str, Tensor]) -> Exhibit:
    """All loops over all allocators, against the certified dual or the best known value."""
    rows, data = [], {}
    for case in CASES.values():
        scored = {m: v for (c, m), v in loops.items() if c == case.name and not m.startswith("update")}
        if REFERENCE not in scored:
            continue
        bound, kind = bounds.get(case.name), "certified"
        if bound is None:
            bound, kind = scored[REFERENCE]["rate"].sum(-1).double().mean(), "best known"
        for i, (method, found) in enumerate(scored.items()):
            share, interval = metrics.mean_interval(100 * found["rate"].sum(-1) / bound)
            half = f" ± {share - interval[0]:.1f}" if interval else ""
            taken = latency.get((case.name, method))
            rows.append(
                [
                    f"{case.name} ({kind} {float(bound):.2f})" if i == 0 else "",
                    method,
                    *score_cells(found["rate"], case.demand),
                    f"{share:.1f}{half}" if meets_demands(found["rate"], case.demand) else _NOTHING,
                    blocks_text(found["blocks"]),
                    _NOTHING if taken is None else f"{taken:.0f}",
                ]
            )
            data[f"{case.name}, {method}"] = torch.cat(
                [found["rate"].double().mean(0), found["blocks"].double()]
            )
    return Exhibit(
        name="beyond",
        title="ALCOR and OnlineDual over the same allocators",
        note="Sum rate, of loops that meet the demands to 1 %, in per cent of the certified dual value (up to ten "
        "links; the interval is that of the sum rate), beyond ten links of the reference, the weighted primal-dual "
        "method with 64 starts, which is the best known and no bound. Blocks of 25 slots until demands are met, as in "
        "the table of updates, from a cold start unless `regressed`. Time of a slot in a single run on one thread, "
        "everything included; loops over WMMSE, greedy and unfolded run compiled, those over networks in PyTorch.",
        figure=None,
        header=[*_HEADER[:5], "of the bound / %", "blocks until met", "µs a slot"],
        rows=rows,
        data=data,
    )
