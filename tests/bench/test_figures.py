import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.bench.samples import ROW

from torchrrm.bench import figures

ROWS = [
    dataclasses.replace(
        ROW,
        setting=setting,
        allocator=f"a{i}",
        optimality=0.9 + i / 100,
        optimality_ci95=(0.85, 1.0),
        p50_us=10.0**i,
    )
    for setting in ("data-rate", "secrecy")
    for i in range(9)
]
POSITIONS = np.random.default_rng(0).uniform(-200, 200, (30, 3))
AMOUNT = np.maximum(0, np.random.default_rng(1).normal(1, 1, 30))


def drawn() -> dict[str, Figure]:
    panels = {f"kind {i}": AMOUNT for i in range(4)}
    return {
        "map": figures.city_map(POSITIONS, [0, 0, 25], panels, title="Cell", attribution="(c) somebody"),
        "front": figures.latency_front(ROWS),
        "cdf": figures.rate_cdf({"a": AMOUNT, "b": 2 * AMOUNT}),
        "cdf panels": figures.cdf_panels(
            {"x": {"a": AMOUNT}, "y": {"a": 2 * AMOUNT}}, label="rate / Mbit", log=True
        ),
        "print": figures.values_beside_print({"a": [1.0, 2.0], "b": [3.0]}, {"a": 1.2}, label="rate / Mbit"),
        "panels": figures.curve_panels({"one": {"a": AMOUNT, "b": -AMOUNT}, "two": {"a": AMOUNT}}),
        "least": figures.mean_against_least({"a": np.ones((3, 2)), "b": np.eye(3)}, demand=1.0),
        "curves": figures.curves({"a": np.random.default_rng(2).normal(size=(5, 20)), "b": np.ones(20)}),
    }


@pytest.mark.parametrize("name", sorted(drawn()))
def test_figures_are_drawn_the_same_twice(name: str) -> None:
    data = figures.render(drawn()[name], "svg")
    assert data.startswith(b"<?xml")
    assert data == figures.render(drawn()[name], "svg")
    assert figures.render(drawn()[name], "png").startswith(b"\x89PNG")


@pytest.mark.parametrize("name", sorted(drawn()))
def test_figures_name_their_axes_and_explain_their_marks(name: str) -> None:
    figure = drawn()[name]
    labels = [axes.get_xlabel() + axes.get_ylabel() for axes in figure.axes]
    assert any(labels) or (figure.get_supxlabel() and figure.get_supylabel())
    assert figure.legends
    assert all(axes.get_legend() is None for axes in figure.axes)  # outside of the data


def test_marker_areas_follow_the_amounts() -> None:
    figure = figures.city_map([[0, 0], [1, 1], [2, 2]], [0, 0], {"": [1.0, 4.0, 0.0]})
    served = figure.axes[0].collections[0]
    assert served.get_sizes()[1] / served.get_sizes()[0] == pytest.approx(4.0)  # pyright: ignore[reportAttributeAccessIssue]
    assert figure.axes[0].get_title() == ": 2 of 3 users served"


def test_a_map_where_nobody_is_served() -> None:
    figure = figures.city_map([[0, 0], [1, 1]], [0, 0], {"none": [0.0, 0.0]})
    assert figures.render(figure, "png")


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    fast_bad, slow_good, slow_bad = (
        dataclasses.replace(ROW, allocator=name, p50_us=p50_us, optimality=optimality)
        for name, p50_us, optimality in (("fb", 1.0, 0.8), ("sg", 9.0, 0.9), ("sb", 10.0, 0.7))
    )
    figure = figures.latency_front([slow_bad, slow_good, fast_bad])
    steps = [line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post"]
    assert np.asarray(steps[0].get_xdata()).tolist() == [1.0, 9.0]


def test_who_breaks_the_rules_is_hollow_and_on_no_front() -> None:
    kept, broken = (
        dataclasses.replace(ROW, allocator=name, p50_us=p50_us, optimality=optimality, violation_rate=rate)
        for name, p50_us, optimality, rate in (("kept", 9.0, 0.9, 0.0), ("broken", 1.0, 1.1, 0.5))
    )
    for least in (None, 1e-4):
        axes = figures.latency_front([broken, kept], least_missing=least).axes[0]
        steps = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
        assert np.asarray(steps[0].get_xdata()).tolist() == [9.0]
        worse, better = axes.get_ylim()
        low, high = sorted((worse, better))
        assert low <= np.asarray(steps[0].get_ydata())[0] <= high
        assert (worse > better) == (least is not None)  # the best is on top
        faces = [line.get_markerfacecolor() for line in axes.lines if line.get_marker() not in ("None", "")]
        assert [face == "white" for face in faces] == [True, False]


def test_rows_without_optimality_are_not_drawn() -> None:
    broken = dataclasses.replace(ROW, allocator="broken", violation_rate=0.5, optimality=None)
    axes = figures.latency_front([broken, ROW]).axes[0]
    assert len([line for line in axes.lines if line.get_marker() not in ("None", "")]) == 1


def test_rows_without_a_bound_cannot_be_held_against_it() -> None:
    unbounded = dataclasses.replace(ROW, bound=None, bound_kind="none", optimality=None)
    with pytest.raises(ValueError, match="must have a bound"):
        figures.latency_front([unbounded])


def test_save_writes_by_ending_and_refuses_others(tmp_path: Path) -> None:
    figure = figures.rate_cdf({"a": AMOUNT})
    assert figures.save(figure, tmp_path / "a.svg").read_bytes().startswith(b"<?xml")
    with pytest.raises(ValueError, match=r"must end in .png, .svg or .pdf"):
        figures.save(figure, tmp_path / "a.bmp")


def test_pyplot_stays_out() -> None:
    code = "import sys, torchrrm.bench; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_mean_against_least_is_what_the_rates_say() -> None:
    rates = np.array([[1.0, 3.0], [3.0, np.nan]])  # one link is padding
    figure = figures.mean_against_least({"a": rates}, demand=2.0)
    for axes, low in zip(figure.axes, (2.0, 1.2), strict=True):
        point, demand = axes.lines[0], axes.lines[-1]
        assert [*point.get_xdata(), *point.get_ydata()] == pytest.approx([low, 2.5])  # pyright: ignore
        assert demand.get_xdata()[0] == 2.0  # pyright: ignore
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "minimum rate / (bit/s/Hz)",
        "5th percentile rate / (bit/s/Hz)",
    ]


def test_references_have_one_line_style_in_all_panels() -> None:
    series = {"a": np.ones((2, 3))}
    lines = {"mean": {"wmmse": 5.0, "itlinq": 4.0}, "least": {"itlinq": 0.7}}
    figure = figures.curve_panels({"mean": series, "least": series}, reference=lines)
    dashes = "_unscaled_dash_pattern"  # what get_linestyle tells of every pattern of dashes is "--"
    style = [{line.get_label(): getattr(line, dashes) for line in axes.lines} for axes in figure.axes]
    assert style[0]["itlinq"] == style[1]["itlinq"] != style[0]["wmmse"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "wmmse", "itlinq"]


def test_a_distribution_leaves_out_what_is_no_number() -> None:
    figure = figures.rate_cdf({"a": [[1.0, np.nan], [2.0, 3.0]]}, population="links", demands={"demand": 1.5})
    assert np.max(figure.axes[0].lines[0].get_xdata()) == 3.0
    assert figure.axes[0].get_ylabel() == "fraction of links"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "demand"]
