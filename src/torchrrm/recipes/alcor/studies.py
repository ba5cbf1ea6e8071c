"""The jobs of the recipe, run, and the exhibits that need no file of their own."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from torchrrm.bench import Measure, Row, metrics
from torchrrm.bench.demands import NEVER, shortfall
from torchrrm.recipes.alcor import published
from torchrrm.recipes.alcor.allocators import augmented as augmented_policy
from torchrrm.recipes.alcor.bounds import DualCertificate
from torchrrm.recipes.alcor.cases import CASES, TABLE2, TABLE3, TABLE4, Case
from torchrrm.recipes.alcor.local_study import LocalStudy, local_exhibit
from torchrrm.recipes.alcor.loops import latency_us
from torchrrm.recipes.alcor.plan import BEYOND, REFERENCE, cases_of, scores
from torchrrm.recipes.alcor.programs import FeasiblePrograms
from torchrrm.recipes.alcor.settings import AlcorSettings
from torchrrm.recipes.alcor.tables import Found, blocks_text, meets_demands, score_cells
from torchrrm.recipes.alcor.unconstrained import SumRates
from torchrrm.recipes.exhibits import Exhibit, interval_text
from torchrrm.recipes.jobs import Start, Workers, run_jobs

__all__ = [
    "PROBLEM",
    "any_size_exhibit",
    "augmented_policy",
    "certificates",
    "distributed",
    "latencies",
    "local",
    "loops",
    "program_exhibit",
    "program_notes",
    "programs",
    "rows",
    "unconstrained",
]

PROBLEM = "demands"
KAPPAS = (0.25, 0.5, 0.75, 1.0)
_LINKS = 20
_MOST_CERTIFIED = 10
_TABLE1: dict[str, tuple[str, str]] = {
    "max power": ("max power", ""),
    "one winner": ("one winner", ""),
    "central, diverse": ("central", "central-20"),
    "central": ("central", "central-20, all on"),
    "local, diverse": ("local", "local"),
    "local": ("local", "local, all on"),
    "GNN": ("GNN", "augmented"),
    "GNN + 10 WMMSE": ("GNN + 10 WMMSE", "augmented"),
    "unfolded": ("unfolded", "unfolded"),
    "greedy": ("greedy", ""),
    "WMMSE": ("WMMSE", ""),
    "WMMSE, 4 starts": ("WMMSE, 4 starts", ""),
    "WMMSE, 64 starts": ("WMMSE, 64 starts", ""),
}
"""Allocators and parameters by the methods of Table I."""
_ANY = {
    name: _TABLE1[name]
    for name in ("one winner", "GNN", "GNN + 10 WMMSE", "local, diverse", "unfolded", "WMMSE")
}


def unconstrained(
    settings: AlcorSettings, weights: Mapping[str, Start], workers: Workers
) -> tuple[dict[tuple[str, float], Tensor], dict[tuple[str, int], Tensor]]:
    """Sum rates of Table I by method and `kappa`, and of one set of weights by method and number of links."""

    def job(title: str, allocator: str, trained: str, links: int, kappa: float, draws: int) -> SumRates:
        return SumRates(title, allocator, weights[trained] if trained else None, links, kappa, draws)

    table = {
        (title, kappa): job(title, *which, _LINKS, kappa, settings.draws)
        for kappa in KAPPAS
        for title, which in _TABLE1.items()
    }
    sizes = {
        (title, links): job(title, *which, links, 1.0, settings.any_draws)
        for links in settings.any_sizes
        for title, which in _ANY.items()
    }
    found = run_jobs("sum rates", list(dict.fromkeys([*table.values(), *sizes.values()])), workers)
    return (
        {key: found[each]["rate"] for key, each in table.items()},
        {key: found[each]["rate"] for key, each in sizes.items()},
    )


def loops(settings: AlcorSettings, weights: Mapping[str, Start], workers: Workers) -> Found:
    """What all loops gave, by the names of case and loop."""
    jobs = scores(settings, weights)
    found = run_jobs("control loops", jobs, workers)
    return {(job.case.name, job.title): found[job] for job in jobs}


def latencies(settings: AlcorSettings, weights: Mapping[str, Start]) -> dict[tuple[str, str], float]:
    """Microseconds a slot of the loops of the table beyond the paper, one of each number of links."""
    found: dict[tuple[str, str], float] = {}
    known: dict[tuple[int, str], float] = {}
    for job in scores(settings, weights):
        if job.case not in BEYOND or job.title.startswith("update"):
            continue
        key = (job.case.links, job.title)
        known[key] = known.get(key) or latency_us(job)
        found[job.case.name, job.title] = known[key]
    return found


def certificates(settings: AlcorSettings, workers: Workers) -> dict[str, Tensor]:
    """Certified dual values by the name of the case, of at most ten links."""
    jobs = [
        DualCertificate(case, settings.certified_slots)
        for case in cases_of(settings)
        if case.links <= _MOST_CERTIFIED
    ]
    found = run_jobs("certificates", jobs, workers)
    return {job.case.name: found[job]["bound"] for job in jobs}


def programs(settings: AlcorSettings, workers: Workers) -> dict[int, dict[str, Tensor]]:
    """Geometric programs of Table II, by the number of links."""
    jobs = {
        links: FeasiblePrograms(TABLE2[links], settings.program_draws, settings.programs)
        for links in settings.sizes
    }
    found = run_jobs("geometric programs", list(jobs.values()), workers)
    return {links: found[job] for links, job in jobs.items()}


def program_notes(found: Mapping[int, dict[str, Tensor]]) -> dict[str, str]:
    """What Table II says of them."""
    parts = []
    for links, made in found.items():
        rate, printed = made["rate.geometric program"], published.TABLE2[links]["GP"][0]
        value = f"{float(rate.mean()):.2f}" if len(rate) else "no feasible draw"
        share = 100 * float(made["feasible"]) / float(made["draws"])
        parts.append(f"N = {links}: {value} ({printed:.2f}) on {len(rate)} of {share:.2g} % feasible draws")
    about = (
        "Geometric programs, which must meet the demands in every slot, the printed sum rates in brackets: "
    )
    return {"table2": about + "; ".join(parts) + "."}


def program_exhibit(found: Mapping[int, dict[str, Tensor]]) -> Exhibit:
    """How few draws are feasible, and what geometric programs reach on them."""
    rows = []
    for links, made in found.items():
        for method in ("geometric program", "QoS WMMSE", "WMMSE"):
            rate = made[f"rate.{method}"]
            violation = made[f"violation.{method}"]
            rows.append(
                [
                    str(links),
                    f"{int(made['feasible'])} of {int(made['draws'])}",
                    method if method != "WMMSE" else "WMMSE, which asks for nothing",
                    str(len(rate)),
                    interval_text(rate) if len(rate) else "–",
                    f"{100 * float(violation.max()):.2g}" if len(rate) else "–",
                    f"{published.TABLE2[links]['GP'][0]:.2f}" if method == "geometric program" else "–",
                ]
            )
    return Exhibit(
        name="programs",
        title="Geometric programming: demands in every single slot",
        note="Whether any powers meet the demands of Table II in a slot is decided exactly (Perron and Frobenius). The "
        "printed column is a mean over such slots, of which the paper does not say how rare they are.",
        figure=None,
        header=["links", "feasible draws", "method", "solved", "sum rate", "violation / %", "printed"],
        rows=rows,
        data={f"{links}, {name}": value for links, made in found.items() for name, value in made.items()},
    )


def any_size_exhibit(found: Mapping[tuple[str, int], Tensor], settings: AlcorSettings) -> Exhibit:
    """Sum rates of one set of weights for any number of links."""
    methods = list(dict.fromkeys(method for method, _ in found))
    rows = [
        [method, *(interval_text(found[method, links]) for links in settings.any_sizes)] for method in methods
    ]
    return Exhibit(
        name="any-size",
        title="One set of weights for 2 to 200 links",
        note=f"Sum rate in bit/s/Hz, everybody on, {settings.any_draws} draws. The graph network learned on "
        f"{min(settings.augmented_sizes)} to {max(settings.augmented_sizes)} links, the distributed one on "
        f"{settings.local_links}, the unfolded one on {settings.unfolded.instances[0][0]} to "
        f"{settings.unfolded.instances[-1][0]}.",
        figure=None,
        header=["", *(f"N = {links}" for links in settings.any_sizes)],
        rows=rows,
        data={f"{method}, {links}": rate.double().mean() for (method, links), rate in found.items()},
    )


def distributed(loops: Found) -> Exhibit:
    """What remains where links know no more than they measure and are told by neighbours."""
    wanted = ("OnlineDual, max power", "ALCOR, local", "OnlineDual, local")
    rows, data = [], {}
    for case in CASES.values():
        known = [name for name in wanted if (case.name, name) in loops]
        for i, name in enumerate(known):
            found = loops[case.name, name]
            cells = score_cells(found["rate"], case.demand)
            rows.append([case.name if i == 0 else "", name, *cells, blocks_text(found["blocks"])])
            data[f"{case.name}, {name}"] = found["rate"].double().mean(0)
    return Exhibit(
        name="distributed",
        title="Local measurements only",
        note="Channels are held for the rounds of the policy. ALCOR needs one number more, the largest multiplier, "
        "from every user and batch; `OnlineDual` needs each user's weight at its neighbours. Full power is what is "
        "left without any knowledge. Centralised methods cannot run here.",
        figure=None,
        header=[
            "demands",
            "method",
            "sum rate",
            "violation (12) / %",
            "of single runs / %",
            "blocks until met",
        ],
        rows=rows,
        data=data,
    )


def local(weights: Mapping[str, Start], settings: AlcorSettings, workers: Workers) -> Exhibit:
    """The distributed policy by itself."""
    job = LocalStudy(weights["local"], draws=max(2, settings.draws // 2), runs=settings.local_runs)
    return local_exhibit(run_jobs("distributed policy", [job], workers)[job])


def rows(found: Found, latency: Mapping[tuple[str, str], float], bounds: Mapping[str, Tensor]) -> list[Row]:
    """Result rows of the loops that are timed."""
    return [
        _row(CASES[case], name, found[case, name], taken, found[case, REFERENCE], bounds.get(case))
        for (case, name), taken in latency.items()
    ]


def _row(
    case: Case,
    name: str,
    made: dict[str, Tensor],
    taken: float,
    reference: dict[str, Tensor],
    certified: Tensor | None,
) -> Row:
    rate = made["rate"].double()
    total, demand = rate.sum(-1), case.demand.double()
    best = reference["rate"].double().sum(-1).mean() if certified is None else certified
    bound = torch.full_like(total, float(best))
    objective, interval = metrics.mean_interval(total)
    met = torch.tensor(meets_demands(rate, demand))
    optimality, share = metrics.optimality(total, bound, met)
    short, met = shortfall(rate, demand), made["blocks"][made["blocks"] != NEVER].double()
    printed = _printed(case, name)
    blocks = float(met.median()) if len(met) else float("inf")
    return Row(
        problem=PROBLEM,
        setting=case.name,
        allocator=name,
        kind="trivial" if "max power" in name else "policy" if _is_learned(name) else "solver",
        objective=objective,
        objective_ci95=interval,
        bound=float(best),
        bound_kind="best known" if certified is None else "certified",
        optimality=optimality,
        optimality_ci95=share,
        violation_max=float(shortfall(rate.mean(0), demand)),
        violation_rate=float((short > 0.01).double().mean()),
        served_fraction=float((rate.mean(0) >= 0.99 * demand).double().mean()),
        p50_us=taken,
        p99_us=math.nan,  # a run is timed as a whole
        instances=len(total),
        infeasible=0,
        published=None if printed is None else printed / float(best),
        measures={
            "violation of single runs": Measure(*metrics.mean_interval(short)),
            "blocks until demands are met": Measure(blocks, None),
        },
    )


def _is_learned(name: str) -> bool:
    return any(word in name for word in ("central", "local", "GNN", "unfolded"))


def _printed(case: Case, name: str) -> float | None:
    """The printed sum rate of a loop."""
    for cases, table in ((TABLE2, published.TABLE2), (TABLE3, published.TABLE3), (TABLE4, published.TABLE4)):
        for key, other in cases.items():
            if other == case and name in table.get(key, {}):
                return table[key][name][0]
    return None
