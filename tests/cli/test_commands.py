import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.refused import check_refused, each

from torchrrm import cli
from torchrrm.bench import Results
from torchrrm.channels.snapshot import Snapshot, save_snapshot
from torchrrm.cli.process import stoppable
from torchrrm.deploy import InferenceSession

COMMANDS = [
    "demo",
    "allocate",
    "train",
    "adapt",
    "evaluate",
    "reproduce",
    "benchmark",
    "export",
    "list",
    "run",
]
SMALL = ["--scenario", "hml", "--users", "5"]


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of 6 users, the last without any path, heard by one eavesdropper."""
    station = np.array([1e-9, 3e-10, 1e-10, 3e-11, 1e-11, 0.0])
    position = np.column_stack((np.arange(6) * 10.0, np.zeros(6), np.full(6, 1.5)))
    snapshot = Snapshot(
        gain=np.stack((station, station / 30)),  # pyright: ignore[reportArgumentType]
        tx_position_m=position,  # pyright: ignore[reportArgumentType]
        rx_role=("station", "eavesdropper"),
        tx_role="user",
        name="six",
        attribution="nobody",
    )
    return save_snapshot(tmp_path_factory.mktemp("cell") / "cell.npz", snapshot)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy trained for three steps."""
    path = tmp_path_factory.mktemp("weights") / "policy.safetensors"
    assert cli.run(["train", *SMALL, "--kind", "data-rate", "--steps", "3", "--out", str(path)]) == 0
    return path


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from torchrrm import cli\n"
        "try: cli.run(['--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'torch', 'numba', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_its_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.run([command, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "--seed" in shown
    assert "--json FILE" in shown
    assert "{None}" not in shown


