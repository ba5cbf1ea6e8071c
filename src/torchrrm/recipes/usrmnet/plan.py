"""What is trained, which cases are compared on what, and the rows of all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from torchrrm.bench import Row
from torchrrm.recipes.jobs import Job, Start, Workers, run_jobs
from torchrrm.recipes.usrmnet.allocators import LITERAL, USRMNET, solvers
from torchrrm.recipes.usrmnet.cases import Case, hard_cases, map_case, regime_cases, ring_cases, ring_trained
from torchrrm.recipes.usrmnet.front import Latencies, best_known, case_rows, latencies, reference
from torchrrm.recipes.usrmnet.judging import FEW_USERS, MOST_BOUNDED, Asked, CaseResult
from torchrrm.recipes.usrmnet.layers import FIGURE_CASE, by_case, by_scale, literal_jobs
from torchrrm.recipes.usrmnet.learned import LiteralTraining, learned
from torchrrm.recipes.usrmnet.operations import ANTENNAS
from torchrrm.recipes.usrmnet.published import TABLE1, TABLE2
from torchrrm.recipes.usrmnet.settings import UsrmnetSettings
from torchrrm.recipes.usrmnet.training import DefaultTraining, default_policy

__all__ = [
    "Trained",
    "asked",
    "front_cases",
    "front_rows",
    "policies",
    "rows",
    "table3_medians",
    "timings",
    "train",
]

Found = Mapping[Case, CaseResult]
NAME = "usrmnet"
"""Of the default network's weights."""


@dataclass(frozen=True)
class Trained:
    """What training gave.

    Attributes:
        default: parameters of the default network.
        literal: those of the paper's network, by the cell that it is for.
        histories: of its layers in the cell of Figs. 5 and 6, by the start of the loss's scales.
    """

    default: Start
    literal: Mapping[Case, Start]
    histories: Mapping[float, dict[str, Tensor]]

    def starts(self, case: Case, trained_for: Case | None = None) -> tuple[tuple[str, Start], ...]:
        """What is learned for a case: the default, and the paper's network of its cell or of another one."""
        literal = self.literal.get(trained_for or case)
        both: tuple[tuple[str, Start], ...] = ((USRMNET, self.default),)
        return both if literal is None else (*both, (LITERAL, literal))


def train(settings: UsrmnetSettings, workers: Workers, seed: int) -> Trained:
    """Everything that learns, the longest first."""
    default = DefaultTraining(seed, settings.training)
    literal = literal_jobs(settings, seed)
    jobs: list[Job] = [default, *literal]
    results = run_jobs("training", jobs, workers)
    by_job: dict[LiteralTraining, dict[str, Tensor]] = {job: results[job] for job in literal}
    return Trained(Start(default.name, results[default]), by_case(by_job), by_scale(by_job))


def policies(trained: Trained) -> dict[str, nn.Module]:
    """The policies whose weights are kept, by name."""
    return {NAME: default_policy(trained.default.parameters)}


def asked(settings: UsrmnetSettings, trained: Trained) -> list[Asked]:
    """All cases of the tables, each once, the longest first."""
    wanted = [*_paper(settings, trained), *_beyond(settings, trained)]
    merged: dict[Case, Asked] = {}
    for one in wanted:
        before = merged.setdefault(one.case, one)
        merged[one.case] = replace(
            before,
            draws=max(before.draws, one.draws),
            hebf_draws=max(before.hebf_draws, one.hebf_draws),
            bound_draws=max(before.bound_draws, one.bound_draws),
            variants=before.variants or one.variants,
            listed=before.listed or one.listed,
        )
    return sorted(merged.values(), key=lambda one: -one.case.users)


def _paper(settings: UsrmnetSettings, trained: Trained) -> list[Asked]:
    """Tables I and II."""
    found = [
        Asked(
            case,
            settings.draws,
            settings.hebf_draws,
            _bounds(case, settings),
            trained.starts(case),
        )
        for case in regime_cases(settings.users)
    ]
    for ring, users in TABLE2:
        if users in settings.ring_users:
            starts = trained.starts(FIGURE_CASE, ring_trained(ring, users))
            found += [
                Asked(case, settings.draws, settings.hebf_draws, _bounds(case, settings), starts)
                for case in ring_cases(ring, users)
            ]
    return found


def _beyond(settings: UsrmnetSettings, trained: Trained) -> list[Asked]:
    """Hard regimes, the map, the front."""
    found = [
        Asked(
            case,
            settings.draws,
            settings.hard_hebf_draws,
            _bounds(case, settings),
            trained.starts(case),
        )
        for case in hard_cases(settings.wide_users, settings.munich_users)
    ]
    found += [
        Asked(case, settings.map_draws, starts=trained.starts(case), listed=False)
        for case in (map_case(users, n) for users in settings.map_users for n in settings.map_antennas)
    ]
    return found + [
        Asked(
            case,
            settings.draws,
            settings.hard_hebf_draws,
            _bounds(case, settings),
            trained.starts(case),
            variants=True,
        )
        for case in front_cases(settings)
    ]


def _bounds(case: Case, settings: UsrmnetSettings) -> int:
    """Draws with a certified bound: beyond 8 users the search does not end in time."""
    if case.users <= FEW_USERS:
        return settings.bound_draws
    return settings.large_bound_draws if case.users <= MOST_BOUNDED else 0


def front_cases(settings: UsrmnetSettings) -> list[Case]:
    """The paper's cell, and a ring in which minimum rates bind."""
    return [
        *(Case(users) for users in settings.front_users),
        *(Case(users, (15, 64, 256), (50, 300), "area") for users in settings.front_users[:1]),
    ]


def timings(found: Found, settings: UsrmnetSettings, trained: Trained) -> dict[Case, Latencies]:
    """Latencies of single calls in all cases that are listed; with no worker beside it."""
    return {
        one.case: latencies(
            one.case,
            found[one.case],
            solvers(variants=one.variants) | learned(one.starts, one.case.users),
            settings,
        )
        for one in asked(settings, trained)
        if one.listed
    }


def rows(found: Found, timed: Mapping[Case, Latencies]) -> list[Row]:
    """Result rows of the paper's cells, hard regimes and the front."""
    return [
        row
        for case, latency in timed.items()
        for row in case_rows(case, found[case], reference(found[case]), latency, _published(case))
    ]


def front_rows(found: Found, timed: Mapping[Case, Latencies], settings: UsrmnetSettings) -> list[Row]:
    """Rows of the front, against the best known: certified bounds are too loose to tell its allocators apart."""
    return [
        row
        for case in front_cases(settings)
        for row in case_rows(case, found[case], best_known(found[case]), timed[case], {})
    ]


def _published(case: Case) -> dict[str, float]:
    """Printed ratios of USRMNet to HeBF."""
    printed = TABLE1.get((case.regime, case.users)) if case in regime_cases((case.users,)) else None
    return {} if printed is None else dict.fromkeys((USRMNET, LITERAL), printed.ratio / 100)


def table3_medians(
    timed: Mapping[Case, Latencies], settings: UsrmnetSettings
) -> dict[tuple[int, str], float]:
    """Median latencies in the cells of Table III, by users and allocator."""
    cases = {users: Case(users, (20, ANTENNAS, 256)) for users in settings.users}
    return {
        (users, name): median for users, case in cases.items() for name, (median, _) in timed[case].items()
    }
