"""Figs. 11 and 12: other numbers of users and stations with the same weights."""

from collections.abc import Mapping

from torchrrm.bench import figures
from torchrrm.recipes.exhibits import Exhibit, interval_text
from torchrrm.recipes.hbgnn.allocators import (
    GRL,
    GRL_REFINED,
    GRL_SEARCHED,
    HUNGARIAN,
    LONGEST,
    SRL,
    SRL_REFINED,
    SRL_SEARCHED,
)
from torchrrm.recipes.hbgnn.cases import PAPER, Case
from torchrrm.recipes.hbgnn.judging import CaseResult
from torchrrm.recipes.hbgnn.settings import HbgnnSettings
from torchrrm.recipes.hbgnn.tables import NONE, percent_text

__all__ = ["density"]

_SHOWN = (GRL, GRL_REFINED, GRL_SEARCHED, SRL, SRL_REFINED, SRL_SEARCHED)


def density(name: str, title: str, results: Mapping[Case, CaseResult], settings: HbgnnSettings) -> Exhibit:
    """Distributions of rates under GRL and SRL for each network, and sums of rates."""
    rows = [
        [
            str(case.users),
            str(case.stations),
            method if method != LONGEST else f"{HUNGARIAN}, {_limit_s(case, settings):g} s",
            interval_text(result.judged[method].objective),
            percent_text(result, method, LONGEST) if LONGEST in result.judged else NONE,
            f"{result.judged[method].measures['served users'].mean().item():.1f}",
        ]
        for case, result in results.items()
        for method in result.names
        if method in (*_SHOWN, LONGEST)
    ]
    panels = {
        method: {
            f"{case.users} users, {case.stations} stations": result.judged[method]
            .rate.clamp_min(1e-3)
            .numpy()
            for case, result in results.items()
        }
        for method in (GRL, SRL)
    }
    least = min(len(result.best) for result in results.values())
    return Exhibit(
        name=name,
        title=title,
        note=f"At least {least} drops each, the same weights for all; rates below 1e-3 bit/s/Hz are drawn there. The "
        f"search is `{HUNGARIAN}` with a time limit, {settings.longest_s:g} s for the paper's network and "
        f"{settings.density_s:g} s for the others.",
        figure=figures.cdf_panels(panels, label="rate / (bit/s/Hz)", log=True),
        header=[
            "users",
            "stations",
            "method",
            "sum of rates / (bit/s/Hz)",
            "of the search / %",
            "served users",
        ],
        rows=rows,
    )


def _limit_s(case: Case, settings: HbgnnSettings) -> float:
    return settings.longest_s if case == PAPER else settings.density_s
