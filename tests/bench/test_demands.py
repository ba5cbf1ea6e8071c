import numpy as np
import pytest

from torchrrm.bench import figures
from torchrrm.bench.figures.demands import DemandTraces, demands_over_slots, moving_average


def traces(blocks: int, users: int, *, windows: int = 2, asking: int | None = None) -> DemandTraces:
    random = np.random.default_rng(0)
    window = np.arange(blocks) * windows // blocks
    demand = np.zeros((blocks, users))
    demand[:, : users if asking is None else asking] = 1.0 + window[:, None]
    return DemandTraces(
        slot=25 * np.arange(1, blocks + 1),
        window=window,
        rate_bps_hz=random.random((blocks, users)),
        demand_bps_hz=demand,
        multiplier=random.random((blocks, users)),
    )


def test_a_moving_average_does_not_look_beyond_a_change() -> None:
    values = np.arange(8.0)[:, None]
    mean = moving_average(values, np.array([0, 0, 0, 0, 1, 1, 1, 1]), 3)
    np.testing.assert_allclose(mean[:, 0], [0, 0.5, 1, 2, 4, 4.5, 5, 6])


def test_the_figure_has_a_colour_a_user_and_a_line_a_change() -> None:
    figure = demands_over_slots(traces(40, 3), multiplier="multiplier λ")
    rates, multipliers = figure.axes
    assert rates.get_ylabel() == "rate / (bit/s/Hz)"
    assert (multipliers.get_ylabel(), multipliers.get_xlabel()) == ("multiplier λ", "slot")
    assert len({line.get_color() for line in multipliers.lines[:3]}) == 3
    (change,) = (line for line in multipliers.lines if np.ptp(np.asarray(line.get_xdata(), float)) == 0)
    assert set(np.asarray(change.get_xdata(), float)) == {500}
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["user 1", "user 2", "user 3", "mean of 25 slots", "mean of 250 slots", "demand"]


def test_curves_have_a_gap_between_windows() -> None:
    figure = demands_over_slots(traces(40, 1))
    y = np.asarray(figure.axes[1].lines[0].get_ydata(), float)
    assert np.flatnonzero(np.isnan(y)).tolist() == [20]


def test_of_many_users_those_without_a_demand_are_grey() -> None:
    figure = demands_over_slots(traces(20, 30, asking=2))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:3] == ["user 1", "user 2", "other users"]
    assert len({line.get_color() for line in figure.axes[1].lines[:30]}) == 3


def test_users_who_ask_for_the_same_share_a_line() -> None:
    """Their dashes come in turn: no one hides another."""
    figure = demands_over_slots(traces(20, 3, windows=1))
    flat = [line for line in figure.axes[0].lines if len(np.asarray(line.get_xdata())) == 2]
    assert len(flat) == len({line.get_color() for line in flat}) == 3


def test_many_blocks_are_averaged() -> None:
    many = traces(5000, 1, windows=3)
    line = demands_over_slots(many).axes[1].lines[0]
    y = np.asarray(line.get_ydata(), float)
    assert len(y) < 1000
    assert np.nanmean(y) == pytest.approx(many.multiplier.mean(), abs=0.01)


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_short_run_has_a_figure(blocks: int) -> None:
    assert figures.render(demands_over_slots(traces(blocks, 2, windows=1)), "png").startswith(b"\x89PNG")


def test_no_block_is_no_figure() -> None:
    with pytest.raises(ValueError, match="slot: must have at least one block"):
        traces(0, 2)
