"""Cells of the tables: means, ratios on the same draws, violations."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from torchrrm.bench import metrics
from torchrrm.recipes.exhibits import interval_text
from torchrrm.recipes.usrmnet import pictures
from torchrrm.recipes.usrmnet.allocators import ASCENT, EQUAL, HEBF, LITERAL, USRMNET
from torchrrm.recipes.usrmnet.cases import TRAINED_RING, Case
from torchrrm.recipes.usrmnet.judging import BOUND_TOLERANCE, FEW_USERS, MOST_BOUNDED, CaseResult
from torchrrm.recipes.usrmnet.published import Printed
from torchrrm.recipes.usrmnet.scoring import on_same_draws
from torchrrm.recipes.usrmnet.settings import UsrmnetSettings

__all__ = [
    "NONE",
    "RATIO_HEADER",
    "Found",
    "anywhere",
    "bound_note",
    "bound_text",
    "clean_text",
    "estimate",
    "hebf_texts",
    "infeasible_text",
    "label",
    "mean_text",
    "objectives",
    "ratio_cells",
    "ratio_text",
    "violated_text",
]

Found = Mapping[Case, CaseResult]
NONE = "–"
_STRAY = 1e-6
"""Violations of auxiliary variables up to here count as none."""


def mean_text(result: CaseResult, name: str) -> str:
    """Mean objective over the feasible draws, whether they keep all rates or not."""
    if name not in result.names:
        return NONE
    scores = result.on_feasible(name)
    return interval_text(scores.objective, digits=4) if len(scores.objective) else NONE


def hebf_mean(result: CaseResult) -> tuple[float, float] | None:
    """Mean of HeBF over all feasible draws, and half its 95 % interval.

    That of GramAscent over all draws, times the ratio of both on the few that HeBF was run on: a ratio estimate, whose
    interval is much narrower than that of the few.
    """
    if HEBF not in result.names:
        return None
    ratio, spread = on_same_draws(result.on_feasible(HEBF), result.on_feasible(ASCENT))
    if ratio is None:
        return None
    mean, interval = metrics.mean_interval(result.on_feasible(ASCENT).objective)
    parts = [(interval[1] - mean) / mean if interval else 0.0, (spread[1] - ratio) / ratio if spread else 0.0]
    return ratio * mean, ratio * mean * math.hypot(*parts)


def hebf_texts(result: CaseResult, printed: float) -> list[str]:
    """HeBF's mean, and its difference to the printed one in per cent."""
    found = hebf_mean(result)
    if found is None:
        return [NONE, NONE]
    mean, half = found
    return [f"{mean:.4f} ± {half:.4f}", f"{100 * (mean / printed - 1):+.2f} ± {100 * half / printed:.2f}"]


def ratio_text(result: CaseResult, name: str, base: str) -> str:
    """Ratio to a base in per cent, on the same draws, those on which both keep all rates."""
    if name not in result.names or base not in result.names:
        return NONE
    return _per_cent(on_same_draws(result.on_feasible(name), result.on_feasible(base)))


def _per_cent(estimate: tuple[float | None, tuple[float, float] | None]) -> str:
    ratio, interval = estimate
    if ratio is None:
        return NONE
    return f"{100 * ratio:.3f}" + (f" ± {100 * (interval[1] - ratio):.3f}" if interval else "")


def violated_text(result: CaseResult, name: str) -> str:
    """Feasible draws on which a rate or the power is violated in truth, in per cent."""
    if name not in result.names:
        return NONE
    met = result.on_feasible(name).met
    return f"{100 * (~met).double().mean():.2f}" if len(met) else NONE


def bound_note(settings: UsrmnetSettings) -> str:
    """What the bounds are, for the notes of tables."""
    few, many = BOUND_TOLERANCE
    return (
        f"Bounds are certified by branch and bound on the first {settings.bound_draws} draws up to {FEW_USERS} users, "
        f"to {100 * few:g} %, and on {settings.large_bound_draws} of {MOST_BOUNDED} users, to {100 * many:g} % where "
        "the search ends in time: what is as close to a bound as that may be the optimum."
    )


def bound_text(result: CaseResult, name: str) -> str:
    """Objective over the certified bound in per cent, on the feasible of its draws."""
    if result.bound is None or name not in result.names:
        return NONE
    count = min(len(result.bound), len(result.scores(name).objective))
    keep = result.feasible[:count] & result.scores(name).first(count).met
    if not bool(keep.any()):
        return NONE
    return _per_cent(
        metrics.ratio_interval(result.scores(name).first(count).objective[keep], result.bound[:count][keep])
    )


def infeasible_text(result: CaseResult) -> str:
    """How many of the draws cannot have their minimum rates."""
    return f"{int((~result.feasible).sum())} of {len(result.feasible)}"


def clean_text(result: CaseResult) -> str:
    """Draws whose auxiliary variables violate nothing (`varpi_2`), in per cent, and their mean violation."""
    strays = result.made.get("strays")
    if strays is None:
        return NONE
    return f"{100 * (strays <= _STRAY).double().mean():.2f} (V_g {strays.mean():.0e})"


RATIO_HEADER = (
    "ϖ1, printed",
    f"{USRMNET} / {HEBF}",
    f"{LITERAL} / {HEBF}",
    f"{EQUAL} / {HEBF}",
    f"{ASCENT} / {HEBF}",
    f"{USRMNET} / {ASCENT}",
    f"{ASCENT} / bound",
    "ϖ2, printed",
    f"ϖ2, {LITERAL}",
    f"{LITERAL}: violated",
    f"{USRMNET}: violated",
    f"{EQUAL}: violated",
    "infeasible",
)


def ratio_cells(printed: Printed, result: CaseResult) -> list[str]:
    """What `RATIO_HEADER` heads."""
    return [
        f"{printed.ratio:.2f}",
        ratio_text(result, USRMNET, HEBF),
        ratio_text(result, LITERAL, HEBF),
        ratio_text(result, EQUAL, HEBF),
        ratio_text(result, ASCENT, HEBF),
        ratio_text(result, USRMNET, ASCENT),
        bound_text(result, ASCENT),
        f"{printed.met:.2f}",
        clean_text(result),
        violated_text(result, LITERAL),
        violated_text(result, USRMNET),
        violated_text(result, EQUAL),
        infeasible_text(result),
    ]


def anywhere(results: Found, name: str) -> bool:
    """Whether an allocator is compared in any of the cases."""
    return any(name in result.names for result in results.values())


def estimate(result: CaseResult, name: str) -> pictures.Estimate | None:
    """Ratio to GramAscent, as figures take it."""
    if name not in result.names:
        return None
    ratio, interval = on_same_draws(result.on_feasible(name), result.on_feasible(ASCENT))
    return None if ratio is None else (ratio, interval)


def label(case: Case) -> pictures.Label:
    """A case in figures: its cell and its users."""
    if case.where == "munich":
        return "Munich", case.users
    snr_db, antennas, blocklength = case.regime
    near, far = case.ring
    ring = "" if case.ring == TRAINED_RING else f"{near}–{far} m, "
    return f"{ring}{snr_db} dB, {antennas} ant., n {blocklength}", case.users


def objectives(results: Found) -> dict[str, Tensor]:
    """Mean objective over the feasible draws with the ends of its 95 % interval, by case and allocator."""
    found = {}
    for case, result in results.items():
        for name in result.names:
            values = result.on_feasible(name).objective
            if len(values):
                mean, interval = metrics.mean_interval(values)
                found[f"{case.name} {name}"] = torch.tensor([mean, *(interval or (mean, mean))])
    return found
