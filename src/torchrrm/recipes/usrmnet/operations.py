"""Table III of [He2022USRMNet]: operation counts from the formulas of its Section IV-D, and what calls take."""

from collections.abc import Mapping

from torchrrm.recipes.exhibits import Exhibit
from torchrrm.recipes.usrmnet.allocators import ASCENT, EQUAL, HEBF, LITERAL, USRMNET
from torchrrm.recipes.usrmnet.published import TABLE3

__all__ = ["hebf_operations", "table3", "usrmnet_operations"]

ANTENNAS = 32
_UPDATES = 3  # of the beams in HeBF, `F`
_LAYERS = 2  # of USRMNet, `L`
_STEP_WIDTHS = (5, 32, 2)  # features of the network of step sizes
_TIMED = (HEBF, ASCENT, USRMNET, LITERAL, EQUAL)


def hebf_operations(users: int, antennas: int) -> float:
    """`F ((K^2 + 3 K)^3.5 + N_t^2.7 + K N_t^3)` with `F = 3` updates of the beams."""
    program = (users**2 + 3 * users) ** 3.5
    return _UPDATES * (program + antennas**2.7 + users * antennas**3)


def usrmnet_operations(users: int, antennas: int) -> float:
    """`L (K N_t^3 + 2 K^2 N_t + sum_f (K^2 + K^2 p_f) of both networks + M N_h + M)` with `L = 2` layers.

    One filter tap leaves `K^2` of the terms in `K^3` and `K^2`. `M = 5 K` variables; the print does not give the number
    of projected constraints: (10b) to (10g) are `N_h = 5 K + 1`, which reproduces three of its four numbers.
    """
    perturbation_widths = (users + 5, 32, 5)
    networks = sum(users**2 * (1 + width) for width in (*_STEP_WIDTHS, *perturbation_widths))
    variables, projected = 5 * users, 5 * users + 1
    beams = users * antennas**3 + 2 * users**2 * antennas
    return float(_LAYERS * (beams + networks + variables * projected + variables))


def table3(latency_us: Mapping[tuple[int, str], float]) -> Exhibit:
    """Table III: operations by the formulas, and the time that calls take.

    Args:
        latency_us: medians, by users and allocator.
    """
    rows = []
    for users, printed in TABLE3.items():
        hebf, usrmnet = hebf_operations(users, ANTENNAS), usrmnet_operations(users, ANTENNAS)
        times = {name: latency_us.get((users, name)) for name in _TIMED}
        slow, fast = times[HEBF], times[USRMNET]
        rows.append(
            [
                str(users),
                f"{printed.hebf:.2e}",
                f"{hebf:.3e}",
                f"{printed.usrmnet:.2e}",
                f"{usrmnet:.3e}",
                f"{printed.ratio:.2f}",
                f"{100 * usrmnet / hebf:.2f}",
                *("–" if taken is None else f"{taken:,.0f}" for taken in times.values()),
                "–" if slow is None or fast is None else f"{100 * fast / slow:.3f}",
            ]
        )
    return Exhibit(
        name="table3",
        title="Table III: operations by the formulas, and the time that calls take",
        note=_NOTE,
        figure=None,
        header=[
            "K",
            *(f"{name}, {what}" for name in ("HeBF", "USRMNet") for what in ("printed", "formula")),
            "ϖ3 / %, printed",
            "ϖ3 / %, formula",
            *(f"{name} / µs" for name in _TIMED),
            "USRMNet / HeBF in time / %",
        ],
        rows=rows,
    )


_NOTE = (
    "Operations for 32 antennas from the formulas of Section IV-D, with `N_h = 5 K + 1` projected constraints, which "
    "the print does not tell. The formulas give 7.76e5 and 7.62e7 where 7.77e5 and 7.63e7 of HeBF are printed, and "
    "4.06e5 for the printed 4.20e5 of USRMNet at K = 6, from which its printed ratio was computed; the others are "
    "reproduced. Times: medians of single calls from Python, 20 dB, 32 antennas, n = 256, one thread; HeBF's were "
    "taken beside another worker. Operations are no times: beams from systems of K x K equations need no cubic term of "
    "the antennas, which dominates the counts of USRMNet, and what HeBF counts as one program is many iterations."
)
