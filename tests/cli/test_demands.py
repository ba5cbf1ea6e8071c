import io
import json
import math
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from tests.cli.refused import check_refused, each

from torchrrm import cli
from torchrrm.bench import Results
from torchrrm.channels import SCENARIOS, bundled_snapshot
from torchrrm.cli import demands as command
from torchrrm.policies import CentralPower, PowerGNN, save_weights
from torchrrm.setups.demands import (
    Control,
    DemandRun,
    Pace,
    SlotStream,
    Standing,
    Timetable,
    control_loop,
    read_schedule,
    report,
    standing_table,
)
from torchrrm.setups.demands.history import History
from torchrrm.setups.links import LinkSource, LinkTerms
from torchrrm.solvers import WMMSE

RUN = ["run", "--problem", "demands"]
FEW = [*RUN, "--demands", "0.5,1,1.5", "--slots", "300"]
TWO = "0.5,1,1.5;1.5,0.2,0"


@pytest.fixture(scope="module")
def central(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of four links, of random weights."""
    path = tmp_path_factory.mktemp("weights") / "central.safetensors"
    save_weights(path, CentralPower(4, (8,)), {})
    return path


def made(
    demands: str, slots: int, *, control: Control = "online-dual", links: LinkSource | None = None
) -> DemandRun:
    schedule = read_schedule(demands, slots)
    users = len(schedule[0].demand_bps_hz)
    source = links or LinkSource(SCENARIOS["rayleigh"](), users, LinkTerms.at_snr(15))
    loop = control_loop("wmmse", WMMSE(), control)
    generator = torch.Generator().manual_seed(0)
    return DemandRun(loop, SlotStream(source), Timetable.of(schedule), generator=generator)


def test_demands_are_met_window_by_window(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, figure = tmp_path / "r.json", tmp_path / "f.svg"
    line = [*RUN, "--demands", TWO, "--slots", "2000", "--json", str(results), "--figure", str(figure)]
    assert cli.run(line) == 0
    shown = capsys.readouterr().out
    assert "window 2 of 2, slot 2,000 of 2,000" in shown
    assert "asked" not in shown
    assert figure.read_text(encoding="utf-8").startswith("<?xml")
    found = Results.from_json(results)
    assert found.command == f"torchrrm {' '.join(line)}".replace(TWO, f"'{TWO}'")
    kinds = [("wmmse", "solver"), ("max-power", "trivial"), ("one-winner", "trivial")]
    assert [(row.allocator, row.kind) for row in found.rows] == kinds * 2
    assert found.rows[0].setting == "rayleigh, 3 links, window 1"
    assert list(found.rows[0].measures) == ["slots", "slots until met", "violation from slot 1"]
    assert (found.settings["control"], found.settings["demands"]) == ("online-dual", TWO)
    for own, trivial in zip(found.rows[::3], found.rows[1::3], strict=True):
        assert own.violation_max < 0.01 < 0.3 < trivial.violation_max
        assert own.measures["slots until met"].value < 500
        assert math.isnan(trivial.measures["slots until met"].value)
        assert own.objective > trivial.objective
        assert (own.bound, own.bound_kind, own.published, own.instances) == (None, "none", None, 1)
        assert 0 < own.p50_us <= own.p99_us


def test_a_demand_that_is_not_met_gets_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*RUN, "--demands", "0.1,12,0", "--slots", "500"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(re.fullmatch(r"user 2 asked 12\.00, got \d\.\d\d bit/s/Hz", line) for line in lines)
    assert re.fullmatch(r"out of reach of any powers by \d\d %, certified over 40 slots", lines[-1])
    assert "1 infeasible" in "".join(lines)


def test_certificates_weigh_by_the_multipliers_at_the_end_of_a_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def recorded(instance: Any, multiplier: torch.Tensor, demand_bps_hz: torch.Tensor) -> torch.Tensor:
        seen.append(multiplier)
        return torch.ones(len(multiplier))

    monkeypatch.setattr(report, "certify_out_of_reach", recorded)
    run = made("12,12;0.1,12", 200)
    while not run.done:
        run.advance()
    assert set(report.excess_of(run)) == {0, 1}
    ends = [blocks.stop - 1 for _, blocks in report.windows_of(run)]
    assert len(ends) == 2
    for multiplier, end in zip(seen, ends, strict=True):
        assert torch.equal(multiplier, run.history.multiplier[end].expand_as(multiplier))
        assert run.history.multiplier[end].max() > 0


def test_nobody_has_to_ask_for_anything(tmp_path: Path) -> None:
    assert cli.run([*RUN, "--demands", "0,0", "--slots", "20", "--json", str(tmp_path / "r.json")]) == 0
    row = Results.from_json(tmp_path / "r.json").rows[0]
    assert (row.violation_max, row.served_fraction) == (0.0, None)


def test_the_problem_need_not_be_named_where_a_command_serves_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["run", "--demands", "0.5,1", "--slots", "30"]) == 0
    with pytest.raises(SystemExit) as stop:
        cli.run(["run", "--help"])
    assert stop.value.code == 0
    options = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
    assert {"--demands", "--control", "--update", "--snr-db", "--state", "--resume", "--seed"} <= options
    with pytest.raises(SystemExit):
        cli.run(["--help"])
    assert "run" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(
    "options",
    [
        ["--control", "time-sharing", "--allocator", "max-power"],
        ["--control", "time-sharing", "--update", "corrected", "--step", "2", "--batch", "10"],
        ["--allocator", "state-augmented", "--slots", "30"],
        ["--allocator", "power-gnn", "--control", "time-sharing", "--slots", "30"],
        ["--scenario", "seven-cells"],
        ["--scenario", "metagnn", "--noise-dbm", "-90"],
        ["--snapshot", "munich_d2d", "--power-dbm", "20"],
        ["--snr-db", "5", "--redraw-every", "7"],
    ],
)
def test_every_loop_runs_over_every_channel(options: list[str]) -> None:
    assert cli.run([*FEW, *options]) == 0


def test_a_file_gives_windows(tmp_path: Path) -> None:
    table = tmp_path / "d.csv"
    table.write_text("# two windows\nslots,first,second\n40, 1, 2\n60,0,0.5\n", encoding="utf-8")
    schedule = read_schedule(str(table))
    assert [(window.demand_bps_hz, window.slots) for window in schedule] == [((1, 2), 40), ((0, 0.5), 60)]
    assert [window.slots for window in read_schedule(str(table), 50)] == [40, 10]
    assert [window.slots for window in read_schedule(str(table), 40)] == [40]
    plain, data = tmp_path / "p.csv", tmp_path / "d.json"
    plain.write_text("1,2\n3,4\n", encoding="utf-8")
    data.write_text("[[1, 2], [3, 4]]", encoding="utf-8")
    for path in (plain, data):
        schedule = read_schedule(str(path), 101)
        assert [(window.demand_bps_hz, window.slots) for window in schedule] == [((1, 2), 50), ((3, 4), 51)]
    data.write_text("[1, 2]", encoding="utf-8")
    assert [window.slots for window in read_schedule(str(data))] == [1000]


@pytest.mark.parametrize("control", ["online-dual", "time-sharing"])
@pytest.mark.parametrize("redraw", [None, 30])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(
    tmp_path: Path, control: Control, redraw: int | None
) -> None:
    links = LinkSource(SCENARIOS["metagnn"](), 3, LinkTerms(), redraw_every=redraw)
    straight, halved = (made(TWO, 420, control=control, links=links) for _ in range(2))
    straight.advance(3)
    while not straight.done:
        straight.advance(2)
    for _ in range(11):  # into the second window, and not at the end of a block of channels
        halved.advance()
    halved.save(tmp_path / "s", {"seed": 0})
    resumed = made(TWO, 420, control=control, links=links)
    resumed.resume(tmp_path / "s", {"seed": 0})
    assert resumed.slots == halved.slots == 260
    while not resumed.done:
        resumed.advance(4)
    for name, value in straight.history.tensors(straight.blocks).items():
        if name != "latency_us":
            assert torch.equal(value, getattr(resumed.history, name)), name


def test_the_command_goes_on_too(tmp_path: Path) -> None:
    whole, half = tmp_path / "whole", tmp_path / "half"
    assert cli.run([*FEW, "--state", str(whole)]) == 0
    line = [*RUN, "--demands", "0.5,1,1.5", "--state", str(half)]
    assert cli.run([*line, "--slots", "150"]) == 0
    assert cli.run([*line, "--slots", "300", "--resume"]) == 0
    one, other = load_file(whole), load_file(half)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one if name != "history:latency_us")
    assert cli.run([*line, "--slots", "300", "--resume"]) == 0  # which is over


@pytest.mark.parametrize(
    ("number", "signalled", "done"),
    [(signal.SIGINT, True, 275), (signal.SIGTERM, True, 275), (signal.SIGINT, False, 175)],
)
def test_an_interrupt_shows_and_saves_what_is_done(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    signalled: bool,
    done: int,
) -> None:
    """The chunk that a signal meets is finished; one that fails (a second signal) has not been."""
    state, figure, results = (tmp_path / name for name in ("s", "f.png", "r.json"))
    write, calls = History.write, iter(range(100))

    def interrupted(*arguments: Any) -> None:
        if next(calls) == 3:  # after 1, 2 and 4 blocks
            os.kill(os.getpid(), number)
            if not signalled:
                raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(History, "write", interrupted)
    line = [*FEW, "--state", str(state)]
    assert cli.run([*line, "--figure", str(figure), "--json", str(results)]) == 128 + number
    shown = capsys.readouterr()
    assert shown.err == f"interrupted; --resume goes on from {state}\n"
    assert f"slot {done} of 300" in shown.out
    assert figure.exists()
    assert Results.from_json(results).rows[0].measures["slots"].value == done
    monkeypatch.undo()
    assert cli.run([*line, "--resume"]) == 0
    assert cli.run([*FEW, "--state", str(tmp_path / "whole")]) == 0
    one, other = load_file(state), load_file(tmp_path / "whole")
    assert torch.equal(one["history:rate_bps_hz"], other["history:rate_bps_hz"])


def test_an_interrupt_in_compiled_code_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There it comes back as the cause of another error, before the run begins, too."""

    def compiled(*_: Any) -> None:
        raise SystemError("returned a result with an exception set") from KeyboardInterrupt()

    monkeypatch.setattr(DemandRun, "_prepared", compiled)
    assert cli.run(FEW) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_terminal_is_kept_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_SECONDS_A_FRAME", 0.0)
    screen = Console(file=io.StringIO(), force_terminal=True, width=100, height=20)
    assert command.watch(made("1,0.5", 200), screen, lambda: None) is None
    shown = screen.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "slot 25 of 200" in shown
    assert re.search(r"slots/s, 0:00 left", shown)
    assert shown.rstrip().count("slot 200 of 200") >= 1


def text_of(standing: Standing, rows: int | None = None) -> list[str]:
    screen = Console(file=io.StringIO(), width=100)
    screen.print(standing_table(standing, Pace(windows=2, slots=4000, slots_per_s=20.0), rows))
    return screen.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue]


