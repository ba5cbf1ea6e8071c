"""Tables I and II of [He2022USRMNet], printed and ours."""

from torchrrm.recipes.exhibits import Exhibit
from torchrrm.recipes.usrmnet import pictures
from torchrrm.recipes.usrmnet.allocators import ASCENT, EQUAL, HEBF, LITERAL, USRMNET, ZERO_FORCING
from torchrrm.recipes.usrmnet.cases import regime_cases, ring_cases
from torchrrm.recipes.usrmnet.cells import (
    RATIO_HEADER,
    Found,
    anywhere,
    bound_note,
    estimate,
    hebf_texts,
    label,
    mean_text,
    objectives,
    ratio_cells,
)
from torchrrm.recipes.usrmnet.published import TABLE1, TABLE2
from torchrrm.recipes.usrmnet.settings import UsrmnetSettings

__all__ = ["table1", "table2"]

_HEBF = (HEBF, "HeBF: ours less printed / %")
_PRINTED = ("HeBF, printed", "USRMNet, printed")


def table1(found: Found, settings: UsrmnetSettings) -> list[Exhibit]:
    """Table I: objectives, printed and ours, then ratios on the same draws and violations."""
    results = {case: found[case] for case in regime_cases(settings.users)}
    header = ["SNR / dB", "N_t", "n", "K"]
    methods = (ASCENT, USRMNET, LITERAL, EQUAL, ZERO_FORCING)
    means, ratios = [], []
    for case, result in results.items():
        printed, cell = TABLE1[case.regime, case.users], [*map(str, case.regime), str(case.users)]
        both = f"{printed.hebf:.4f}", f"{printed.usrmnet:.4f}"
        ours = hebf_texts(result, printed.hebf)
        means.append([*cell, *both, *ours, *(mean_text(result, name) for name in methods)])
        ratios.append([*cell, *ratio_cells(printed, result)])
    names = [name for name in (EQUAL, ZERO_FORCING, HEBF, LITERAL, USRMNET) if anywhere(results, name)]
    shown = {name: [estimate(result, name) for result in results.values()] for name in names}
    return [
        Exhibit(
            name="table1",
            title="Table I: weighted sum rate by SNR, antennas, blocklength and users",
            note=_mean_note(settings),
            figure=pictures.shortfalls(shown, [label(case) for case in results], ASCENT),
            header=[*header, *_PRINTED, *_HEBF, *methods],
            rows=means,
            data=objectives(results),
        ),
        Exhibit(
            name="table1-ratios",
            title="Table I: ratios and violations",
            note=_ratio_note(settings),
            figure=None,
            header=[*header, *RATIO_HEADER],
            rows=ratios,
        ),
    ]


def _mean_note(settings: UsrmnetSettings) -> str:
    return (
        f"Nats a channel use, means over the feasible of {settings.draws} draws with 95 % intervals; {HEBF}'s is that "
        f"of {ASCENT} times the ratio of both on the first {settings.hebf_draws} draws. Users are at distances uniform "
        f"in the ring: uniform by area all numbers are 0.2 to 0.3 % lower. `{LITERAL}` is the paper's network, two "
        f"layers, trained for its cell where there is a number, with {settings.literal.samples} samples and "
        f"{settings.literal.epochs} epochs a layer (the paper: 10 000 and 50); the print averages over draws whose "
        "auxiliary variables violate nothing, these are over all. The print's last block has columns that slipped: it "
        "is N_t = 32, n = 256. In the figure what is below 1e-4 % is drawn there; rows of `HeBF` stand on fewer draws."
    )


def _ratio_note(settings: UsrmnetSettings) -> str:
    return (
        "In per cent with 95 % intervals, paired on the same draws: those on which neither violates anything in truth. "
        "`ϖ1` is of USRMNet to HeBF; `ϖ2` the share of draws whose auxiliary variables violate none of (10h) to (10k), "
        "here by at most 1e-6 on average, with the mean violation `V_g` in brackets. Violations in truth are of "
        "minimum rates and of the power limit under the powers and beams that come out, above 1e-5 relative. "
        f"{bound_note(settings)}"
    )


def table2(found: Found, settings: UsrmnetSettings) -> Exhibit:
    """Table II: rings that were not trained on."""
    rows, results = [], {}
    methods = (ASCENT, USRMNET, LITERAL, EQUAL)
    for (ring, users), printed in TABLE2.items():
        if users not in settings.ring_users:
            continue
        for case, cell in zip(ring_cases(ring, users), printed, strict=True):
            result = results[case] = found[case]
            rings = [f"{ring[0]} to {ring[1]}", str(users), f"{case.ring[0]} to {case.ring[1]}"]
            both = f"{cell.hebf:.4f}", f"{cell.usrmnet:.4f}"
            means = [*hebf_texts(result, cell.hebf), *(mean_text(result, name) for name in methods)]
            rows.append([*rings, *both, *means, *ratio_cells(cell, result)])
    return Exhibit(
        name="table2",
        title="Table II: rings that were not trained on",
        note="15 dB, 32 antennas, n = 256; draws, units and columns as in Table I. The second block has lost its "
        "headings in print: its test rings are those that fit its numbers with users at distances uniform in the ring "
        "(uniform by area they are 0.7 to 1.1 % lower). Its first row ends with 1.9727, which no ring beyond 140 m "
        f"gives: 180 to 220 m fits 0.9417 below it, and gives 1.26. `{USRMNET}` is one set of weights for all tables; "
        f"`{LITERAL}` was trained on the ring of the first column.",
        figure=None,
        header=["trained / m", "K", "tested / m", *_PRINTED, *_HEBF, *methods, *RATIO_HEADER],
        rows=rows,
        data=objectives(results),
    )
