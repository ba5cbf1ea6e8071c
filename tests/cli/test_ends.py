"""Which end of a file is the station, and what its numbers are: through the commands."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.refused import check_refused, each
from tests.tables import rows

from torchrrm import cli

CELLS, LINKS, BEAMS = (["--problem", name] for name in ("association", "sum-rate", "urllc"))
NOISE_W = 20e6 * 10**-20.4
BARE = 10.0 ** (
    -np.array([[94.5, 109.2, 118.4], [119.3, 87.5, 83.5], [95.7, 90.8, 98.3], [82.6, 87.4, 119.9]]) / 10
)
"""Gains of three stations at four users."""


def table(path: Path, gain_db: np.ndarray, header: str = "") -> str:
    lines = [",".join(f"{value:.10f}" for value in row) for row in gain_db]
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return str(path)


def scene(folder: Path, users: int = 6, stations: int = 1, antennas: int = 8) -> dict[str, Any]:
    """Paths in the layout of Sionna: users receive from stations; written as a downlink and as its transpose."""
    rng = np.random.default_rng(7)
    shape = (2, users, 1, stations, antennas, 5, 1)
    a = (
        1e-5
        * (rng.normal(size=shape) + 1j * rng.normal(size=shape))
        * np.arange(1, users + 1)[:, None, None, None, None, None]
    )
    tau = rng.uniform(0, 1e-6, (2, users, stations, 5))
    np.savez(folder / "down.npz", a=a, tau=tau, h_freq=np.zeros(1))
    np.savez(folder / "up.npz", a=a.transpose(0, 3, 4, 1, 2, 5, 6), tau=tau.transpose(0, 2, 1, 3))
    return {
        "gain": (np.abs(a) ** 2).sum(5).mean((2, 4, 5)),
        "down": str(folder / "down.npz"),
        "up": str(folder / "up.npz"),
    }


def allocated(
    line: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[list[dict[str, str]], str]:
    """The table of an allocation, and what was printed."""
    out = folder / "out.csv"
    assert cli.run(["allocate", *line, "--out", str(out)]) == 0, capsys.readouterr().err
    return rows(out), capsys.readouterr().out


def rates(found: list[dict[str, str]]) -> list[float]:
    return [float(row["rate_bps_hz"]) for row in found]


def test_macro_stations_without_small_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """46 dBm are 39.8 W each; with 110 - 91 = 19 and 120 - 95 = 25 dB the sum of rates is 14.64 bit/s/Hz."""
    plan = table(tmp_path / "plan.csv", np.array([[-91.0, -110], [-120, -95]]), "macro,macro")
    cells = tmp_path / "cells.csv"
    line = [plan, *CELLS, "--macro-dbm", "46", "--allocator", "max-gain", "--stations-out", str(cells)]
    found, shown = allocated(line, tmp_path, capsys)
    assert [float(row["max_power_w"]) for row in rows(cells)] == pytest.approx([39.81, 39.81], rel=1e-3)
    assert [float(row["sinr_db"]) for row in found] == pytest.approx([19.0, 25.0], abs=0.01)
    assert "sum of rates 14.64 bit/s/Hz" in shown
    assert shown.startswith("note: read as gain in dB (no --quantity given)\n")


@pytest.mark.parametrize(
    ("header", "power_w"), [("", 0.1), ("station,station,station", 0.1), ("macro,macro,macro", 100.0)]
)
def test_an_unknown_kind_is_not_a_macro_station(
    header: str, power_w: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, cells = table(tmp_path / "plan.csv", 10 * np.log10(BARE), header), tmp_path / "cells.csv"
    line = [plan, *CELLS, "--direction", "downlink", "--stations-out", str(cells)]
    _, shown = allocated(line, tmp_path, capsys)
    assert [float(row["max_power_w"]) for row in rows(cells)] == pytest.approx([power_w] * 3)
    assert ("3 stations of unknown kind with the limit of small ones" in shown) == (power_w == 0.1)


def test_rsrp_of_one_station(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """-91 dBm with 46 dBm over 1200 resource elements is -106.2 dB, or 40.8 dB over 20 MHz of -174 dBm/Hz."""
    plan = table(tmp_path / "rsrp.csv", np.array([[-91.0]]), "small")
    line = [plan, *CELLS, "--small-dbm", "46"]
    reference = 46 - 10 * math.log10(1200)
    reading = ["--quantity", "rsrp", "--reference-dbm", f"{reference:.4f}"]
    found, shown = allocated([*line, *reading], tmp_path, capsys)
    assert float(found[0]["sinr_db"]) == pytest.approx(40.8, abs=0.05)
    assert shown.startswith("note: read as RSRP of a reference signal of 15.2082 dBm\n")
    found, shown = allocated(line, tmp_path, capsys)
    assert float(found[0]["sinr_db"]) == pytest.approx(56.0, abs=0.05)
    assert shown.startswith("note: read as gain in dB (no --quantity given)\n")


@pytest.mark.parametrize(
    ("offset_db", "sign", "reading"),
    [(18.0, 1, ["--quantity", "rsrp", "--reference-dbm", "18"]), (0.0, -1, ["--quantity", "pathloss"])],
)
@pytest.mark.parametrize("line", [[*CELLS, "--allocator", "max-gain"], [*LINKS, "--pair", "strongest"]])
def test_quantities_are_the_same_gains(
    line: list[str], offset_db: float, sign: int, reading: list[str], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    gain_db, stated = 10 * np.log10(BARE), ["--direction", "downlink"]
    plain, _ = allocated([table(tmp_path / "a.csv", gain_db), *line, *stated], tmp_path, capsys)
    stated = [] if "rsrp" in reading else stated  # users measure it of stations
    other, _ = allocated(
        [table(tmp_path / "b.csv", sign * gain_db + offset_db), *line, *reading, *stated], tmp_path, capsys
    )
    assert rates(other) == pytest.approx(rates(plain), rel=1e-5)


@pytest.mark.parametrize("shape", [(6, 2), (2, 6), (3, 3), (1, 6), (6, 1)])
@pytest.mark.parametrize("line", [CELLS, [], [*LINKS, "--pair", "strongest"]])
def test_numbers_of_nodes_do_not_tell_directions(
    line: list[str], shape: tuple[int, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table of 6 lines and 2 columns may be 2 users of 6 stations."""
    out = tmp_path / "x.csv"
    bad = ["allocate", table(tmp_path / "bare.csv", np.full(shape, -80.0)), *line, "--out", str(out)]
    check_refused(bad, "does not say which of its .* --direction uplink", capsys, kept=out)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("macro,pico,small\n-80,-90,-70\n", "header: must be of the words .*, received 'pico'"),
        ("-80,-8_0\n", "gain_db: must be numbers in dB.*, received '-8_0' at"),
    ],
)
def test_cells_of_tables(text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "t.csv", tmp_path / "x.csv"
    path.write_text(text, encoding="utf-8")
    check_refused(["allocate", str(path), *CELLS, "--out", str(out)], told, capsys, kept=out)


class TestSionna:
    """Files of Sionna's arrays, which do not say which end is the station."""

    @pytest.mark.parametrize("form", ["down", "up"])
    def test_slicing(self, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        cell = scene(tmp_path)
        line = [
            cell[form],
            "--drop",
            "1",
            "--min-rate-bps",
            "1e5",
            "--direction",
            {"down": "downlink", "up": "uplink"}[form],
        ]
        found, shown = allocated(line, tmp_path, capsys)
        assert "6 of 6 users scheduled" in shown
        assert ("turned round from downlink to uplink" in shown) == (form == "down")
        band, rate = (np.array([float(row[name]) for row in found]) for name in ("bandwidth_hz", "rate_bps"))
        snr = 10**-0.7 * cell["gain"][1, :, 0] / (10**-20.4 * band)
        np.testing.assert_allclose(rate, band * np.log2(1 + snr), rtol=1e-4)

    @pytest.mark.parametrize("form", ["down", "up"])
    def test_association(self, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        cell = scene(tmp_path)
        line = [
            cell[form],
            *CELLS,
            "--allocator",
            "max-signal",
            "--direction",
            {"down": "downlink", "up": "uplink"}[form],
        ]
        found, shown = allocated(line, tmp_path, capsys)
        assert "6 of 6 users served by 1 of 1 stations" in shown
        snr = 0.1 * cell["gain"][0, :, 0] / NOISE_W
        np.testing.assert_allclose(rates(found), np.log2(1 + snr) / 6, rtol=1e-4)

    @pytest.mark.parametrize("form", ["down", "up"])
    def test_beams(self, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        cell = scene(tmp_path)
        beams = [*BEAMS, "--allocator", "equal-power", "--noise-dbm", "-110"]
        _, shown = allocated([cell[form], *beams], tmp_path, capsys)
        end = {"down": "transmitter", "up": "receiver"}[form]
        assert f"assumed that the one {end}, of 8 antennas, is the station" in shown

    def test_pairs(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Each station serves the strongest of the users that it is the strongest station of."""
        cell = scene(tmp_path, stations=2)
        gain = cell["gain"][1]
        best = gain.argmax(1)
        served = {
            station: int(np.where(best == station, gain.max(1), 0).argmax()) for station in best.tolist()
        }
        station, user = zip(*sorted(served.items(), key=lambda pair: -gain[pair[1], pair[0]]), strict=True)
        line = [cell["down"], *LINKS, "--pair", "strongest", "--direction", "downlink", "--drop", "1"]
        found, shown = allocated([*line, "--allocator", "max-power"], tmp_path, capsys)
        assert f"left out {6 - len(user)} users and" in shown
        heard = 0.01 * gain[np.ix_(user, station)]
        own = np.diag(heard)
        expected = np.log2(1 + own / (10**-13.4 + heard.sum(1) - own))
        np.testing.assert_allclose(rates(found), expected, rtol=1e-4)


OUT, EVALUATE = ["--out", "{folder}/out.csv"], ["evaluate", "--instances", "1"]
STATE = "--direction uplink .* or --direction downlink"
BAD = {
    "downlink to slicing": (["allocate", "{down}", *OUT], STATE),
    "uplink to association": (["allocate", "{up}", *CELLS, *OUT], STATE),
    "table to slicing": (["allocate", "{bare}", *OUT], STATE),
    "square table to association": (["allocate", "{square}", *CELLS, *OUT], STATE),
    "users and stations to pairs": (["allocate", "{up}", *LINKS, "--pair", "strongest", *OUT], STATE),
    "table to sum-rate": (["allocate", "{bare}", *LINKS, *OUT], r"got \[4, 3\]\. .* use --pair strongest"),
    "stations of a slice": (
        ["allocate", "{two}", *OUT, "--direction", "downlink"],
        "station: must be chosen with --station, 0 to 1",
    ),
    "stations of beams": (
        ["allocate", "{two}", *BEAMS, *OUT],
        "channel: must have one station .* --direction",
    ),
    "no such station": (
        ["allocate", "{two}", *OUT, "--direction", "downlink", "--station", "2"],
        "station: must be 0 to 1, received 2",
    ),
    "against the roles": (
        ["allocate", "munich_cell_uplink", *CELLS, "--direction", "downlink", *OUT],
        "direction: must be uplink, as the data say, received downlink",
    ),
    "quantity of a file": (
        ["allocate", "munich_cell_uplink", "--quantity", "gain", *OUT],
        "quantity: must go with a table",
    ),
    "devices": (
        ["allocate", "munich_d2d", *CELLS, *OUT],
        "direction: must be uplink or downlink, received device",
    ),
    "dense network of slices": (
        ["allocate", "munich_hudn_200m", *OUT],
        "station: must be chosen with --station",
    ),
    "no reference": (
        ["allocate", "{bare}", *CELLS, "--quantity", "rsrp", *OUT],
        "reference_dbm: must be given",
    ),
    "negative loss": (
        ["allocate", "{bare}", *CELLS, "--quantity", "pathloss", *OUT],
        "pathloss: .* --quantity gain",
    ),
    "of a scenario": (
        ["allocate", "hudn", *CELLS, "--direction", "uplink", *OUT],
        "direction: must go with a snap",
    ),
    "of draws": (
        [*EVALUATE, "--scenario", "hml", "--quantity", "gain"],
        "quantity: must go with a snapshot",
    ),
    "station of draws": (
        [*EVALUATE, "--scenario", "hml", "--station", "0"],
        "station: must go with a snapshot",
    ),
    "pairs of draws": (
        [*EVALUATE, *LINKS, "--scenario", "metagnn", "--pair", "strongest"],
        "pair: must go with a snapshot",
    ),
    "draws of an unknown end": ([*EVALUATE, "--snapshot", "{down}", "--users", "2"], STATE),
    "draws of cells": ([*EVALUATE, *CELLS, "--snapshot", "{up}"], STATE),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Paths of what the bad lines name."""
    folder, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    bare, square = folder / "bare.csv", folder / "square.csv"
    table(bare, 10 * np.log10(BARE))
    table(square, 10 * np.log10(BARE[:3]))
    one = scene(folder)
    return {
        "folder": folder,
        "up": one["up"],
        "down": one["down"],
        "two": scene(two, stations=2)["down"],
        "bare": bare,
        "square": square,
    }


@each(BAD)
def test_no_wrong_direction_passes(
    line: list[str], message: str, files: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused(line, message, capsys, files=files, kept=files["folder"] / "out.csv")


@pytest.mark.parametrize(
    ("line", "note"),
    [
        (["--users", "3", "--station", "1"], "turned round from downlink to uplink; station 1 of 2, with all users"),
        ([*CELLS, "--users", "3", "--allocators", "max-gain"], "averaged over antennas and times"),
        ([*LINKS, "--links", "1", "--pair", "strongest", "--allocators", "max-power"], "of users and their strongest"),
    ],
)  # fmt: skip
def test_evaluate_says_once_what_was_assumed(
    line: list[str], note: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = scene(tmp_path, stations=2)
    command = ["evaluate", "--snapshot", cell["down"], "--direction", "downlink", "--instances", "2", *line]
    assert cli.run(command) == 0
    shown = capsys.readouterr().out
    assert shown.count("note: ") == 1
    assert note in shown