def test_the_table_tells_who_has_what() -> None:
    standing = Standing(
        window=1,
        slot=1000,
        demand_bps_hz=torch.tensor([2.0, 1.0, 0.0]),
        moving_bps_hz=torch.tensor([1.0, 0.96, 0.5]),
        mean_bps_hz=torch.tensor([1.2, 0.9, 0.4]),
        on=torch.tensor([1.0, 0.5, 0.25]),
        power_share=torch.tensor([0.9, 0.4, 0.2]),
        multiplier=torch.tensor([3.25, 0.5, 0.0]),
    )
    lines = text_of(standing)
    assert lines[0].strip() == "window 2 of 2, slot 1,000 of 4,000, 20 slots/s, 2:30 left"
    rows = [line.split() for line in lines if re.match(r"\s+\d", line)]
    assert rows[0] == ["1", "2.00", "1.00", "1.20", "100", "90", "3.25", "no"]
    assert rows[1] == ["2", "1.00", "0.96", "0.90", "50", "40", "0.50", "yes"]
    assert rows[2] == ["3", "–", "0.50", "0.40", "25", "20", "0.00", "–"]
    short = text_of(standing, rows=1)
    assert [line.split()[0] for line in short if re.match(r"\s+\d", line)] == ["1"]
    assert any("and 2 more users, who miss less" in line for line in short)


