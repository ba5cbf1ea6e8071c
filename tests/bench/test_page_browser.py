"""The page in headless Chromium: it draws, switches and sorts, loads nothing and complains of nothing."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, sync_playwright
from tests.bench.browsers import NO_BROWSER, find_browser
from tests.bench.samples import EVIL, SCENE, SHOWN, TWO

from torchrrm.bench import Results, html_report

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
CHROMIUM = find_browser()
pytestmark = pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason=NO_BROWSER)
BARS = dataclasses.replace(SCENE, title="two users nowhere", places=None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Visit:
    """An open page, and what must not happen on it: complaints, and requests for anything but itself."""

    def __init__(self, browser: Browser, path: Path, **options: Any) -> None:
        self.faults: list[str] = []
        self.page: Page = browser.new_page(**options)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        own = path.resolve().as_uri()
        self.page.route("**/*", lambda route: self._route(route, own))
        self.page.goto(own)

    def _console(self, message: ConsoleMessage) -> None:
        self.faults.append(f"{message.type}: {message.text}")

    def _route(self, route: Route, own: str) -> None:
        if route.request.url == own:
            route.continue_()
            return
        self.faults.append(f"request of {route.request.url}")
        route.abort()

    def traces(self, figure: str) -> list[dict[str, Any]]:
        """What is drawn in a figure."""
        return self.page.evaluate(
            "id => JSON.parse(JSON.stringify(document.getElementById(id).data,"
            " ['type', 'mode', 'name', 'x', 'y', 'text', 'marker', 'symbol', 'size', 'pattern', 'shape',"
            " 'line', 'dash']))",
            figure,
        )

    def becomes(self, condition: str) -> bool:
        """Whether the condition holds within five seconds; the page forbids what playwright would wait with."""
        for _ in range(100):
            if self.page.evaluate(condition):
                return True
            self.page.wait_for_timeout(50)
        return False

    def overflow(self) -> int:
        """By how much the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("page") / "r.html"
    return html_report(where, TWO, title="A <title>", lead="x < y", display=SHOWN, scenes=[SCENE, BARS])


@pytest.fixture(scope="module")
def desk(browser: Browser, path: Path) -> Iterator[Visit]:
    visit = Visit(browser, path, viewport={"width": 1280, "height": 900})
    yield visit
    visit.page.close()


@pytest.fixture(autouse=True)
def without_faults(desk: Visit) -> Iterator[None]:
    yield
    assert desk.faults == []


def test_all_figures_are_drawn(desk: Visit) -> None:
    for figure in ("scene", "bars", "front", "rates"):
        assert desk.page.locator(f"#{figure} svg.main-svg").count() > 0
        assert desk.page.locator(f"#{figure}").get_attribute("aria-label")
    assert desk.overflow() == 0


def test_the_switch_changes_what_is_drawn_by_keyboard(desk: Visit) -> None:
    before = desk.traces("scene")
    desk.page.locator("input[name=service]").first.focus()
    desk.page.keyboard.press("ArrowDown")
    after = desk.traces("scene")
    assert before != after
    assert desk.page.locator("#told").inner_text() == f"{EVIL}: 1 of 2 served"
    stations = [trace["marker"]["symbol"] for trace in (before[-1], after[-1])]
    assert stations == [["square", "triangle-up"], ["square", "triangle-up-open"]]
    desk.page.keyboard.press("ArrowUp")
    assert desk.traces("scene") == before


def test_axes_stay_while_allocators_change(desk: Visit) -> None:
    ranges = "['xaxis', 'yaxis'].map(name => document.getElementById('scene').layout[name].range.slice())"
    before = desk.page.evaluate(ranges)
    desk.page.locator("input[name=service]").nth(1).check()
    assert desk.page.evaluate(ranges) == before
    desk.page.locator("input[name=service]").first.check()


def test_without_places_users_are_bars(desk: Visit) -> None:
    desk.page.select_option("#scene-choice", "1")
    desk.page.locator("input[name=service]").nth(1).check()
    kinds = {trace["name"]: trace for trace in desk.traces("scene")}
    assert kinds["amount"]["y"] == [0, 3]
    assert kinds["rate"]["y"] == [0, 7]
    assert kinds["not served"]["x"] == [0]
    desk.page.select_option("#scene-choice", "0")
    assert desk.page.locator("input[name=service]").nth(1).is_checked()  # the allocator stays
    desk.page.locator("input[name=service]").first.check()


def test_numbers_of_the_instance_open_as_a_table(desk: Visit) -> None:
    desk.page.locator("#scene-numbers summary").focus()
    desk.page.keyboard.press("Enter")
    rows = desk.page.locator("#scene-numbers tbody tr")
    assert rows.all_inner_texts() == ["0\t0\t1\t3", "1\t1\t2\t4"]
    desk.page.keyboard.press("Enter")


def test_cases_switch_all_figures(desk: Visit) -> None:
    before = {figure: desk.traces(figure) for figure in ("bars", "front")}
    assert len(desk.traces("rates")) == 1
    desk.page.select_option("#case-choice", "1")
    assert all(desk.traces(figure) != traces for figure, traces in before.items())
    assert not desk.page.locator("#rates-figure").is_visible()
    desk.page.select_option("#case-choice", "0")
    assert all(desk.traces(figure) == traces for figure, traces in before.items())


