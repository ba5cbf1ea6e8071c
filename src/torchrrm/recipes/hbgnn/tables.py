"""Fig. 9 with Table III, Fig. 10, Table IV, and what sums of rates hide."""

from collections.abc import Mapping

from torchrrm.bench import figures, metrics
from torchrrm.recipes.exhibits import Exhibit, interval_text
from torchrrm.recipes.hbgnn.allocators import JOINT, LONGEST, PAPER_METHODS
from torchrrm.recipes.hbgnn.cases import Case
from torchrrm.recipes.hbgnn.judging import CaseResult
from torchrrm.recipes.hbgnn.published import RATES, SECONDS

__all__ = ["Latencies", "figure10", "hidden", "munich", "percent_text", "table3", "table4"]

NONE = "–"
_DRAWN = (*PAPER_METHODS, LONGEST)
"""In Fig. 10: as many as lines can be told apart."""
Latencies = Mapping[str, tuple[float, float]]
"""Median and 99th percentile of single calls in microseconds, by allocator."""


def printed_of(name: str) -> str:
    """The paper's name of what stands behind a row, refined or not."""
    return name.split(",")[0]


def percent_text(result: CaseResult, name: str, base: str) -> str:
    """Mean objective in per cent of another's on the same drops, with its 95 % interval."""
    if base not in result.judged:
        return NONE
    ours, theirs = result.judged[name].objective, result.judged[base].objective
    ratio, interval = metrics.ratio_interval(ours, theirs)
    if ratio is None:
        return NONE
    return f"{100 * ratio:.2f}" + (f" ± {100 * (interval[1] - ratio):.2f}" if interval else "")


def _times_text(result: CaseResult, name: str) -> str:
    if JOINT not in result.judged:
        return NONE
    ours, theirs = result.judged[name].objective.mean(), result.judged[JOINT].objective.mean()
    return f"{(ours / theirs).item():.3f}"


def table3(result: CaseResult, drops: int) -> Exhibit:
    """Sum of rates of all methods on the same drops, the printed ones beside."""
    rows = [
        [
            name,
            f"{RATES[printed]:.1f}" if (printed := printed_of(name)) in RATES else NONE,
            interval_text(result.judged[name].objective),
            percent_text(result, name, LONGEST),
            f"{RATES[printed] / RATES[JOINT]:.3f}" if printed in RATES else NONE,
            _times_text(result, name),
            f"{result.judged[name].violation.max().item():.1e}",
        ]
        for name in result.names
    ]
    return Exhibit(
        name="fig09",
        title="Fig. 9 and Table III: sum of rates by method",
        note=f"{drops} drops of the 200 m square that nothing was trained or chosen on; stations and buildings are "
        "drawn anew for each, where the paper redraws the users alone. The printed numbers are of another reading of "
        "the geometry, which the paper does not pin down (antenna heights, noise, users in buildings): ratios between "
        f"rows say more than their level. `{LONGEST}` is no optimum. `JUAPCMWSER` is read in "
        "two ways: from full power with powers after each step of the association, and from equally loud stations with "
        "ten steps between, its best form.",
        figure=figures.values_beside_print(
            {name: result.judged[name].objective for name in result.names},
            {name: RATES[printed_of(name)] for name in result.names if printed_of(name) in RATES},
            label="sum of rates / (bit/s/Hz)",
        ),
        header=[
            "method",
            "printed / (bit/s/Hz)",
            "here / (bit/s/Hz)",
            f"of {LONGEST} / %",
            f"over {JOINT}, printed",
            f"over {JOINT}, here",
            "worst violation",
        ],
        rows=rows,
        data={name: result.judged[name].objective for name in result.names},
    )


def figure10(result: CaseResult, drops: int) -> Exhibit:
    """Distributions of the users' rates."""
    rates = {name: result.judged[name].rate for name in result.names}
    rows = [
        [name, *(f"{rate.flatten().quantile(share).item():.4f}" for share in (0.05, 0.5, 0.7, 0.9, 0.99))]
        for name, rate in rates.items()
    ]
    return Exhibit(
        name="fig10",
        title="Fig. 10: distributions of the users' rates",
        note=f"All users of {drops} drops. Rates below 1e-3 bit/s/Hz are drawn there: those of users that are parked "
        "at silent stations, whom a sum of rates rewards to strand. The table has all methods, the figure those of the "
        "paper and the search.",
        figure=figures.rate_cdf(
            {name: rates[name].clamp_min(1e-3).numpy() for name in _DRAWN},
            label="rate / (bit/s/Hz)",
            log=True,
        ),
        header=["method", "5 %", "50 %", "70 %", "90 %", "99 %"],
        rows=rows,
    )


def table4(result: CaseResult, timed: Latencies) -> Exhibit:
    """Times of a drop, the printed ones beside."""
    rows = []
    for name, (median_us, slow_us) in timed.items():
        printed = SECONDS.get(printed_of(name))
        rows.append(
            [
                name,
                NONE if printed is None else f"{printed:g}",
                f"{median_us / 1e6:.3g}",
                f"{slow_us / 1e6:.3g}",
                NONE if JOINT not in timed else f"{timed[JOINT][0] / median_us:.3g}",
                NONE if printed is None else f"{SECONDS[JOINT] / printed:.3g}",
            ]
        )
    return Exhibit(
        name="table4",
        title="Table IV: time of a drop",
        note="Single calls from Python on one thread, with no worker beside; solvers are compiled. SRL and "
        "the search with a time limit: over the drops, beside another worker.",
        figure=None,
        header=["method", "printed / s", "p50 / s", "p99 / s", f"{JOINT} / this", "the same, printed"],
        rows=rows,
    )


def hidden(result: CaseResult) -> Exhibit:
    """Served users, low rates and fairness."""
    first = next(iter(result.judged.values()))
    return Exhibit(
        name="fairness",
        title="What a sum of rates hides: served users and fairness",
        note="Means over drops with 95 % intervals. A user is served from 1e-3 bit/s/Hz on. The geometric mean is the "
        "objective of `ProportionalFairAssociation`, which MSUAMP and MSUAPC raise.",
        figure=None,
        header=["method", *first.measures],
        rows=[
            [name, *(interval_text(value, digits=4) for value in result.judged[name].measures.values())]
            for name in result.names
        ],
    )


def munich(results: Mapping[Case, CaseResult]) -> Exhibit:
    """The ray-traced networks, zero-shot and specialised."""
    rows = [
        [
            "" if i else case.setting,
            name,
            interval_text(result.judged[name].objective),
            percent_text(result, name, LONGEST),
            f"{result.judged[name].measures['served users'].mean().item():.1f}",
        ]
        for case, result in results.items()
        for i, name in enumerate(result.names)
    ]
    return Exhibit(
        name="munich",
        title="Munich: ray-traced networks",
        note="The weights saw no ray-traced channel in training: GRL is zero-shot, SRL learns on each drop.",
        figure=None,
        header=["network", "method", "sum of rates / (bit/s/Hz)", f"of {LONGEST} / %", "served users"],
        rows=rows,
    )
