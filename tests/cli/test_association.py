"""The commands on dense networks: `--problem association` and `--problem fair-association`."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from tests.cli.refused import check_refused, each
from tests.tables import rows

from torchrrm import cli
from torchrrm.bench import Results
from torchrrm.channels.snapshot import Snapshot, save_snapshot

SUM, FAIR = ["--problem", "association"], ["--problem", "fair-association"]
POWERS = ["--macro-dbm", "30", "--small-dbm", "20", "--noise-dbm", "-70", "--bandwidth-mhz", "10"]
GAIN = np.array([[1e-8, 1e-9], [1e-9, 1e-7], [0.0, 0.0], [1e-8, 0.0]])
"""Of a macro and a small station at four users, the third of which neither reaches."""
RATE = np.array([math.log2(51) / 2, math.log2(1 + 1e-8 / 1.1e-9), 0.0, math.log2(101) / 2])
"""With both stations at their limits of 1 and 0.1 W in a noise of 1e-10 W, each user at the louder one."""


def street(path: Path, gain: np.ndarray = GAIN, **fields: object) -> Path:
    """Users along a street below two or more stations."""
    users, stations = gain.shape[-2:]
    places = {
        "rx_position_m": np.stack([np.arange(users) * 10.0, np.zeros(users), np.full(users, 1.5)], -1),
        "tx_position_m": np.stack([np.arange(stations) * 15.0, np.ones(stations), np.full(stations, 9)], -1),
        "tx_kind": ["macro", *["small"] * (stations - 1)],
    }
    told = {"name": "street", "attribution": "nobody"} | places | fields
    return save_snapshot(path, Snapshot(gain=gain, **told))  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return street(tmp_path_factory.mktemp("block") / "street.npz")


def column(table: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in table])


def test_allocate_writes_users_stations_and_a_map(
    block: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The loudest station each: what a hand calculation gives."""
    out, stations, drawn, results = (tmp_path / name for name in ("x.csv", "s.csv", "m.png", "r.json"))
    line = ["allocate", str(block), *SUM, *POWERS, "--allocator", "max-signal", "--out", str(out)]
    assert cli.run([*line, "--stations-out", str(stations), "--map", str(drawn), "--json", str(results)]) == 0
    told = f"3 of 4 users served by 2 of 2 stations, 1 out of reach; sum of rates {RATE.sum():.4g} bit/s/Hz"
    assert f"{told}; wrote" in capsys.readouterr().out
    table = rows(out)
    assert list(table[0]) == [
        "user", "x_m", "y_m", "station", "station_x_m", "station_y_m", "signal_w", "sinr_db", "band_share",
        "rate_bps_hz", "rate_bps", "served",
    ]  # fmt: skip
    assert [row["station"] for row in table] == ["0", "1", "-1", "0"]
    assert [row["served"] for row in table] == ["True", "True", "False", "True"]
    assert column(table, "x_m").tolist() == [0, 10, 20, 30]
    np.testing.assert_array_equal(column(table, "station_x_m"), [0, 15, math.nan, 0])
    np.testing.assert_allclose(column(table, "signal_w"), [1e-8, 1e-8, 0, 1e-8], rtol=1e-5)
    np.testing.assert_allclose(column(table, "rate_bps_hz"), RATE, rtol=1e-5)
    np.testing.assert_allclose(column(table, "rate_bps"), 10e6 * RATE, rtol=1e-5)
    np.testing.assert_allclose(column(table, "band_share"), [0.5, 1, 0, 0.5])
    np.testing.assert_allclose(column(table, "sinr_db")[[0, 3]], [10 * math.log10(50), 20], rtol=1e-5)
    cells = rows(stations)
    assert list(cells[0]) == [
        "station", "x_m", "y_m", "macro", "power_w", "max_power_w", "users", "rate_bps_hz", "rate_bps",
    ]  # fmt: skip
    assert [(row["macro"], row["users"]) for row in cells] == [("True", "2"), ("False", "1")]
    np.testing.assert_allclose(column(cells, "power_w"), [1, 0.1], rtol=1e-5)
    np.testing.assert_allclose(column(cells, "rate_bps_hz"), [RATE[0] + RATE[3], RATE[1]], rtol=1e-5)
    assert drawn.read_bytes().startswith(b"\x89PNG")
    (row,) = Results.from_json(results).rows
    assert (row.problem, row.setting) == ("association", "street, drop 0")
    assert row.objective == pytest.approx(RATE.sum(), rel=1e-5)
    assert row.measures["served users"].value == 3


