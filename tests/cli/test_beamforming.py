"""The commands on short packets from a station of many antennas: `--problem urllc`."""

import json
import math
import re
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from tests.cli.refused import check_refused, each
from tests.tables import rows

from torchrrm import cli
from torchrrm.bench import Results
from torchrrm.channels.snapshot import Snapshot, save_snapshot

URLLC = ["--problem", "urllc"]
AMPLITUDE = np.array([3e-5, 1e-5])
"""Of two users in orthogonal directions of three antennas."""
NOISE_W, BUDGET_W = 1e-13, 0.1
QUIET = ["--noise-dbm", "-100", "--power-dbm", "20"]


def station(path: Path, channel: np.ndarray) -> Path:
    """What a station with antennas on the last axis of `[frequency user ant]` sends to users on a line."""
    users = channel.shape[1]
    position = np.zeros((users, 3))
    position[:, 0] = 10.0 * np.arange(users)
    snapshot = Snapshot(
        gain=np.square(np.abs(channel)).max((0, 2))[:, None],  # pyright: ignore[reportArgumentType]
        channel=channel[:, :, None, None, :],  # pyright: ignore[reportArgumentType]
        frequency_offset_hz=np.arange(channel.shape[0], dtype=float),  # pyright: ignore[reportArgumentType]
        rx_position_m=position,  # pyright: ignore[reportArgumentType]
        name="mast",
        attribution="nobody",
    )
    return save_snapshot(path, snapshot)


@pytest.fixture(scope="module")
def mast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two users in orthogonal directions, and a third one that is between them; weaker at a second frequency."""
    channel = np.zeros((2, 3, 3), dtype=complex)
    channel[:, 0, 0], channel[:, 1, 1] = AMPLITUDE[0], 1j * AMPLITUDE[1]
    channel[:, 2, :2] = 1e-5
    channel[1] *= 0.1
    return station(tmp_path_factory.mktemp("mast") / "mast.npz", channel)


def column(table: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in table])


def packet_rate(sinr: np.ndarray, blocklength: float) -> np.ndarray:
    back_off = -NormalDist().inv_cdf(1e-5) / math.sqrt(blocklength)
    return np.log(1 + sinr) - back_off * np.sqrt(1 - (1 + sinr) ** -2.0)


def test_allocate_writes_a_row_a_user(mast: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Equal powers on orthogonal channels: what a hand calculation gives."""
    out, results, beams = tmp_path / "x.csv", tmp_path / "r.json", tmp_path / "b.npz"
    line = [
        "allocate",
        str(mast),
        *URLLC,
        *QUIET,
        "--serve",
        "1,0",
        "--allocator",
        "equal-power",
        "--out",
        str(out),
    ]
    assert cli.run([*line, "--beams", str(beams), "--json", str(results)]) == 0
    assert "2 of 2 users have their minimum rate; weighted sum rate " in capsys.readouterr().out
    table = rows(out)
    assert list(table[0]) == [
        "user", "x_m", "y_m", "weight", "uplink_power_w", "downlink_power_w", "rate_nats", "rate_bits",
        "min_rate_nats", "slack_nats", "needed_power_w", "max_power_w",
    ]  # fmt: skip
    assert [(row["user"], row["x_m"]) for row in table] == [("1", "10.0"), ("0", "0.0")]
    for name in ("uplink_power_w", "downlink_power_w"):
        np.testing.assert_allclose(column(table, name), BUDGET_W / 2, rtol=1e-5)
    rate = packet_rate(BUDGET_W / 2 * np.square(AMPLITUDE[::-1]) / NOISE_W, 256)
    np.testing.assert_allclose(column(table, "rate_nats"), rate, rtol=1e-5)
    np.testing.assert_allclose(column(table, "rate_bits"), rate / math.log(2), rtol=1e-5)
    np.testing.assert_allclose(column(table, "slack_nats"), rate - math.log(2), rtol=1e-5)
    (row,) = Results.from_json(results).rows
    assert (row.problem, row.setting, row.infeasible) == ("urllc", "mast, drop 0, frequency 0", 0)
    assert row.objective == pytest.approx(rate.mean(), rel=1e-5)
    with np.load(beams, allow_pickle=False) as kept:
        # h is the conjugate of what the station's antennas send: w^H h is real where it matters
        np.testing.assert_allclose(np.abs(kept["beam"]), [[0, 1, 0], [1, 0, 0]], atol=1e-6)
        assert kept["user"].tolist() == [1, 0]
        np.testing.assert_allclose(kept["downlink_power_w"], BUDGET_W / 2, rtol=1e-5)
        assert json.loads(kept["about"].item())["attribution"] == "nobody"


