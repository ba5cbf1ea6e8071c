"""The commands on interference links: `--problem sum-rate`, `qos-sum-rate` and `ergodic-power`."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.cli.refused import check_refused
from tests.solvers.test_safeguard import HALL_DB
from tests.tables import rows

from torchrrm import cli
from torchrrm.bench import Results
from torchrrm.channels.snapshot import Snapshot, save_snapshot
from torchrrm.deploy import InferenceSession
from torchrrm.policies import PowerGNN, StateAugmented, load_weights, save_weights
from torchrrm.problems import WeightedSumRate, link_instance

SUM_RATE = ["--problem", "sum-rate"]
QOS = ["--problem", "qos-sum-rate"]
ERGODIC = ["--problem", "ergodic-power"]
DRAWN = ["--scenario", "metagnn", "--links", "3"]
GAIN = np.array([[1e-8, 3e-9, 1e-13], [2e-9, 4e-9, 1e-13], [1e-13, 1e-13, 5e-9]])
MEASURES = ["mean rate / (bit/s/Hz)", "5th percentile rate / (bit/s/Hz)", "minimum rate / (bit/s/Hz)"]


def pairs(path: Path, gain: np.ndarray) -> Path:
    """Two drops of pairs, the second with weaker gains."""
    position = np.zeros((gain.shape[-1], 3))
    position[:, 0] = np.arange(gain.shape[-1]) * 10.0
    snapshot = Snapshot(
        gain=np.stack((gain, gain / 10)),  # pyright: ignore[reportArgumentType]
        tx_position_m=position,  # pyright: ignore[reportArgumentType]
        name="pairs",
        attribution="nobody",
    )
    return save_snapshot(path, snapshot)


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of two pairs that disturb each other, and one far away."""
    return pairs(tmp_path_factory.mktemp("city") / "city.npz", GAIN)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small policy of random weights."""
    path = tmp_path_factory.mktemp("weights") / "power.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_weights(path, PowerGNN("weight", widths=(8, 8)), {})
    return path


def test_allocate_writes_a_row_a_link(city: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, results = tmp_path / "x.csv", tmp_path / "r.json"
    line = ["allocate", str(city), *SUM_RATE, "--allocator", "branch-and-bound", "--drop", "1"]
    assert cli.run([*line, "--noise-dbm", "-100", "--out", str(out), "--json", str(results)]) == 0
    assert "2 of 3 links transmit" in capsys.readouterr().out
    table = rows(out)
    assert list(table[0]) == ["link", "tx_x_m", "tx_y_m", "weight", "power_w", "rate_bps_hz"]
    power, rate = (np.array([float(row[name]) for row in table]) for name in ("power_w", "rate_bps_hz"))
    np.testing.assert_allclose(power, [0.01, 0.0, 0.01], atol=1e-6)
    ratio = GAIN / 10 * power / 1e-13  # the far pair is the only one to interfere
    wanted = np.log2(1 + np.diagonal(ratio) / (1 + ratio.sum(-1) - np.diagonal(ratio)))
    np.testing.assert_allclose(rate, wanted, rtol=1e-4)
    (row,) = Results.from_json(results).rows
    assert (row.problem, row.setting, row.bound_kind) == ("sum-rate", "pairs, drop 1", "certified")
    assert row.optimality == pytest.approx(1.0, abs=0.02)
    assert row.objective == pytest.approx(rate.sum(), rel=1e-5)


def test_links_that_are_all_alike_get_one_winner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = tmp_path / "alike.csv", ["--out", str(tmp_path / "x.csv")]
    table.write_text("\n".join([",".join(["-80"] * 6)] * 6), encoding="utf-8")
    assert cli.run(["allocate", str(table), *SUM_RATE, *out]) == 0
    printed = capsys.readouterr().out
    assert "1 of 6 links transmit; sum rate 11.3 bit/s/Hz" in printed
    assert "one-winner reaches" not in printed


def test_a_rule_that_is_better_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = tmp_path / "hall.csv", ["--out", str(tmp_path / "x.csv")]
    table.write_text(HALL_DB.strip(), encoding="utf-8")
    assert cli.run(["allocate", str(table), *SUM_RATE, *out, "--allocator", "itlinq"]) == 0
    told = "one-winner reaches 11.44 bit/s/Hz, more than itlinq with 1.524; try --allocator wmmse\n"
    assert told in capsys.readouterr().out
    line = ["allocate", str(table), *ERGODIC, *out, "--slots", "20", "--allocator", "max-power"]
    assert cli.run(line) == 0
    assert "more than max-power with" in capsys.readouterr().out
    assert cli.run(["allocate", str(table), *SUM_RATE, *out]) == 0
    assert "sum rate 11.44 bit/s/Hz" in (printed := capsys.readouterr().out)
    assert "one-winner reaches" not in printed


def test_policies_of_one_slot_are_evaluated_over_slots(tmp_path: Path) -> None:
    names = "local-power,local-power-weighted,unfolded-power,central-power-5,greedy-links"
    line = [
        "evaluate",
        *ERGODIC,
        "--scenario",
        "rayleigh",
        "--links",
        "5",
        "--slots",
        "8",
        "--instances",
        "2",
    ]
    assert cli.run([*line, "--allocators", names, "--json", str(tmp_path / "r.json")]) == 0
    found = {row.allocator: row.kind for row in Results.from_json(tmp_path / "r.json").rows}
    kinds = dict.fromkeys(names.split(","), "policy") | {"greedy-links": "solver"}
    assert found == kinds | dict.fromkeys(("max-power", "one-winner"), "trivial")


def test_allocate_over_slots_tells_means_and_shortfalls(
    city: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.npz"
    line = ["allocate", str(city), *ERGODIC, "--allocator", "max-power", "--slots", "30", "--min-rate", "3"]
    assert cli.run([*line, "--out", str(out)]) == 0
    with np.load(out) as table:
        rate, shortfall = table["mean_rate_bps_hz"], table["shortfall_bps_hz"]
        np.testing.assert_allclose(table["mean_power_w"], 0.01, rtol=1e-6)
        np.testing.assert_allclose(shortfall, np.maximum(3 - rate, 0), atol=1e-6)
        assert json.loads(table["about"].item())["attribution"] == "nobody"
    assert f"{(shortfall == 0).sum()} of 3 links have their minimum rate" in capsys.readouterr().out


def test_evaluate_holds_few_links_against_the_certified_optimum(tmp_path: Path) -> None:
    results, page = tmp_path / "r.json", tmp_path / "r.html"
    line = ["evaluate", *SUM_RATE, *DRAWN, "--allocators", "wmmse,itlinq", "--instances", "5"]
    assert cli.run([*line, "--json", str(results), "--html", str(page)]) == 0
    found = Results.from_json(results)
    assert [row.allocator for row in found.rows] == ["wmmse", "itlinq", "max-power", "one-winner"]
    assert found.rows[-1].kind == "trivial"
    for row in found.rows:
        assert (row.setting, row.instances, row.bound_kind) == ("metagnn, 3 links", 5, "certified")
        assert 0 < (row.optimality or 0) <= 1 + 1e-6
        assert list(row.measures) == MEASURES
        assert row.objective == pytest.approx(3 * row.measures[MEASURES[0]].value, rel=1e-5)
        assert row.measures[MEASURES[2]].value <= row.measures[MEASURES[0]].value
    assert found.settings["links"] == 3
    assert "Power control of links" in page.read_text(encoding="utf-8")


def test_evaluate_names_the_best_known_value_where_nothing_is_certified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["evaluate", *SUM_RATE, "--snapshot", "munich_d2d", "--links", "11", "--instances", "2"]
    assert cli.run([*line, "--json", str(tmp_path / "r.json")]) == 0
    found = Results.from_json(tmp_path / "r.json").rows
    assert {row.bound_kind for row in found} == {"best known"}
    assert max(row.optimality or 0 for row in found) <= 1 + 1e-9
    assert "best" in capsys.readouterr().out


def test_one_allocator_of_many_links_is_held_against_nothing(tmp_path: Path) -> None:
    out, results = tmp_path / "x.csv", tmp_path / "r.json"
    line = ["allocate", "munich_d2d", *SUM_RATE, "--drop", "0", "--out", str(out), "--json", str(results)]
    assert cli.run(line) == 0
    assert len(rows(out)) == 20
    (row,) = Results.from_json(results).rows
    assert (row.bound_kind, row.optimality) == ("none", None)


def test_allocate_under_minimum_rates(city: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.csv"
    told = {"0.5": "3 of 3 links have their minimum rate; sum rate ", "5": "infeasible: no powers serve all"}
    for least, wanted in told.items():
        line = ["allocate", str(city), *QOS, "--min-rate", least, "--allocator", "minimum-power"]
        assert cli.run([*line, "--out", str(out), "--json", str(tmp_path / "r.json")]) == 0
        assert wanted in capsys.readouterr().out
        assert [float(row["min_rate_bps_hz"]) for row in rows(out)] == [float(least)] * 3
        (row,) = Results.from_json(tmp_path / "r.json").rows
        assert row.infeasible == (least == "5")
        assert row.bound_kind == ("none" if row.infeasible else "certified")


def test_minimum_rates_are_trained_for_adapted_to_and_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained, adapted, results = (tmp_path / name for name in ("t.safetensors", "a.safetensors", "r.json"))
    assert cli.run(["train", *QOS, *DRAWN, "--steps", "2", "--batch-size", "4", "--out", str(trained)]) == 0
    line = ["adapt", str(trained), *QOS, *DRAWN, "--min-rate", "1", "--epochs", "1", "--samples", "4"]
    assert cli.run([*line, "--out", str(adapted)]) == 0
    assert load_weights(adapted).arguments["min_rate_bps_hz"] == 1.0
    line = ["evaluate", *QOS, *DRAWN, "--min-rate", "1", "--instances", "8"]
    line += ["--allocators", f"geometric-program,{adapted}"]
    assert cli.run([*line, "--json", str(results)]) == 0
    found = Results.from_json(results).rows
    trivial = ["raised-power", "max-power", "one-winner"]
    assert [row.allocator for row in found] == ["geometric-program", str(adapted), *trivial]
    assert [row.kind for row in found] == ["solver", "policy", *["trivial"] * 3]
    for row in found:
        assert row.setting == "metagnn, 3 links, at least 1 bit/s/Hz"
        assert list(row.measures) == [*MEASURES, "all minima met / %"]
        assert row.bound_kind == "certified"
    assert found[0].violation_max <= 1e-5
    capsys.readouterr()
    assert cli.run(["export", "unrolled-power", *QOS, "--out", str(tmp_path / "p.onnx")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "policy: must have a core to be exported, received UnrolledPower, but its least powers" in error


def test_evaluate_over_slots_prices_what_is_missed(tmp_path: Path) -> None:
    line = ["evaluate", *ERGODIC, *DRAWN, "--slots", "20", "--min-rate", "1.0", "--instances", "3"]
    assert cli.run([*line, "--json", str(tmp_path / "r.json")]) == 0
    found = Results.from_json(tmp_path / "r.json").rows
    assert [row.allocator for row in found] == ["online-dual", "wmmse", "itlinq", "max-power", "one-winner"]
    for row in found:
        assert row.setting == "metagnn, 3 links, 20 slots"
        assert list(row.measures) == MEASURES
        assert row.bound_kind == "best known"
        assert (row.optimality or 9.0) <= 1 + 1e-9


def test_evaluate_over_slots_certifies_if_asked_to(tmp_path: Path) -> None:
    line = ["evaluate", *ERGODIC, *DRAWN, "--slots", "4", "--instances", "2", "--certify"]
    assert cli.run([*line, "--json", str(tmp_path / "r.json")]) == 0
    found = Results.from_json(tmp_path / "r.json").rows
    assert {row.bound_kind for row in found} == {"certified"}
    assert max(row.optimality or 9.0 for row in found) <= 1 + 1e-6


def test_the_power_net_of_a_policy_over_slots_is_exported(tmp_path: Path) -> None:
    weights, out = tmp_path / "state.safetensors", tmp_path / "p.onnx"
    save_weights(weights, StateAugmented(widths=(8,)), {})
    assert cli.run(["export", str(weights), *ERGODIC, "--out", str(out)]) == 0
    assert InferenceSession(out).header["arguments"]["condition"] == "weight"


def test_slots_are_drawn_from_the_seed(city: Path, tmp_path: Path) -> None:
    tables = []
    for seed in ("0", "0", "1"):
        out = tmp_path / "x.csv"
        line = ["allocate", str(city), *ERGODIC, "--slots", "3", "--seed", seed, "--out", str(out)]
        assert cli.run(line) == 0
        tables.append(rows(out))
    assert tables[0] == tables[1] != tables[2]


def test_trained_powers_adapt_serve_and_are_exported(city: Path, tmp_path: Path) -> None:
    trained, adapted, out = (tmp_path / name for name in ("t.safetensors", "a.safetensors", "p.onnx"))
    assert cli.run(["train", *SUM_RATE, *DRAWN, "--steps", "2", "--out", str(trained)]) == 0
    line = ["adapt", str(trained), *SUM_RATE, *DRAWN, "--epochs", "1", "--out", str(adapted)]
    assert cli.run([*line, "--json", str(tmp_path / "r.json")]) == 0
    names = [row.allocator for row in Results.from_json(tmp_path / "r.json").rows]
    assert names == ["zero-shot", "after 1 epochs", "max-power", "one-winner"]
    for problem in (SUM_RATE, ERGODIC):
        line = ["allocate", str(city), *problem, "--allocator", str(adapted)]
        line += ["--slots", "3"] if problem is ERGODIC else []
        assert cli.run([*line, "--out", str(tmp_path / "x.csv")]) == 0
    assert cli.run(["export", str(adapted), *SUM_RATE, "--out", str(out)]) == 0
    session = InferenceSession(out, policy="PowerGNN", kind="sum-rate")
    allocation = session.allocate(gain=GAIN, noise_power_w=1e-13, max_power_w=0.01)
    links = link_instance(torch.tensor(GAIN))
    action = {name: torch.tensor(value) for name, value in allocation.action.items()}
    assert not allocation.fallback
    assert bool((WeightedSumRate().rate(links, action["power_w"]) >= 0).all())


def test_help_shows_the_options_of_the_problem_alone(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {}
    for name, problem in (
        ("slicing", []),
        ("sum-rate", SUM_RATE),
        ("qos-sum-rate", QOS),
        ("ergodic-power", ERGODIC),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.run(["evaluate", *problem, "--help"])
        assert stop.value.code == 0
        shown[name] = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out)) - {"--help"}
    of_slices = {"--kind", "--users", "--bandwidth-hz", "--min-rate-bps", "--station"}
    of_links, of_slots = (
        {"--links", "--noise-dbm", "--snr-db", "--pair"},
        {"--slots", "--min-rate", "--certify", "--no-certify"},
    )
    shared = {
        "--problem",
        "--allocators",
        "--instances",
        "--html",
        "--snapshot",
        "--scenario",
        "--power-dbm",
    }
    shared |= {"--seed", "--threads", "--json", "--quantity", "--reference-dbm", "--direction"}
    assert shown["slicing"] == shared | of_slices
    assert shown["sum-rate"] == shared | of_links
    assert shown["qos-sum-rate"] == shared | of_links | {"--min-rate"}
    assert shown["ergodic-power"] == shared | of_links | of_slots


def test_list_tells_solvers_and_policies_problem_by_problem(tmp_path: Path) -> None:
    assert cli.run(["list", "--json", str(tmp_path / "r.json")]) == 0
    names = Results.from_json(tmp_path / "r.json").settings
    assert names["problems"] == list(cli.COMMANDS)
    assert {"wmmse", "max-power", "branch-and-bound"} <= set(names["solvers of sum-rate"])
    assert {"online-dual", "itlinq"} <= set(names["solvers of ergodic-power"])
    assert "exact" not in names["solvers of sum-rate"]
    assert "slice-gnn-marginal" in names["policies of slicing"]
    assert "slice-gnn-marginal" not in names["policies of sum-rate"]
    assert names["scenarios of sum-rate"] == ["metagnn", "rayleigh", "seven-cells"]


def bad_lines(city: Path, weights: Path, folder: Path) -> dict[str, tuple[list[str], str]]:
    blocked, oblong, holed = (folder / f"{name}.npz" for name in ("blocked", "oblong", "holed"))
    gain = GAIN.copy()
    gain[1, 1] = 0.0
    pairs(blocked, gain)
    pairs(oblong, GAIN[:2])
    with np.load(city) as good:
        arrays: dict[str, Any] = dict(good)
        gaps = np.where(arrays["gain"] > 4e-9, np.nan, arrays["gain"])
        np.savez(holed, allow_pickle=False, **arrays | {"gain": gaps})
        noisy = folder / "noisy.npz"
        np.savez(noisy, allow_pickle=False, **arrays | {"noise_psd_w_per_hz": np.array(-1.0)})
        silent = folder / "silent.npz"
        np.savez(silent, allow_pickle=False, **arrays | {"gain": np.zeros_like(arrays["gain"])})
    out = ["--out", str(folder / "out.csv")]
    allocate, evaluate = ["allocate", str(city), *SUM_RATE, *out], ["evaluate", *SUM_RATE, "--instances", "1"]
    direct = "direct gain: must be positive and finite, received 0.0 at"
    drawn = "must have a path within each pair, received a gain of 0"
    return {
        "not square": (["allocate", str(oblong), *SUM_RATE, *out], r"got \[2, 3\]. .* --pair strongest"),
        "no path": (["allocate", str(blocked), *SUM_RATE, *out], direct),
        "no path in slots": (["allocate", str(blocked), *ERGODIC, *out], direct),
        "nobody": (["allocate", str(silent), *SUM_RATE, *out], direct),
        "no path drawn": ([*evaluate, "--snapshot", str(blocked), "--links", "2"], drawn),
        "not a number": (["allocate", str(holed), *SUM_RATE, *out], "gain: must be finite, received nan"),
        "negative noise": (["allocate", str(noisy), *SUM_RATE, *out], "noise_psd_w_per_hz: must be"),
        "noise": ([*allocate, "--noise-dbm", "nan"], "noise_dbm: must be finite, received nan"),
        "power": ([*allocate, "--power-dbm=-inf"], "power_dbm: must be finite, received -inf"),
        "drop": ([*allocate, "--drop", "2"], "drop: must be 0 to 1, received 2"),
        "allocator": ([*allocate, "--allocator", "exact"], "allocator: must be .*wmmse.*received 'exact'"),
        "other policy": (
            [*allocate, "--allocator", "slice-gnn-marginal"],
            "policy: must serve sum-rate, received a SliceGNN",
        ),
        "power policy": (
            ["allocate", str(city), *out, "--allocator", str(weights)],
            "policy: must serve slicing, received a PowerGNN",
        ),
        "slots": (["allocate", str(city), *ERGODIC, *out, "--slots", "0"], "slots: must be at least 1"),
        "least rate": (
            ["allocate", str(city), *ERGODIC, *out, "--min-rate", "-1"],
            "min_rate_bps_hz: must be at least 0 .*received -1",
        ),
        "links": ([*evaluate, "--snapshot", str(city), "--links", "4"], "links: must be 1 to 3.*received 4"),
        "scenario": ([*evaluate, "--scenario", "hml"], "scenario: must be one of metagnn, .*received 'hml'"),
        "neither": (evaluate, "exactly one must be given, received neither"),
        "kind": ([*evaluate, "--kind", "secrecy"], "--kind: must go with --problem slicing, received --problem sum"),
        "links of slices": (
            ["evaluate", "--scenario", "hml", "--links=3"],
            "--links: must go with --problem sum-rate or qos-sum-rate or ergodic-power, received --problem slicing",
        ),
        "slots of one": ([*allocate, "--slots", "3"], "--slots: must go with --problem ergodic-power"),
        "problem": (["evaluate", "--problem", "beams"], "problem: must be one of slicing, .*received 'beams'"),
        "no training": (
            ["train", *ERGODIC, *out],
            "problem: must be one of slicing, sum-rate, qos-sum-rate, urllc, association, fair-association to train, "
            "received 'ergodic-power'",
        ),
    }  # fmt: skip


def test_bad_input_gets_one_line_and_leaves_files_alone(
    city: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused(bad_lines(city, weights, tmp_path), tmp_path / "out.csv", capsys)