def test_a_run_is_a_function_of_its_seed(tmp_path: Path) -> None:
    objectives = []
    for seed in ("0", "0", "1"):
        line = [*FEW, "--control", "time-sharing", "--seed", seed, "--json", str(tmp_path / "r.json")]
        assert cli.run(line) == 0
        objectives.append(Results.from_json(tmp_path / "r.json").rows[0].objective)
    assert objectives[0] == objectives[1] != objectives[2]


def test_places_stay_unless_they_are_drawn_anew() -> None:
    for redraw, places in ((None, 1), (50, 5)):
        links = LinkSource(bundled_snapshot("munich_d2d"), 3, LinkTerms(), redraw_every=redraw)
        stream = SlotStream(links)
        place = stream.start(torch.Generator().manual_seed(0))
        seen = set()
        for _ in range(25):
            part, place = stream.take(place, 10)
            seen.add(tuple(part.mean_gain.flatten().tolist()))
        assert len(seen) == places


NUMBER = "demands: must be numbers in bit/s/Hz, or a .csv or .json file, received"
OWN = ["--state", "{folder}/own", "--resume"]
BAD = {
    "negative": ([*RUN, "--demands", "1,-2"], r"demands: must be finite and not negative, received -2.0"),
    "nan": ([*RUN, "--demands", "1,nan"], "demands: must be finite .* received nan"),
    "infinite": ([*RUN, "--demands", "inf"], "demands: must be finite .* received inf"),
    "word": ([*RUN, "--demands", "1,x"], f"{NUMBER} 'x'"),
    "gap": ([*RUN, "--demands", "1,,2"], f"{NUMBER} ''"),
    "uneven": ([*RUN, "--demands", "1,2;1,2,3"], "demands: must be one a link, received 3 for 2 links"),
    "no file": ([*RUN, "--demands", "{folder}/none.csv"], "demands: must be an existing file, received .*none.csv"),
    "a word in a file": ([*RUN, "--demands", "{folder}/word.csv"], f"{NUMBER} 'many'"),
    "uneven file": ([*RUN, "--demands", "{folder}/uneven.csv"], "demands: must be one a link, received 1 for 2 links"),
    "zero slots": ([*RUN, "--demands", "{folder}/zero.csv"], "slots: must be at least 1, received 0"),
    "part of a slot": (
        [*RUN, "--demands", "{folder}/part.csv"],
        "slots: must be a number of at least 1, received '1.5'",
    ),
    "too many slots": (
        [*RUN, "--demands", "{folder}/short.csv", "--slots", "31"],
        "slots: must be at most the 30 of .*received 31",
    ),
    "empty": ([*RUN, "--demands", "{folder}/empty.csv"], "demands: must hold a window a row, received none"),
    "no JSON": ([*RUN, "--demands", "{folder}/broken.json"], "demands: must be JSON"),
    "an object": ([*RUN, "--demands", "{folder}/object.json"], "demands: must be a list of lists"),
    "lists of lists of lists": ([*RUN, "--demands", "{folder}/deep.json"], NUMBER),
    "no text": ([*RUN, "--demands", "{folder}/bytes.csv"], "demands: must be a readable text file"),
    "no slots": ([*FEW, "--slots", "0"], "slots: must be at least 1, received 0"),
    "few slots": ([*RUN, "--demands", "1;2;3", "--slots", "2"], "slots: must be at least 3, one a window"),
    "other size": (
        [*FEW, "--allocator", "{central}", "--control", "time-sharing"],
        "instance: must have 4 links, received 3",
    ),
    "no weights": (
        [*FEW, "--allocator", "max-power"],
        "control: must be time-sharing, since max-power reads no weights, received online-dual",
    ),
    "allocator": ([*FEW, "--allocator", "best"], "allocator: must be .*wmmse.*received 'best'"),
    "other policy": ([*FEW, "--allocator", "slice-gnn-marginal"], "policy: must serve demands, received a Slice"),
    "update": ([*FEW, "--update", "printed"], "update: must go with --control time-sharing"),
    "step": ([*FEW, "--step", "-1"], "step: must be positive and finite, received -1"),
    "batch": ([*FEW, "--control", "time-sharing", "--batch", "0"], "batch: must be at least 1 slot"),
    "snr": ([*FEW, "--scenario", "metagnn", "--snr-db", "3"], "snr_db: must go with the scenario rayleigh"),
    "power": ([*FEW, "--power-dbm", "3"], "power_dbm: must be left to --snr-db"),
    "scenario": ([*FEW, "--scenario", "hml"], "scenario: must be one of metagnn, .*received 'hml'"),
    "both": ([*FEW, "--scenario", "metagnn", "--snapshot", "munich_d2d"], "exactly one must be given"),
    "redraw": ([*FEW, "--redraw-every", "0"], "redraw_every: must be None or at least 1 slot, received 0"),
    "figure": ([*FEW, "--figure", "{folder}/f.gif"], "figure: must end in .png, .svg or .pdf"),
    "folder": ([*FEW, "--state", "{folder}/none/s"], "state: must lie in an existing folder"),
    "resume": ([*FEW, "--resume"], "resume: must go with the --state to go on from"),
    "no state": ([*FEW, "--resume", "--state", "{folder}/s"], "state: must be an existing file"),
    "foreign state": ([*FEW, "--resume", "--state", "{folder}/foreign"], "state: must be a whole safe"),
    "other demands": ([*RUN, "--demands", "1,3", "--slots", "200", *OWN], "state: must be of the same demands"),
    "other users": ([*FEW, *OWN], "state: must fit the run"),
    "other seed": ([*RUN, "--demands", "1,2", *OWN, "--seed", "1"], "state: must be of seed 1, received .* of 0"),
    "fewer slots": ([*RUN, "--demands", "1,2", "--slots", "50", *OWN], "slots: must be at least those"),
    "weights as state": ([*FEW, "--resume", "--state", "{central}"], "state: must be that of a run"),
}  # fmt: skip
FILES = {
    "word.csv": "1,2\n3,many\n",
    "uneven.csv": "1,2\n3\n",
    "short.csv": "slots,a\n10,1\n20,2\n",
    "zero.csv": "slots,a\n0,1\n",
    "part.csv": "slots,a\n1.5,1\n",
    "empty.csv": "",
    "broken.json": "[[1, 2]",
    "object.json": '{"a": 1}',
    "bytes.csv": "",
    "deep.json": "[[[1]]]",
}


