"""Targets that run commands in this process: arguments, and the files that they name."""

import dataclasses
import shutil
import types
import typing
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tests.fuzz.draw import Draw
from tests.fuzz.readers import Run
from tests.fuzz.verdict import commanded

from torchrrm.channels.snapshot import Snapshot, save_snapshot
from torchrrm.cli import COMMANDS

SMALL = {
    "users": 4,
    "stations": 6,
    "links": 3,
    "instances": 1,
    "slots": 30,
    "steps": 1,
    "batch_size": 2,
    "epochs": 1,
}
SMALL |= {"samples": 2, "threads": 1, "antennas": 8, "batch": 5, "redraw_every": 10, "seed": 3, "drop": 0}
ALWAYS = ("users", "stations", "links", "instances", "steps", "batch_size", "epochs", "samples", "slots")
"""Sizes that are always told where there are any: what is usual takes long."""
LONG = ("demo", "reproduce", "benchmark")
"""Commands whose work is never small; they get at least one argument that they must refuse."""
INTEGERS = (
    "0",
    "-1",
    "2",
    "999999999999",
    "9" * 30,
    "1.5",
    "nan",
    "",
    "x",
    "-9223372036854775809",
    "1e3",
    "٣",
)
FLOATS = (
    "1.0",
    "0",
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e309",
    "1e308",
    "-1e308",
    "5e-324",
    "",
    "x",
    "30",
    "-100",
    "1e4",
)
NAMES = (
    "",
    ",",
    "µ",
    "none",
    "max-power",
    "wmmse",
    "equal-share",
    "exact,exact",
    "a" * 5000,
    "\udce9",
    "../x",
    "--seed",
)
NAMES += (
    "hml",
    "rayleigh",
    "munich_d2d",
    "munich_miso64",
    "power-gnn",
    "usrmnet",
    "metagnn",
    "hbgnn",
    "slice-gnn-marginal",
)
NAMES += (
    "weighted-mmse",
    "all",
    "secrecy",
    "secrecy,data-rate",
    "one-winner",
    "0.5,1",
    "0.5,x",
    "1;2",
    "urban",
    "/",
    "\x1b[2J",
)


def options_of(command: Any) -> dict[str, Any]:
    """Types of a command's options by name, those of its parts among them."""
    origin = typing.get_origin(command) or command
    found: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(origin, include_extras=False).items():
        if isinstance(hint, typing.TypeVar):
            (hint,) = typing.get_args(command)
        found |= options_of(hint) if dataclasses.is_dataclass(hint) else {name: hint}
    return found


def folder_of(folder: Path) -> None:
    """Files for commands to name, and a place to write to."""
    gain = np.full((2, 4), 1e-9)
    cell: Any = {"gain": gain, "rx_role": ("station", "eavesdropper"), "tx_position_m": np.zeros((4, 3))}
    save_snapshot(folder / "cell.npz", Snapshot(**cell))
    pairs: Any = {"gain": np.where(np.eye(4, dtype=bool), 1e-9, 1e-12)}
    save_snapshot(folder / "pairs.npz", Snapshot(**pairs))
    (folder / "demands.csv").write_text("slots,a,b\n25,0.5,1\n25,1,0.5\n")
    (folder / "demands.json").write_text("[[0.5, 1.0], [1.0, 0.5]]")
    (folder / "gains.csv").write_text("-80,-120\n-120,-80\n")
    (folder / "empty").write_bytes(b"")
    (folder / "sub").mkdir(exist_ok=True)


FILES = (
    "cell.npz",
    "pairs.npz",
    "demands.csv",
    "demands.json",
    "gains.csv",
    "empty",
    "sub",
    "none",
    "mutated.npz",
)
OUTS = (
    "a.csv",
    "a.npz",
    "a.json",
    "a.safetensors",
    "a.onnx",
    "a.png",
    "a.html",
    "",
    "none/a.csv",
    "sub",
    "a",
    "a\x00b",
    "é\udce9",
)


def arguments_of(draw: Draw, folder: Path) -> list[str]:
    """A command line: mostly of known options with values of their types, small or absurd."""
    problem = draw.pick(sorted(COMMANDS))
    name = draw.pick(sorted(COMMANDS[problem]))
    options = options_of(COMMANDS[problem][name])
    line = [name]
    for option, hint in options.items():
        if option in ("snapshot", "policy", "recipe") and not _optional(hint):
            line.append(_value(draw, option, hint, folder))
    if "problem" in options:
        line += ["--problem", problem if not draw.chance(30) else draw.pick((*NAMES, *COMMANDS))]
    for option, hint in options.items():
        flag = "--" + option.replace("_", "-")
        if option in ALWAYS or option in ("out", "demands") or draw.chance(6):
            if hint is bool:
                line.append(flag if draw.below(2) == 0 else flag.replace("--", "--no-", 1))
            elif option not in ("snapshot", "policy", "recipe", "problem") or _optional(hint):
                line += [flag, _value(draw, option, hint, folder)]
    if draw.chance(20):
        line.insert(draw.below(len(line)), draw.pick((*NAMES, "--unknown", "--help", "-")))
    if draw.chance(20):
        del line[draw.below(len(line))]
    return [*line, "--threads", "0"] if name in LONG else line