def test_fairness_is_another_objective(
    block: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The geometric mean leaves out the user that nobody reaches."""
    line = ["allocate", str(block), *FAIR, *POWERS, "--out", str(tmp_path / "x.json")]
    assert cli.run([*line, "--allocator", "max-signal"]) == 0
    mean = RATE[[0, 1, 3]].prod() ** (1 / 3)
    assert f"1 out of reach; geometric mean of rates {mean:.4g} bit/s/Hz" in capsys.readouterr().out
    assert cli.run(line) == 0
    columns = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["columns"]
    assert columns["served"] == [True, True, False, True]
    assert columns["station"][2] == -1
    assert columns["station_x_m"][2] is None  # JSON knows no NaN
    assert float(np.prod([columns["rate_bps_hz"][i] for i in (0, 1, 3)]) ** (1 / 3)) >= mean * (1 - 1e-5)


@pytest.mark.parametrize("problem", [SUM, FAIR])
@pytest.mark.parametrize(
    "gain",
    [np.zeros((3, 2)), np.full((1, 4), 1e-9), np.full((5, 1), 1e-9), np.diag([1e-9, 1e-10, 1e-11])],
    ids=["nobody in reach", "one user", "one station", "one path each"],
)
def test_odd_networks_are_stated_results(
    problem: list[str], gain: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = street(tmp_path / "odd.npz", gain), tmp_path / "x.csv"
    heard = (gain > 0).any(1)
    line = ["allocate", str(path), *problem, "--out", str(out)]
    for extra in ([], ["--allocator", "max-signal"], ["--allocator", "max-sum-utility"]):
        assert cli.run([*line, *extra]) == 0
        printed = capsys.readouterr().out
        assert re.match(rf"\d of {len(gain)} users served by \d of {gain.shape[1]} stations", printed)
        assert ("out of reach" in printed) == (not heard.all())
        table = rows(out)
        np.testing.assert_array_equal(column(table, "station") >= 0, heard)
        assert np.isfinite(column(table, "rate_bps_hz")).all()


def test_munich_and_a_scenario(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, stations, drawn = tmp_path / "x.npz", tmp_path / "s.npz", tmp_path / "m.svg"
    for name, drop in (("munich_hudn_200m", ["--drop", "3"]), ("hudn", [])):
        taken = []
        for seed in ("3", "3", "4"):
            line = ["allocate", name, *SUM, *drop, "--users", "12", "--stations", "9", "--seed", seed]
            line += ["--out", str(out), "--stations-out", str(stations)]
            assert cli.run(line) == 0
            with np.load(out, allow_pickle=False) as users, np.load(stations, allow_pickle=False) as cells:
                known = [-1, *cells["station"].tolist()]
                assert len(users["station"]) == 12
                assert set(users["station"].tolist()) <= set(known)
                assert len(known) == 10
                taken.append(users["x_m"].tolist())
        assert taken[0] == taken[1] != taken[2]
        assert cli.run([*line, "--map", str(drawn)]) == 0
        assert "<svg" in drawn.read_text(encoding="utf-8")
    shown = capsys.readouterr().out
    assert "munich_hudn_200m, drop 3, 12 users, 9 stations" in shown
    assert "one drop of 12 users, 9 stations" in shown


def test_an_own_table_of_gains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.csv"
    text = "macro,small\n-80,-90\n-90,-70\n-inf,-inf\n-80,-250\n"
    plan.write_text(text, encoding="utf-8")
    line = [*SUM, *POWERS, "--allocator", "max-signal", "--out", str(tmp_path / "x.csv")]
    assert cli.run(["allocate", str(plan), *line]) == 0
    assert f"sum of rates {RATE.sum():.4g} bit/s/Hz" in capsys.readouterr().out
    assert list(rows(tmp_path / "x.csv")[0])[:3] == ["user", "station", "signal_w"]
    plan.write_text(text.removeprefix("macro,small\n"), encoding="utf-8")
    assert cli.run(["allocate", str(plan), *line, "--direction", "downlink"]) == 0
    assert "plan, drop 0, all stations small" in capsys.readouterr().out


def test_an_uplink_is_turned_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["allocate", "munich_cell_uplink", *SUM, "--users", "7", "--out", str(tmp_path / "x.csv")]
    assert cli.run(line) == 0
    shown = capsys.readouterr().out
    assert "of 7 users served by 1 of 1 stations" in shown
    assert "turned round, all stations small" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("problem", "sizes", "kind"),
    [(SUM, ("4", "3"), "certified"), (SUM, ("9", "6"), "best known"), (FAIR, ("4", "3"), "best known")],
)
def test_evaluate(problem: list[str], sizes: tuple[str, str], kind: str, tmp_path: Path) -> None:
    results = tmp_path / "r.json"
    line = ["evaluate", *problem, "--scenario", "hudn", "--users", sizes[0], "--stations", sizes[1]]
    line += ["--instances", "5", "--allocators", "max-sum-utility-power,max-sum-utility"]
    assert cli.run([*line, "--json", str(results), "--html", str(tmp_path / "r.html")]) == 0
    found = Results.from_json(results).rows
    assert [row.allocator for row in found] == [
        "max-sum-utility-power", "max-sum-utility", "max-signal", "max-gain",
    ]  # fmt: skip
    for row in found:
        assert (row.problem, row.setting) == (problem[1], f"hudn, {sizes[0]} users, {sizes[1]} stations")
        assert (row.bound_kind, row.violation_rate, row.instances) == (kind, 0.0, 5)
        assert 0 < (row.optimality or 0) <= 1 + 1e-6
        assert list(row.measures) == [
            "served users", "Jain's index", "mean rate / (bit/s/Hz)", "5th percentile rate / (bit/s/Hz)",
        ]  # fmt: skip
    assert [row.kind for row in found[2:]] == ["trivial", "trivial"]


def test_trained_policies_adapt_and_serve(block: Path, tmp_path: Path) -> None:
    trained, adapted = tmp_path / "t.safetensors", tmp_path / "a.safetensors"
    drawn = ["--users", "4", "--stations", "2"]
    for problem in (SUM, FAIR):
        line = ["train", *problem, "--scenario", "hudn", *drawn, "--steps", "2", "--batch-size", "4"]
        assert cli.run([*line, "--out", str(trained)]) == 0
        line = ["adapt", str(trained), *problem, "--snapshot", str(block), *drawn, "--epochs", "2"]
        line += ["--samples", "4", "--learning-rate", "0.01", "--out", str(adapted)]
        assert cli.run([*line, "--json", str(tmp_path / "r.json")]) == 0
        found = Results.from_json(tmp_path / "r.json").rows
        assert [row.allocator for row in found] == ["zero-shot", "after 2 epochs", "max-signal", "max-gain"]
        assert adapted.read_bytes() != trained.read_bytes()
        out = ["--allocator", str(adapted), "--out", str(tmp_path / "x.csv")]
        assert cli.run(["allocate", str(block), *problem, *POWERS, *out]) == 0
        assert [row["station"] == "-1" for row in rows(tmp_path / "x.csv")] == [False, False, True, False]


OUT = ["--out", "{folder}/out.csv"]
ALLOCATE, DRAWN = ["allocate", "{block}", *SUM, *OUT], ["allocate", "hudn", *SUM, *OUT]
EVALUATE = ["evaluate", *SUM, "--instances", "1"]
CITY = [*EVALUATE, "--snapshot", "{block}"]
BAD = {
    "not a number": (["allocate", "{holed}", *SUM, *OUT], "gain: must be finite, received nan"),
    "in a table": (["allocate", "{table}", *SUM, *OUT], r"table.csv: gain_db: must be no NaN .* at \[0, 1\]"),
    "no places": (["allocate", "{bare}", *SUM, *OUT, "--map", "m.png"], "map: must have positions of all, rec"),
    "nobody there": (["allocate", "berlin", *SUM, *OUT], "berlin"),
    "drop": ([*ALLOCATE, "--drop", "1"], "drop: must be 0 to 0, received 1"),
    "of a drop": ([*DRAWN, "--drop", "2"], "drop: must go with a snapshot, received 2"),
    "many": ([*ALLOCATE, "--users", "5"], "users: must be 1 to 4, received 5"),
    "stations": ([*ALLOCATE, "--stations", "3"], "stations: must be 1 to 2, received 3"),
    "nobody": ([*DRAWN, "--users", "0"], "users: must be at least 1, received 0"),
    "no station": ([*DRAWN, "--stations", "-1"], "stations: must be at least 1, received -1"),
    "map": ([*ALLOCATE, "--map", "m.csv"], "map: must end in .png, .svg or .pdf, received 'm.csv'"),
    "cells": ([*ALLOCATE, "--stations-out", "s.txt"], "out: must end in .csv, .npz, .json, received 's.txt'"),
    "format": (["allocate", "{block}", *SUM, "--out", "x.txt"], "out: must end in .csv, .npz, .json"),
    "macro": ([*ALLOCATE, "--macro-dbm", "inf"], "macro_dbm: must be finite, received inf"),
    "small": ([*ALLOCATE, "--small-dbm", "nan"], "small_dbm: must be finite, received nan"),
    "noise": ([*ALLOCATE, "--noise-dbm=-inf"], "noise_dbm: must be finite, received -inf"),
    "band": ([*ALLOCATE, "--bandwidth-mhz", "0"], "bandwidth_hz: must be positive and finite, received 0"),
    "allocator": ([*ALLOCATE, "--allocator", "wmmse"], "allocator: must be .*hungarian-wmmse.*received 'wmmse'"),
    "unfair": (["allocate", "{block}", *FAIR, *OUT, "--allocator", "hungarian-wmmse"], "must be a file"),
    "trained for the other": (
        ["allocate", "{block}", *FAIR, *OUT, "--allocator", "hbgnn"],
        "policy: must be trained for fair-association, received hbgnn, trained for the sum of rates",
    ),
    "neither": (EVALUATE, "exactly one must be given, received neither"),
    "scenario": ([*EVALUATE, "--scenario", "hml"], "scenario: must be one of hudn, received 'hml'"),
    "draws": ([*CITY, "--users", "5"], "users: must be 1 to 4"),
    "links": ([*CITY, "--links", "3"], "--links: must go with --problem sum-rate or .*, received"),
    "other policy": ([*CITY, "--allocators", "slice-gnn-marginal"], "policy: must serve association"),
    "foreign": (["allocate", "munich_d2d", "--problem", "sum-rate", "--map", "m.png", *OUT], "--map: must go with"),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(block: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Paths of what the bad lines name."""
    folder = tmp_path_factory.mktemp("bad")
    holed, bare, table = folder / "holed.npz", folder / "bare.npz", folder / "table.csv"
    with np.load(block) as good:
        arrays = dict(good)
        np.savez(holed, allow_pickle=False, **arrays | {"gain": np.where(GAIN > 0, GAIN, math.nan)})  # pyright: ignore[reportArgumentType]
        kept = {name: value for name, value in arrays.items() if "position" not in name}
        np.savez(bare, allow_pickle=False, **kept)  # pyright: ignore[reportArgumentType]
    table.write_text("-80,nan\n", encoding="utf-8")
    return {"folder": folder, "block": block, "holed": holed, "bare": bare, "table": table}


@each(BAD)
def test_bad_input_gets_one_line_and_leaves_files_alone(
    line: list[str], message: str, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused(line, message, capsys, files=files, kept=files["folder"] / "out.csv")


def test_allocate_shows_the_trivial_rules_beside(tmp_path: Path) -> None:
    line = ["allocate", "hudn", *SUM, "--users", "5", "--stations", "4", "--out", str(tmp_path / "a.csv")]
    assert cli.run([*line, "--html", str(tmp_path / "a.html")]) == 0
    page = (tmp_path / "a.html").read_text()
    (scene,) = json.loads(page.split('id="data">')[1].split("</script>")[0])["scenes"]
    assert [service["name"] for service in scene["services"]] == ["hungarian-wmmse", "max-signal", "max-gain"]
    assert len(scene["places"]["buildings"]) == 20