@pytest.fixture(scope="module")
def files(central: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Paths of what the bad lines name."""
    folder = tmp_path_factory.mktemp("bad")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    (folder / "foreign").write_bytes(b"something else")
    assert cli.run([*RUN, "--demands", "1,2", "--slots", "100", "--state", str(folder / "own")]) == 0
    return {"folder": folder, "central": central}


@each(BAD)
def test_bad_input_gets_one_line(
    line: list[str], message: str, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused(line, message, capsys, files=files)


def test_weights_of_a_policy_serve(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    save_weights(path, PowerGNN("weight", widths=(4,)), {})
    assert cli.run([*FEW, "--slots", "30", "--allocator", str(path)]) == 0
    save_weights(path, PowerGNN("priority", widths=(4,)), {})
    assert cli.run([*FEW, "--slots", "30", "--allocator", str(path)]) == 2


def test_list_names_what_serves_demands(tmp_path: Path) -> None:
    assert cli.run(["list", "--json", str(tmp_path / "r.json")]) == 0
    names = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["settings"]
    assert "demands" in names["problems"]
    assert names["scenarios of demands"] == ["metagnn", "rayleigh", "seven-cells"]
    assert {"state-augmented", "power-gnn"} <= set(names["policies of demands"])
    assert "wmmse" in names["solvers of demands"]
