import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.bench.samples import EVIL, RESULTS, ROW, ROWS, SCENE, SHOWN, TWO

from torchrrm.bench import Display, Plate, Service, figures, html_report
from torchrrm.bench.page.data import page_data


class Page(HTMLParser):
    """Its tags, and the text of its data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("id") == "data"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.data += data
        self._inside = False

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def _written(folder: Path, **more: Any) -> tuple[str, Page]:
    text = html_report(folder / "r.html", TWO, title="A <title>", display=SHOWN, **more).read_text("utf-8")
    return text, Page(text)


def test_page_stands_alone_and_is_accessible(tmp_path: Path) -> None:
    plate = Plate(figures.rate_cdf({"x": [1.0]}), caption="Rates & more", alt='all of "it"')
    text, page = _written(tmp_path, lead="x < y", plates=[plate], scenes=[SCENE])
    assert [image["alt"] for image in page.of("img")] == ['all of "it"']
    assert all((image["src"] or "").startswith("data:") for image in page.of("img"))
    assert not page.of("link")
    assert not page.of("iframe")
    assert all("src" not in script for script in page.of("script"))
    assert page.of("html") == [{"lang": "en"}]
    assert len(page.of("button")) == len(page.of("th"))
    labelled = {label.get("for") for label in page.of("label")}
    assert {choice["id"] for choice in page.of("select")} <= labelled
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.of("meta")
    assert "A &lt;title&gt;" in text
    assert "<p>x &lt; y</p>" in text
    assert not re.search(r"<!-- \w+ -->", text)
    assert text.count("<tr data-problem") == len(ROWS)


def test_names_of_users_are_text_wherever_they_stand(tmp_path: Path) -> None:
    text, page = _written(tmp_path, scenes=[SCENE])
    assert EVIL not in text
    assert not [image for image in page.of("img") if "onerror" in image]
    data = json.loads(page.data)
    assert data["scenes"][0]["services"][1]["name"] == EVIL
    assert data["cases"][1]["rows"][1]["allocator"] == EVIL
    assert len(page.of("script")) == text.count("</script>")


@pytest.mark.parametrize(("other", "bound"), [(ROW.optimality, "certified bound"), (None, "")])
def test_rows_that_violate_have_no_percentage(other: float | None, bound: str) -> None:
    broken = dataclasses.replace(ROW, violation_rate=0.5, optimality=None, optimality_ci95=None)
    results = dataclasses.replace(TWO, rows=[broken, dataclasses.replace(ROW, optimality=other)])
    (case,) = page_data(results, SHOWN, [])["cases"]
    assert case["bound"] == bound  # without any percentage the page shows objectives
    assert case["rows"][0]["percent"] is None


def test_cases_hold_their_rows_in_the_units_shown() -> None:
    first, second = page_data(TWO, SHOWN, [])["cases"]
    assert [first["setting"], second["setting"]] == [ROW.setting, "else"]
    assert (first["heading"], first["utility"]) == ("sum rate / Mbit/s", "rate / (kbit/s)")
    row = first["rows"][0]
    assert row["objective"] == pytest.approx(ROW.objective / 2, rel=1e-4)
    assert row["quantiles"] == pytest.approx([i / 10 for i in range(41)])
    assert row["percent"] == pytest.approx(100 * (ROW.optimality or 0), rel=1e-4)
    assert second["rows"][0]["percent"] is None
    assert (first["bound"], second["bound"]) == ("certified bound", "best known value")
    assert not first["rows"][1]["front"]
    assert first["rows"][1]["violated"] == 50


def test_an_allocator_has_one_mark_in_all_settings_of_a_problem() -> None:
    first, second = page_data(TWO, None, [])["cases"]
    assert first["rows"][1]["mark"] == second["rows"][0]["mark"] == 1
    assert second["rows"][1]["mark"] == 2


def test_problems_are_shown_each_in_its_way() -> None:
    other = dataclasses.replace(ROW, problem="other")
    both = dataclasses.replace(RESULTS, rows=[ROW, other])
    cases = page_data(both, {"other": Display("power", "W")}, [])["cases"]
    assert [case["heading"] for case in cases] == ["objective", "power / W"]


def test_scenes_are_plain_numbers() -> None:
    (scene,) = page_data(RESULTS, None, [SCENE])["scenes"]
    assert scene["places"]["users"] == [[0, 0], [10, 5]]
    assert scene["places"]["buildings"] == [[1, 1, 2, 2]]
    assert scene["places"]["macro"] == [True, False]
    assert scene["services"][1]["stationAmount"] == [46, None]
    assert json.dumps(scene, allow_nan=False)


def test_scenes_must_fit_their_places() -> None:
    with pytest.raises(ValueError, match="one entry a user each"):
        dataclasses.replace(SCENE, services={"all": Service([0], [1.0], [1.0])})
    with pytest.raises(ValueError, match="must be below 2, received 5"):
        dataclasses.replace(SCENE, services={"all": Service([0, 5], [1.0, 1.0], [1.0, 1.0])})
    with pytest.raises(ValueError, match=r"station_amount: must have shape \(2,\)"):
        dataclasses.replace(SCENE, services={"all": Service([0, 1], [1.0, 1.0], [1.0, 1.0], [1.0])})
    with pytest.raises(ValueError, match="at least one entry"):
        dataclasses.replace(SCENE, services={})


def test_a_failed_page_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    path.write_text("old", encoding="utf-8")
    unfit = Plate(figures.rate_cdf({"x": [1.0]}), caption="", alt=None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(AttributeError):
        html_report(path, RESULTS, title="t", plates=[unfit])
    assert path.read_text(encoding="utf-8") == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["r.html"]


def test_numbers_of_instances_are_folded_where_there_are_many(tmp_path: Path) -> None:
    _, few = _written(tmp_path)
    assert len(few.of("details")) == 1
    rows = [dataclasses.replace(ROW, setting=f"setting {i}", instances=10 + i) for i in range(7)]
    path = html_report(tmp_path / "b.html", dataclasses.replace(RESULTS, rows=rows), title="t")
    text = path.read_text("utf-8")
    assert text.count("instances, feasibility not told</li>") == 7
    assert "Instances of the 7 cases" in text


def test_a_leaderboard_adds_little_to_the_scripts(tmp_path: Path) -> None:
    small = html_report(tmp_path / "a.html", RESULTS, title="t").stat().st_size
    rows = [dataclasses.replace(ROWS[0], setting=f"setting {i}") for i in range(400)]
    path = html_report(tmp_path / "b.html", dataclasses.replace(RESULTS, rows=rows), title="t")
    assert path.stat().st_size - small < 1e6