def test_allocate_tells_the_power_that_would_do(
    mast: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.json"
    line = ["allocate", str(mast), *URLLC, "--noise-dbm", "-100", "--frequency", "1", "--out", str(out)]
    assert cli.run([*line, "--power-dbm", "-20"]) == 0
    printed = capsys.readouterr().out
    told = re.search(r"of 3 users .*; infeasible: all need ([0-9.e-]+) W, the limit is 1e-05 W", printed)
    assert told is not None
    needed = float(told[1])
    columns = json.loads(out.read_text(encoding="utf-8"))["columns"]
    assert columns["needed_power_w"] == pytest.approx([needed] * 3, rel=1e-3)
    assert min(columns["slack_nats"]) < 0
    more, less = (str(10 * math.log10(factor * needed) + 30) for factor in (1.01, 0.99))
    for power, served in (
        (more, "3 of 3 users have their minimum rate; weighted sum rate "),
        (less, "infeasible: all need"),
    ):
        assert cli.run([*line, f"--power-dbm={power}"]) == 0
        assert served in capsys.readouterr().out


@pytest.mark.parametrize("case", ["parallel", "no channel", "fewer antennas"])
def test_what_no_power_would_do_is_said(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    channel = np.zeros((1, 2, 3), dtype=complex)
    channel[:, :, 0] = 1e-5
    channel[:, 1] *= 0 if case == "no channel" else 2
    if case == "fewer antennas":
        channel[:, 1, 2] = 1e-5
    path, out = station(tmp_path / "s.npz", channel), tmp_path / "x.json"
    line = ["allocate", str(path), *URLLC, "--out", str(out), "--antennas", "2"]
    for allocator in ("gram-ascent", "minimum-power", "equal-power", "zero-forcing"):
        assert cli.run([*line, "--allocator", allocator]) == 0, allocator
        printed = capsys.readouterr().out
        assert "of 2 users have their minimum rate; infeasible: no power would do" in printed
        columns = json.loads(out.read_text(encoding="utf-8"))["columns"]
        assert columns["needed_power_w"] == [None, None]  # JSON knows no infinity
        assert all(math.isfinite(value) for value in columns["rate_nats"])


def test_more_users_than_antennas_are_served_where_they_can_be(
    mast: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["allocate", str(mast), *URLLC, "--antennas", "2", "--payload-bits", "32", "--power-dbm", "40"]
    assert cli.run([*line, "--out", str(tmp_path / "x.csv")]) == 0
    assert "3 of 3 users have their minimum rate" in capsys.readouterr().out


def test_munich_and_a_scenario(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, beams = tmp_path / "x.csv", tmp_path / "b.npz"
    for name, antennas in (("munich_miso64", 64), ("urllc-edge", 64)):
        tables = []
        for seed in ("3", "3", "4"):
            line = ["allocate", name, *URLLC, "--users", "4", "--seed", seed, "--out", str(out)]
            assert cli.run([*line, "--beams", str(beams)]) == 0
            tables.append(rows(out))
        assert tables[0] == tables[1] != tables[2]
        assert column(tables[0], "uplink_power_w").sum() == pytest.approx(
            column(tables[0], "downlink_power_w").sum(), rel=1e-5
        )
        with np.load(beams, allow_pickle=False) as kept:
            assert kept["beam"].shape == (4, antennas)
            np.testing.assert_allclose(np.linalg.norm(kept["beam"], axis=-1), 1, rtol=1e-5)
    assert "one drop of 4 users, 64 antennas" in capsys.readouterr().out


def test_evaluate_leaves_out_what_is_infeasible(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, page = tmp_path / "r.json", tmp_path / "r.html"
    line = [
        "evaluate",
        *URLLC,
        "--scenario",
        "urllc-edge",
        "--users",
        "4",
        "--antennas",
        "16",
        "--instances",
        "20",
    ]
    line += ["--allocators", "gram-ascent,minimum-power", "--json", str(results), "--html", str(page)]
    assert cli.run(line) == 0
    found = Results.from_json(results).rows
    assert [row.allocator for row in found] == ["gram-ascent", "minimum-power", "equal-power", "zero-forcing"]
    assert [row.kind for row in found[2:]] == ["trivial", "trivial"]
    for row in found:
        assert (row.setting, row.instances) == ("urllc-edge, 4 users, 16 antennas", 20)
        assert row.infeasible == row.left_out
        assert 0 < (row.infeasible or 0) < 20
        assert list(row.measures) == ["mean rate / nat", "5th percentile rate / nat", "minimum rate / nat"]
        assert row.optimality is None if row.violation_rate else (row.optimality or 0) > 0
    for row in found[:2]:
        assert row.violation_rate == 0.0
        assert (row.optimality or 9) <= 1 + 1e-6
    assert f"{found[0].infeasible} infeasible, which all but the latency leave out" in capsys.readouterr().out
    assert "Short packets from a station of many antennas" in page.read_text(encoding="utf-8")


def test_evaluate_on_munich(tmp_path: Path) -> None:
    line = ["evaluate", *URLLC, "--snapshot", "munich_miso64", "--users", "4", "--instances", "3"]
    assert cli.run([*line, "--json", str(tmp_path / "r.json")]) == 0
    found = Results.from_json(tmp_path / "r.json").rows
    assert found[0].setting == "munich_miso64, 4 users"
    assert found[0].bound is not None


def test_trained_beams_adapt_and_serve(mast: Path, tmp_path: Path) -> None:
    trained, adapted = tmp_path / "t.safetensors", tmp_path / "a.safetensors"
    drawn = ["--scenario", "urllc", "--users", "3", "--antennas", "8", "--payload-bits", "64"]
    assert cli.run(["train", *URLLC, *drawn, "--steps", "2", "--batch-size", "4", "--out", str(trained)]) == 0
    line = [
        "adapt",
        str(trained),
        *URLLC,
        "--snapshot",
        str(mast),
        "--users",
        "2",
        "--epochs",
        "1",
        "--samples",
        "4",
    ]
    assert cli.run([*line, "--out", str(adapted), "--json", str(tmp_path / "r.json")]) == 0
    found = Results.from_json(tmp_path / "r.json").rows
    assert [row.allocator for row in found] == ["zero-shot", "after 1 epochs", "equal-power", "zero-forcing"]
    line = [
        "allocate",
        str(mast),
        *URLLC,
        *QUIET,
        "--allocator",
        str(adapted),
        "--out",
        str(tmp_path / "x.csv"),
    ]
    assert cli.run(line) == 0
    assert bool((column(rows(tmp_path / "x.csv"), "slack_nats") > -1e-5).all())


OUT = ["--out", "{folder}/out.csv"]
ALLOCATE, DRAWN = ["allocate", "{mast}", *URLLC, *OUT], ["allocate", "urllc", *URLLC, *OUT]
EVALUATE = ["evaluate", *URLLC, "--instances", "1"]
CITY = [*EVALUATE, "--snapshot", "{mast}"]
BAD = {
    "not a number": (["allocate", "{holed}", *URLLC, *OUT], "channel: must be finite, received .*nan"),
    "gains": (["allocate", "{plain}", *URLLC, *OUT], "channel: must be in the snapshot for beams, received none"),
    "pairs": (["allocate", "munich_d2d", *URLLC, *OUT], "must have one station .* 20 receivers and 20 trans"),
    "nobody there": (["allocate", "berlin", *URLLC, *OUT], "berlin"),
    "drop": ([*ALLOCATE, "--drop", "1"], "drop: must be 0 to 0, received 1"),
    "frequency": ([*ALLOCATE, "--frequency", "2"], "frequency: must be 0 to 1, received 2"),
    "serve": ([*ALLOCATE, "--serve", "0,3"], r"users: must be different ones of 0 to 2, received \[0, 3\]"),
    "twice": ([*ALLOCATE, "--serve", "1,1"], r"users: must be different ones of 0 to 2, received \[1, 1\]"),
    "words": ([*ALLOCATE, "--serve", "a"], "serve: must be integers separated by commas, received 'a'"),
    "both": ([*ALLOCATE, "--serve", "1", "--users", "1"], "users: must be left out beside --serve, received 1"),
    "many": ([*ALLOCATE, "--users", "4"], "users: must be 1 to 3, received 4"),
    "antennas": ([*ALLOCATE, "--antennas", "4"], "antennas: must be 1 to 3, received 4"),
    "beams": ([*ALLOCATE, "--beams", "b.csv"], "beams: must end in .npz, received 'b.csv'"),
    "format": (["allocate", "{mast}", *URLLC, "--out", "x.txt"], "out: must end in .csv, .npz, .json"),
    "snr": ([*ALLOCATE, "--snr-db", "3"], "snr_db: must go with a scenario, received 3"),
    "noise": ([*ALLOCATE, "--noise-dbm", "nan"], "noise_dbm: must be finite, received nan"),
    "power": ([*DRAWN, "--power-dbm", "3"], "power_dbm: must be left to --snr-db of a scenario, received 3"),
    "infinite": ([*DRAWN, "--snr-db", "inf"], "snr_db: must be finite, received inf"),
    "blocks": ([*DRAWN, "--blocklength", "0"], "blocklength: must be positive and finite, received 0"),
    "errors": ([*DRAWN, "--error-probability", "0.7"], "error_probability: must lie between 0 and 0.5, received"),
    "payload": ([*DRAWN, "--payload-bits", "-1"], "payload_bits: must be at least 0 and finite, received -1"),
    "users": ([*DRAWN, "--users", "0"], "users: must be 1 to inf, or an ascending range in it, received 0"),
    "of a drop": ([*DRAWN, "--drop", "2"], "drop: must go with a snapshot, received 2"),
    "serving": ([*DRAWN, "--serve", "0"], "serve: must go with a snapshot, received 0"),
    "allocator": ([*DRAWN, "--allocator", "wmmse"], "allocator: must be .*gram-ascent.*received 'wmmse'"),
    "neither": (EVALUATE, "exactly one must be given, received neither"),
    "scenario": ([*EVALUATE, "--scenario", "hml"], "scenario: must be one of urllc, .*received 'hml'"),
    "draws": ([*CITY, "--users", "4"], "users: must be 1 to 3"),
    "links": ([*CITY, "--links", "3"], "--links: must go with --problem sum-rate or .*, received"),
    "other policy": ([*CITY, "--users", "2", "--allocators", "slice-gnn-marginal"], "policy: must serve urllc"),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(mast: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Paths of what the bad lines name."""
    folder = tmp_path_factory.mktemp("bad")
    holed, plain = folder / "holed.npz", folder / "plain.npz"
    with np.load(mast) as good:
        arrays = dict(good)
        channel = arrays["channel"].copy()
        channel.flat[0] = complex(math.nan, 0)
        np.savez(holed, allow_pickle=False, **arrays | {"channel": channel})  # pyright: ignore[reportArgumentType]
        bare = {
            name: value for name, value in arrays.items() if name not in ("channel", "frequency_offset_hz")
        }
        np.savez(plain, allow_pickle=False, **bare)  # pyright: ignore[reportArgumentType]
    return {"folder": folder, "mast": mast, "holed": holed, "plain": plain}


@each(BAD)
def test_bad_input_gets_one_line_and_leaves_files_alone(
    line: list[str], message: str, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused(line, message, capsys, files=files, kept=files["folder"] / "out.csv")
