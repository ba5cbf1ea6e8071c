"""Beyond the paper's tables: regimes where minimum rates bind, and one set of weights for any users and antennas."""

from collections.abc import Sequence

import torch

from torchrrm.recipes.exhibits import Exhibit
from torchrrm.recipes.usrmnet import pictures
from torchrrm.recipes.usrmnet.allocators import (
    ASCENT,
    EQUAL,
    HEBF,
    ORDER,
    RESTORED,
    USRMNET,
    ZERO_FORCING,
)
from torchrrm.recipes.usrmnet.cases import Case, map_case
from torchrrm.recipes.usrmnet.cells import (
    NONE,
    Found,
    anywhere,
    bound_note,
    bound_text,
    estimate,
    infeasible_text,
    label,
    mean_text,
    objectives,
    ratio_text,
    violated_text,
)
from torchrrm.recipes.usrmnet.judging import CaseResult
from torchrrm.recipes.usrmnet.settings import UsrmnetSettings

__all__ = ["hard", "one_set_of_weights"]

_DRAWN = (EQUAL, RESTORED, ZERO_FORCING, HEBF, USRMNET)


def hard(found: Found, cases: Sequence[Case], settings: UsrmnetSettings) -> Exhibit:
    """Wide rings, loaded cells and Munich: where minimum rates bind."""
    results = {case: found[case] for case in cases}
    names = [name for name in _DRAWN if anywhere(results, name)]
    shown = {name: [estimate(result, name) for result in results.values()] for name in names}
    return Exhibit(
        name="hard",
        title="Hard regimes: wide rings, loaded cells, Munich",
        note=f"{settings.draws} draws ({HEBF}: the first {settings.hard_hebf_draws}), rings uniform by area. A draw is "
        "infeasible if the least power for all minimum rates is beyond the limit: these are counted and left out. "
        "Means in nats a channel use are over all feasible draws, also where an allocator violates a minimum rate: "
        "what breaks the rules may show more than the optimum. Ratios are on draws where neither violates anything. "
        f"{bound_note(settings)}",
        figure=pictures.shortfalls(shown, [label(case) for case in results], ASCENT),
        header=[
            "cell",
            "K",
            "infeasible",
            "allocator",
            "objective",
            f"of {ASCENT} / %",
            f"of {HEBF} / %",
            "of the bound / %",
            "violated / %",
            "worst violation",
        ],
        rows=[line for case, result in results.items() for line in _lines(case, result)],
        data=objectives(results),
    )


def _lines(case: Case, result: CaseResult) -> list[list[str]]:
    """Lines of one cell: an allocator each."""
    lines = []
    for name in (name for name in ORDER if name in result.names):
        violation = result.on_feasible(name).violation
        lines.append(
            [
                *(["", "", ""] if lines else [case.cell, str(case.users), infeasible_text(result)]),
                name,
                mean_text(result, name),
                ratio_text(result, name, ASCENT),
                ratio_text(result, name, HEBF),
                bound_text(result, name),
                violated_text(result, name),
                f"{violation.max():.1e}" if len(violation) else NONE,
            ]
        )
    return lines


def one_set_of_weights(found: Found, settings: UsrmnetSettings) -> Exhibit:
    """USRMNet over GramAscent by users and antennas."""
    values, rows = [], []
    for antennas in settings.map_antennas:
        results = {users: found[map_case(users, antennas)] for users in settings.map_users}
        ratios = [estimate(result, USRMNET) for result in results.values()]
        values.append([torch.nan if ratio is None else ratio[0] for ratio in ratios])
        rows += [[str(antennas), str(users), *_map_cells(result)] for users, result in results.items()]
    return Exhibit(
        name="map",
        title="One set of weights: users and antennas",
        note=f"At least {settings.map_draws} draws a cell, 20 dB, n = 256, 120 to 140 m; ratios in per cent on "
        "feasible draws where neither violates anything. Grey: no such draws.",
        figure=pictures.shortfall_map(
            torch.tensor(values, dtype=torch.float64),
            settings.map_users,
            settings.map_antennas,
            f"{USRMNET} less than {ASCENT} / %",
        ),
        header=[
            "N_t",
            "K",
            "infeasible",
            *(f"{name} / (nat/channel use)" for name in (ASCENT, USRMNET, EQUAL)),
            *(f"{name} / {ASCENT} / %" for name in (USRMNET, EQUAL)),
            *(f"{name}: violated / %" for name in (USRMNET, EQUAL)),
        ],
        rows=rows,
    )


def _map_cells(result: CaseResult) -> list[str]:
    return [
        infeasible_text(result),
        *(mean_text(result, name) for name in (ASCENT, USRMNET, EQUAL)),
        *(ratio_text(result, name, ASCENT) for name in (USRMNET, EQUAL)),
        *(violated_text(result, name) for name in (USRMNET, EQUAL)),
    ]