def test_figures_are_told_apart_without_colour(desk: Visit) -> None:
    shapes = {trace["name"]: trace["marker"]["pattern"]["shape"] for trace in desk.traces("bars")[:-1]}
    assert shapes == {"policy": "", "solver": "/", "trivial rule": "."}
    symbols = [trace["marker"]["symbol"] for trace in desk.traces("front") if trace["mode"] == "markers"]
    assert len(set(symbols)) == len(symbols) == 2
    marks = desk.page.evaluate("[...Array(64).keys()].map(i => JSON.stringify(markOf(i)))")
    assert len(set(marks)) == 64


def test_an_allocator_can_be_left_out_of_the_figures(desk: Visit) -> None:
    box = desk.page.locator("#allocator-choice input").first
    box.focus()
    desk.page.keyboard.press("Space")
    assert desk.traces("rates") == []
    desk.page.keyboard.press("Space")
    assert len(desk.traces("rates")) == 1


def test_the_table_sorts_by_keyboard(desk: Visit) -> None:
    heads = desk.page.locator("#results th")
    column = heads.all_inner_texts().index("violated %")
    cells = desk.page.locator(f"#results tbody td:nth-child({column + 1})")
    heads.nth(column).locator("button").focus()
    for order, sign in (("ascending", 1), ("descending", -1)):
        desk.page.keyboard.press("Enter")
        assert heads.nth(column).get_attribute("aria-sort") == order
        values = [float(text) for text in cells.all_inner_texts()]
        assert values == sorted(values, key=lambda value: sign * value)
        assert values[0] != values[-1]
    assert desk.page.locator("#results th[aria-sort=none]").count() == heads.count() - 1


def test_the_table_filters(desk: Visit) -> None:
    desk.page.select_option("#setting-filter", "else")
    assert desk.page.locator("#results tbody tr:visible").count() == 2
    assert desk.page.locator("#shown-rows").inner_text() == "2 of 4 rows"
    desk.page.select_option("#setting-filter", "")
    assert desk.page.locator("#results tbody tr:visible").count() == 4


def test_names_are_text(desk: Visit) -> None:
    assert desk.page.locator("img").count() == 0
    assert EVIL in desk.page.locator("#service-choice").inner_text()
    assert EVIL in desk.page.locator("#results").inner_text()
    assert desk.page.locator("main h1").inner_text() == "A <title>"


def test_all_controls_are_reached_by_tab_and_show_it(desk: Visit) -> None:
    desk.page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached = []
    for _ in range(40):
        desk.page.keyboard.press("Tab")
        reached.append(
            desk.page.evaluate(
                "[document.activeElement.id || document.activeElement.type || document.activeElement.tagName,"
                " getComputedStyle(document.activeElement).outlineStyle]"
            )
        )
    assert {"scene-choice", "radio", "case-choice", "checkbox", "setting-filter", "button"} <= {
        n for n, _ in reached
    }
    assert all(style != "none" for name, style in reached if name not in ("BODY", ""))


def test_a_phone_scrolls_only_down(browser: Browser, path: Path) -> None:
    visit = Visit(browser, path, viewport={"width": 360, "height": 740}, has_touch=True)
    assert visit.overflow() == 0
    wide = "document.querySelector('#results').parentElement"
    assert visit.page.evaluate(f"{wide}.scrollWidth > {wide}.clientWidth")
    assert visit.page.evaluate("document.getElementById('scene').layout.dragmode") is False
    assert visit.faults == []
    visit.page.close()


def test_darkness_and_paper_change_the_figures(desk: Visit) -> None:
    ink = "document.getElementById('scene').layout.font.color"
    light = desk.page.evaluate(ink)
    desk.page.emulate_media(color_scheme="dark")
    assert desk.becomes(f"{ink} !== '{light}'")
    desk.page.emulate_media(color_scheme="dark", media="print")
    assert desk.becomes(f"{ink} === '{light}'")
    desk.page.emulate_media(color_scheme="light", media="screen")


def test_a_leaderboard_opens(browser: Browser, tmp_path: Path) -> None:
    rows = [
        dataclasses.replace(row, setting=f"setting {i}", problem=f"problem {i // 25}")
        for i in range(100)
        for row in (*TWO.rows[:3], dataclasses.replace(TWO.rows[3], published=0.9 if i // 25 == 1 else None))
    ]
    results: Results = dataclasses.replace(TWO, rows=rows)
    visit = Visit(browser, html_report(tmp_path / "r.html", results, title="Leaderboard"))
    assert visit.page.locator("#case-choice optgroup").count() == 4
    own = visit.page.locator("#results th", has_text="published %")
    assert not own.is_visible()
    assert "own columns" in visit.page.locator("#shown-rows").inner_text()
    visit.page.select_option("#problem-filter", "problem 1")
    assert own.is_visible()
    assert visit.page.locator("#shown-rows").inner_text() == "100 of 400 rows"
    assert visit.page.locator("#setting-filter option").count() == 26
    assert not visit.page.locator("#scene-part").is_visible()
    assert visit.faults == []
    visit.page.close()


def test_without_scripts_there_is_the_table(browser: Browser, path: Path) -> None:
    visit = Visit(browser, path, java_script_enabled=False)
    assert visit.page.locator("#results tbody tr").count() == len(TWO.rows)
    assert visit.page.locator("noscript p").is_visible()
    assert not visit.page.locator("#scene-part").is_visible()
    visit.page.close()