def _optional(hint: Any) -> bool:
    return type(None) in typing.get_args(hint)


def _value(draw: Draw, option: str, hint: Any, folder: Path) -> str:
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    kind = kinds[0] if isinstance(hint, types.UnionType) or _optional(hint) else hint
    if typing.get_origin(kind) is Literal:
        return str(draw.pick(typing.get_args(kind))) if not draw.chance(8) else draw.pick(NAMES)
    if kind is int:
        return str(SMALL.get(option, 1)) if not draw.chance(8) else draw.pick(INTEGERS)
    if kind is float:
        return draw.pick(FLOATS)
    if kind is Path:
        return str(folder / "out" / draw.pick(OUTS)) if option != "tensorboard" else str(folder / "out")
    if option in ("snapshot", "demands") and draw.below(2):
        return str(folder / draw.pick(FILES)) if option == "snapshot" or draw.below(2) else "0.5,1"
    return draw.pick(NAMES)


def command_line(folder: Path) -> Run:
    """Arguments of all commands and problems."""
    folder_of(folder)
    out = folder / "out"

    def run(data: bytes) -> None:
        shutil.rmtree(out, ignore_errors=True)
        (out / "sub").mkdir(parents=True)
        draw = Draw(data)
        line = (
            arguments_of(draw, folder) if not draw.chance(16) else [draw.text() for _ in range(draw.below(5))]
        )
        if any(name in line for name in LONG) and "--threads" not in line:
            return
        commanded(line, out)

    return run


LINES = (
    ("allocate", "{}", "--out", "{out}/a.csv"),
    ("allocate", "{}", "--problem", "sum-rate", "--out", "{out}/a.npz"),
    ("allocate", "{}", "--problem", "association", "--allocator", "max-sum-utility", "--out", "{out}/a.json"),
    ("evaluate", "--snapshot", "{}", "--users", "2", "--instances", "1", "--allocators", "equal-surplus"),
    ("evaluate", "--problem", "sum-rate", "--snapshot", "{}", "--links", "2", "--instances", "1"),
    (
        "run",
        "--demands",
        "{}",
        "--scenario",
        "rayleigh",
        "--allocator",
        "max-power",
        "--control",
        "time-sharing",
    ),
    (
        "run",
        "--demands",
        "0.5,1",
        "--state",
        "{}",
        "--resume",
        "--allocator",
        "max-power",
        "--control",
        "time-sharing",
        "--slots",
        "30",
    ),
    (
        "adapt",
        "{}",
        "--scenario",
        "hml",
        "--users",
        "3",
        "--epochs",
        "1",
        "--samples",
        "1",
        "--out",
        "{out}/a",
    ),
    ("export", "{}", "--out", "{out}/a.onnx"),
    (
        "train",
        "--scenario",
        "hml",
        "--kind",
        "data-rate",
        "--users",
        "3",
        "--steps",
        "1",
        "--batch-size",
        "1",
        "--checkpoint",
        "{}",
        "--out",
        "{out}/a",
    ),
)
ENDINGS = (".npz", ".csv", ".json", ".safetensors", "")


def command_files(folder: Path) -> Run:
    """Commands with a file of any bytes, or a valid one with some replaced, in each place where they read one."""
    folder_of(folder)
    out, shipped = folder / "out", Path(str(_policies()))
    whole = [
        (folder / name).read_bytes()
        for name in ("cell.npz", "pairs.npz", "demands.csv", "demands.json", "gains.csv")
    ]
    whole.append(min((path.read_bytes() for path in shipped.glob("*.safetensors")), key=len))

    def run(data: bytes) -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        draw = Draw(data)
        line, path = draw.pick(LINES), folder / f"mutated{draw.pick(ENDINGS)}"
        if draw.below(3) == 2:
            path.write_bytes(draw.rest())
        else:
            content = bytearray(draw.pick(whole))
            for _ in range(draw.below(4)):
                content[int.from_bytes(draw.take(2), "little") % len(content)] = draw.below(256)
            path.write_bytes(content if not draw.chance(8) else content[: draw.below(len(content))])
        commanded([word.format(path, out=out) for word in line], out)

    return run


def _policies() -> Path:
    import torchrrm.policies

    return Path(torchrrm.policies.__file__).parent / "pretrained"