def test_allocate_writes_a_row_a_user(cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.npz"
    assert cli.run(["allocate", str(cell), "--out", str(out), "--json", str(tmp_path / "r.json")]) == 0
    assert "5 of 6 users scheduled" in capsys.readouterr().out
    with np.load(out, allow_pickle=False) as table:
        assert table["scheduled"].tolist() == [True] * 5 + [False]
        assert table["bandwidth_hz"].sum() == pytest.approx(100e6)
        assert table["bandwidth_hz"][5] == table["rate_bps"][5] == 0.0
        assert (table["rate_bps"][:5] >= 10e6 * (1 - 1e-5)).all()
        assert table["x_m"].tolist() == [0, 10, 20, 30, 40, 50]
        assert json.loads(table["about"].item())["attribution"] == "nobody"
    (row,) = Results.from_json(tmp_path / "r.json").rows
    assert (row.problem, row.setting, row.allocator, row.infeasible) == (
        "data-rate",
        "six, drop 0",
        "exact",
        1,
    )
    assert row.optimality == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_allocate_writes_other_formats(cell: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"a.{ending}"
    assert (
        cli.run(["allocate", str(cell), "--kind", "secrecy", "--allocator", "one-winner", "--out", str(out)])
        == 0
    )
    assert "minimum_bandwidth_hz" in out.read_text(encoding="utf-8")


def test_a_slice_too_small_for_anybody_is_no_error(
    cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "a.csv")
    assert cli.run(["allocate", str(cell), "--bandwidth-hz", "1000", "--out", out]) == 0
    assert "0 of 6 users scheduled: the slice is too small" in capsys.readouterr().out


def test_evaluate_shows_the_trivial_rules_in_every_table(tmp_path: Path) -> None:
    results, page = tmp_path / "r.json", tmp_path / "r.html"
    line = ["evaluate", *SMALL, "--allocators", "exact", "--kind", "data-rate,secrecy", "--instances", "4"]
    assert cli.run([*line, "--json", str(results), "--html", str(page)]) == 0
    found = Results.from_json(results)
    names = ["exact", "equal-surplus", "one-winner"]
    assert [(row.problem, row.allocator) for row in found.rows] == [
        (kind, name) for kind in ("data-rate", "secrecy") for name in names
    ]
    assert {row.bound_kind for row in found.rows} == {"certified"}
    assert found.command == f"torchrrm {' '.join(line)} --json {results} --html {page}"
    assert "Allocation of slices" in page.read_text(encoding="utf-8")


def test_evaluate_is_repeatable(tmp_path: Path) -> None:
    line = ["evaluate", *SMALL, "--allocators", "exact", "--instances", "3", "--seed", "7"]
    objectives = []
    for name in ("a", "b"):
        assert cli.run([*line, "--json", str(tmp_path / name)]) == 0
        objectives.append([row.objective for row in Results.from_json(tmp_path / name).rows])
    assert objectives[0] == objectives[1]


def test_evaluate_draws_users_of_a_snapshot(cell: Path, tmp_path: Path) -> None:
    line = ["evaluate", "--snapshot", str(cell), "--users", "3", "--instances", "8", "--allocators", "exact"]
    assert cli.run([*line, "--json", str(tmp_path / "r.json")]) == 0
    row = Results.from_json(tmp_path / "r.json").rows[0]
    assert (row.setting, row.instances) == ("cell.npz, 3 users", 8)
    assert 0 < (row.infeasible or 0) < 8  # some drew the user without a path


def test_trained_weights_serve_and_adapt(weights: Path, cell: Path, tmp_path: Path) -> None:
    out, results = tmp_path / "adapted.safetensors", tmp_path / "r.json"
    line = ["adapt", str(weights), *SMALL, "--kind", "secrecy", "--epochs", "2", "--out", str(out)]
    assert cli.run([*line, "--json", str(results)]) == 0
    names = [row.allocator for row in Results.from_json(results).rows]
    assert names == ["zero-shot", "after 2 epochs", "equal-surplus", "one-winner"]
    assert weights.read_bytes() != out.read_bytes()
    assert cli.run(["allocate", str(cell), "--allocator", str(out), "--out", str(tmp_path / "a.csv")]) == 0


def test_training_goes_on_from_its_checkpoint(weights: Path, tmp_path: Path) -> None:
    state, out = tmp_path / "state.safetensors", tmp_path / "policy.safetensors"
    line = ["train", *SMALL, "--kind", "data-rate", "--checkpoint", str(state), "--out", str(out)]
    assert cli.run([*line, "--steps", "2"]) == 0
    assert cli.run([*line, "--steps", "3"]) == 0
    from safetensors.torch import load_file

    resumed, straight = load_file(out), load_file(weights)
    assert all(bool((resumed[name] == straight[name]).all()) for name in straight)


def test_export_writes_a_checked_onnx_file(weights: Path, tmp_path: Path) -> None:
    out, results = tmp_path / "policy.onnx", tmp_path / "r.json"
    assert (
        cli.run(["export", str(weights), "--kind", "secrecy", "--out", str(out), "--json", str(results)]) == 0
    )
    assert InferenceSession(out, kind="secrecy").header["provenance"]["command"].startswith("torchrrm export")
    assert Results.from_json(results).settings["kind"] == "secrecy"


def test_list_names_every_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["list", "--json", str(tmp_path / "r.json")]) == 0
    shown = capsys.readouterr().out
    names = Results.from_json(tmp_path / "r.json").settings
    assert {"hml", "data-rate-short", "munich_cell_uplink", "one-winner"} <= {
        n for known in names.values() for n in known
    }
    assert all(what in shown for what in names)


OUT = ["--out", "{folder}/out.csv"]
ALLOCATE = ["allocate", "{cell}", *OUT]
BAD = {
    "no such file": (["allocate", "{folder}/none.npz", *OUT], "must be an existing"),
    "truncated": (
        ["allocate", "{truncated}", *OUT],
        "truncated.npz: must be a whole .npz archive",
    ),
    "foreign": (["allocate", "{foreign}", *OUT], "foreign.npz: must have a schema"),
    "ending": (["allocate", "{cell}", "--out", "{folder}/out.xlsx"], "out: must end in .csv"),
    "kind": ([*ALLOCATE, "--kind", "delay"], "kind: must be one of data-rate, .*received 'delay'"),
    "allocator": ([*ALLOCATE, "--allocator", "oracle"], "allocator: must be a file .*received 'oracle'"),
    "no policy": ([*ALLOCATE, "--allocator", "{foreign}"], "path: must be a whole safetensors file"),
    "drop": ([*ALLOCATE, "--drop", "3"], "drop: must be 0 to 0, received 3"),
    "eavesdropper": ([*ALLOCATE, "--eavesdropper", "1"], "eavesdropper: must be 0 to 0, received 1"),
    "bandwidth": ([*ALLOCATE, "--bandwidth-hz", "-1"], "bandwidth_hz: must be positive .*received -1"),
    "not a number": (
        [*ALLOCATE, "--min-rate-bps", "nan"],
        "min_rate_bps: must be finite, received nan",
    ),
    "threads": ([*ALLOCATE, "--threads", "0"], "threads: must be 1 to .*received 0"),
    "no folder": (
        ["allocate", "{cell}", "--out", "{folder}/none/a.csv"],
        "out: must lie in an existing folder",
    ),
    "neither": (["evaluate", "--instances", "1"], "exactly one must be given, received neither"),
    "users": (["evaluate", "--snapshot", "{cell}", "--users", "7"], "users: must be 1 to 6, received 7"),
    "instances": (["evaluate", *SMALL, "--instances", "0"], "instances: must be at least 1, received 0"),
    "scenario": (["evaluate", "--scenario", "moon"], "scenario: must be one of hml, .*received 'moon'"),
    "recipe": (["reproduce", "none", *OUT], "recipe: must be one of .*received 'none'"),
    "steps": (["train", *SMALL, "--steps", "-1", *OUT], "steps: must be at least 0, received -1"),
    "policy": (["adapt", "{cell}", *SMALL, *OUT], "path: must be a whole safetensors file"),
    "export": (["export", "{foreign}", *OUT], "path: must be a whole safetensors file"),
}


@pytest.fixture(scope="module")
def files(cell: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Paths of what the bad lines name."""
    folder = tmp_path_factory.mktemp("bad")
    truncated, foreign = folder / "truncated.npz", folder / "foreign.npz"
    truncated.write_bytes(cell.read_bytes()[:200])
    np.savez(foreign, weights=np.ones(3))
    return {"folder": folder, "cell": cell, "truncated": truncated, "foreign": foreign}


@each(BAD)
def test_bad_input_gets_one_line_and_leaves_files_alone(
    line: list[str], message: str, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused(line, message, capsys, files=files, kept=files["folder"] / "out.csv")


def test_an_unknown_option_is_bad_input_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.run(["list", "--sead", "3"])
    assert stop.value.code == 2
    assert "--seed" in capsys.readouterr().err


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """What a process says when it gets a signal; again, since one that meets a callback of C code is lost."""
    for _ in range(6):
        os.kill(process.pid, number)
        try:
            return process.communicate(timeout=10)[1]
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    pytest.fail("the process must end when it is interrupted")


def test_an_interrupt_within_a_callback_of_compiled_code_is_not_lost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Forgetful:
        """Raises where Python can only report it, as a callback of compiled code does."""

        def __del__(self) -> None:
            raise KeyboardInterrupt

    def work() -> None:
        with stoppable():
            Forgetful()
            time.sleep(5)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == ""


def test_what_an_interrupt_leaves_half_made_is_not_heard_of_but_all_else_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class HalfMade:
        def __del__(self) -> None:
            raise AttributeError

    heard: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: heard.append(unraisable.exc_type))
    with stoppable() as stopped:
        HalfMade()
        assert heard == [AttributeError]
        stopped.set()
        HalfMade()
    assert heard == [AttributeError]
    HalfMade()
    assert len(heard) == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_stops_a_command_gets_one_line_and_its_exit_code(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    state = tmp_path / "p.checkpoint"
    line = ["train", *SMALL, "--steps", "100000", "--out", str(tmp_path / "p")]
    program = f"import sys; from torchrrm import cli; sys.exit(cli.run({line!r}))"
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores it
    process = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, preexec_fn=listen
    )
    while not state.exists() and process.poll() is None:
        time.sleep(0.05)
    error = stopped(process, number)
    assert (process.returncode, error) == (code, f"interrupted; the same command goes on from {state}\n")
    assert not (tmp_path / "p").exists()
