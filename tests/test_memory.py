"""Memory that readers take at their peak, measured in processes of their own, against what they account for.

Run as a script it measures each case in a fork of a process that has imported the package, so that the peak is of this
reader alone. The printed JSON has for each case of a group the peak and the most memory that was asked for, in bytes.
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MODULES = (
    "onnxruntime",
    "torchrrm.bench",
    "torchrrm.channels.snapshot",
    "torchrrm.deploy.session",
    "torchrrm.policies",
    "torchrrm.recipes.benchmark.settings",
    "torchrrm.setups.demands",
)
Read = Callable[[], Any]
SIDE = 2400  # of square arrays


def snapshot(compressed: bool = True, **arrays: Any) -> Callable[[Path], Read]:
    """Load a snapshot of our schema."""
    return archive({"schema": "torchrrm-snapshot", "version": 2, **arrays}, compressed)


def archive(arrays: dict[str, Any], compressed: bool = True) -> Callable[[Path], Read]:
    """Load an archive, which must be a snapshot."""

    def make(folder: Path) -> Read:
        from torchrrm.channels.snapshot import load

        write = np.savez_compressed if compressed else np.savez
        write(folder / "a.npz", allow_pickle=False, **arrays)
        return lambda: load(folder / "a.npz")

    return make


def zeros(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


def with_channel(channel: np.ndarray, scale: str, rx: int, tx: int) -> dict[str, Any]:
    """Arrays of a snapshot with a channel at two frequencies."""
    return {
        "gain": np.full((rx, tx), 1e-9),
        "channel": channel,
        "channel_scale": scale,
        "frequency_offset_hz": np.zeros(2),
    }


def munich_uplink(users: int, eavesdroppers: int, offered: int, common: int) -> dict[str, Any]:
    """A set of Munich whose common frequencies may be more than those of the station."""
    return {
        "meta": json.dumps({"freq_hz": 3.5e9}),
        "bs_pos": zeros(1, 3),
        "user_pos": zeros(users, 3),
        "eve_pos": zeros(eavesdroppers, 3),
        "gain_bs_db": np.full(users, -90, np.float16),
        "gain_eve_db": np.full((users, eavesdroppers), -90, np.float16),
        "h_bs": zeros(users, offered, 2, dtype=np.float16),
        "h_eve": zeros(users, eavesdroppers, common, 2, dtype=np.float16),
        "freq_offset_hz": np.zeros(offered),
        "freq_offset_eve_hz": np.zeros(common),
        "los_bs": zeros(users, dtype=bool),
        "los_eve": zeros(users, eavesdroppers, dtype=bool),
    }


def munich_pairs() -> dict[str, Any]:
    shape = (40, 100, 100)
    return {
        "meta": json.dumps({"freq_hz": 3.5e9}),
        "gain_db": np.full(shape, -90, np.float16),
        "h": zeros(*shape, 6, 2, dtype=np.float16),
        "tx_pos": zeros(40, 100, 3),
        "rx_pos": zeros(40, 100, 3),
        "freq_offset_hz": np.zeros(6),
        "los": zeros(*shape, dtype=bool),
    }


def paths(dtype: Any, frequencies: int, *shape: int) -> dict[str, Any]:
    """Paths of Sionna `[rx rx_ant tx tx_ant path time]`."""
    rx, _, tx, _, count, _ = shape
    offset_hz = np.zeros(frequencies)
    return {"a": zeros(*shape, dtype=dtype), "tau": zeros(rx, tx, count), "frequency_offset_hz": offset_hz}


def deepmimo(stations: int, users: int, count: int, offset_hz: list[float] | None) -> Callable[[Path], Read]:
    """Load a scenario of DeepMIMO."""

    def make(folder: Path) -> Read:
        from torchrrm.channels.snapshot import load_deepmimo

        sets = {"a": {"id": 1, "is_tx": True}}
        (folder / "params.json").write_text(
            json.dumps({"rt_params": {"frequency": 3.5e9}, "txrx_sets": sets})
        )
        for station in range(stations):
            matrices = {name: zeros(users, count) for name in ("power", "phase", "delay", "inter")}
            matrices |= {"power": np.full((users, count), -90, np.float32)}
            matrices |= {"rx_pos": zeros(users, 3), "tx_pos": zeros(1, 3)}
            for name, matrix in matrices.items():
                path = folder / f"{name}_t001_tx{station:03}_r000.npz"
                np.savez_compressed(path, allow_pickle=False, **{name: matrix})
        return lambda: load_deepmimo(folder, frequency_offset_hz=offset_hz)

    return make


def text(name: str, content: str, read: Callable[[Path], Any]) -> Callable[[Path], Read]:
    """Read a text; that it may be refused is no matter here."""

    def make(folder: Path) -> Read:
        path = folder / name
        path.write_text(content, encoding="utf-8")

        def tried() -> None:
            with contextlib.suppress(ValueError):
                read(path)

        return tried

    return make


def table(path: Path) -> Any:
    from torchrrm.channels.snapshot import load

    return load(path)


def results(path: Path) -> Any:
    from torchrrm.bench import Results

    return Results.from_json(path)


def demands(path: Path) -> Any:
    from torchrrm.setups.demands import read_schedule

    return read_schedule(str(path))


def parameters(path: Path) -> Any:
    from torchrrm.channels.snapshot import load_deepmimo

    return load_deepmimo(path.parent)


def settings(path: Path) -> Any:
    from torchrrm.recipes.benchmark.settings import claim

    return claim(path.parent, "smoke", 0)


def weights(path: Path) -> Any:
    from torchrrm.policies import load_policy

    return load_policy(path)


def tensors(sizes: dict[str, int], header: str = "{}") -> Callable[[Path], Read]:
    """Read tensors of a file of weights, checkpoint or state: every value is looked at."""

    def make(folder: Path) -> Read:
        import safetensors.torch
        import torch

        from torchrrm.policies.weights import read_tensors

        whole = {name: torch.zeros(size) for name, size in sizes.items()}
        (folder / "a").write_bytes(safetensors.torch.save(whole, {"torchrrm": header}))
        del whole

        def read() -> None:
            with contextlib.suppress(ValueError):
                found, _ = read_tensors(folder / "a")
                [float(value.sum()) for value in found.values()]

        return read

    return make


def policy(dtype: str) -> Callable[[Path], Read]:
    """Make a policy of a file whose numbers are of this type."""

    def make(folder: Path) -> Read:
        import torch

        from torchrrm.policies import CentralPower, load_policy, save_weights

        large = CentralPower(20, hidden=(3000, 2000))
        save_weights(folder / "a", large.to(getattr(torch, dtype)), {})
        return lambda: load_policy(str(folder / "a"))

    return make


def exported(folder: Path) -> Read:
    """Open an exported file with many weights; it is refused after ONNX Runtime has opened it."""
    from onnx import TensorProto, helper

    from torchrrm.deploy import InferenceSession

    count = 8_000_000
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [count], bytes(4 * count), raw=True)
    port = helper.make_tensor_value_info("x", TensorProto.FLOAT, [count])
    node = helper.make_node("Add", ["x", "w"], ["y"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [count])
    graph = helper.make_graph([node], "core", [port], [out], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    (folder / "a.onnx").write_bytes(model.SerializeToString())
    del model, graph, tensor

    def read() -> None:
        with contextlib.suppress(ValueError):
            InferenceSession(folder / "a.onnx")

    return read


NESTED = "[" * 90 + "]" * 90 + ","
KINDS = ("int8", "float32", "float64")
ARRAYS: dict[str, Callable[[Path], Read]] = {
    **{f"gain of {kind}": snapshot(gain=zeros(SIDE, SIDE, dtype=kind)) for kind in KINDS},
    **{f"{kind}, stored": snapshot(False, gain=zeros(SIDE, SIDE, dtype=kind)) for kind in KINDS},
    "gain by columns": snapshot(gain=np.asfortranarray(zeros(SIDE, SIDE))),
    **{f"gain_db of {kind}": snapshot(gain_db=zeros(SIDE, SIDE, dtype=kind)) for kind in KINDS},
    "many receivers": snapshot(gain=zeros(1_000_000, 1, dtype=np.int8), rx_role=np.full(1_000_000, "user")),
    "version 1": archive(
        {
            "schema": "torchrrm-snapshot",
            "version": 1,
            "gain": zeros(1_000_000, 1, dtype=np.int8),
            "rx_kind": np.ones(1_000_000, np.int8),
        }
    ),
    **{
        f"channel of {kind}": snapshot(
            **with_channel(zeros(2, 50, 30, 50, 30, dtype=kind), "absolute", 50, 50)
        )
        for kind in ("complex64", "complex128")
    },
    **{
        f"pairs of {kind}": snapshot(
            **with_channel(zeros(2, 50, 30, 50, 30, 2, dtype=kind), "sqrt_gain", 50, 50)
        )
        for kind in ("int8", "float16", "float32")
    },
    "line of sight": snapshot(gain=zeros(SIDE, SIDE), los=zeros(SIDE, SIDE, dtype=np.int64)),
    "positions": snapshot(
        gain=zeros(20_000, 40, 1),
        rx_position_m=zeros(20_000, 40, 3, dtype=np.float64),
        tx_position_m=zeros(20_000, 1, 3, dtype=np.float64),
    ),
    "munich uplink": archive(munich_uplink(300, 100, 40, 40)),
    "munich frequencies": archive(munich_uplink(1, 1, 500_000, 500_000)),
    "munich pairs": archive(munich_pairs()),
    "paths of complex64": archive(paths(np.complex64, 2, 60, 2, 60, 2, 300, 1)),
    "paths of complex128": archive(paths(np.complex128, 2, 60, 2, 60, 2, 300, 1)),
    "paths of one receiver": archive(paths(np.complex64, 2, 1, 8, 20, 8, 300, 2)),
    "paths at many frequencies": archive(paths(np.complex64, 300, 140, 1, 140, 1, 2, 1)),
    **{
        f"{name} of Sionna": archive({name: zeros(*shape, dtype=np.complex64), "frequency_offset_hz": offset})
        for name, shape, offset in (
            ("h_freq", (20, 40, 2, 40, 2, 2, 20), np.zeros(20)),
            ("cfr", (40, 4, 40, 4, 2, 100), np.zeros(100)),
        )
    },
    "deepmimo": deepmimo(3, 20_000, 30, None),
    "deepmimo at frequencies": deepmimo(6, 10_000, 10, [0.0] * 20),
}
TEXTS: dict[str, Callable[[Path], Read]] = {
    "table of one column": text("a.csv", "-1\n" * 100_000, table),
    "table of one line": text("a.csv", "-1," * 300_000 + "-1", table),
    "table of blanks": text("a.csv", "\u2003-1\u2003," * 100_000 + "-1", table),
    "results of lists": text("a.json", "[" + NESTED * 2_000 + "0]", results),
    "results of a wide text": text("a.json", '["\U0001f600",' + NESTED * 2_000 + "0]", results),
    "results of objects": text("a.json", "[" + '{"":{}},' * 100_000 + "0]", results),
    "results of numbers": text("a.json", "[" + "1.5," * 500_000 + "0]", results),
    "parameters of a folder": text("params.json", "[" + NESTED * 2_000 + "0]", parameters),
    "settings of a folder": text("benchmark.json", "[" + NESTED * 2_000 + "0]", settings),
    "demands of one user": text("a.json", "[" + "[1]," * 50_000 + "[1]]", demands),
    "demands of one window": text("a.json", "[" + "1," * 300_000 + "1]", demands),
    "demands by lines": text("a.csv", "1\n" * 50_000, demands),
    "demands in a line": text("a.csv", "1," * 300_000 + "1", demands),
    "header of lists": tensors({}, "[" + NESTED * 2_000 + "0]"),
    "many empty tensors": tensors({f"{number:x}": 0 for number in range(10_000)}),
}
FILES: dict[str, Callable[[Path], Read]] = {
    "tensors": tensors({"a": 12_000_000}),
    "policy of float32": policy("float32"),
    "policy of bfloat16": policy("bfloat16"),
    "exported file": exported,
}
GROUPS = {"arrays": ARRAYS, "texts": TEXTS, "files": FILES}
SLACKS = {"arrays": 36e6, "texts": 16e6, "files": 36e6}
"""Blocks that are converted at a time, and pages of libraries at their first use."""


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_readers_take_what_they_account_for(group: str, tmp_path: Path) -> None:
    script = [sys.executable, __file__, group, str(tmp_path)]
    # Freed memory goes back at once, so that peaks are those of the readers.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(script, capture_output=True, text=True, check=True, env=environment)
    measured: dict[str, tuple[float, float]] = json.loads(done.stdout)
    slack = SLACKS[group]
    assert set(measured) == set(GROUPS[group])
    assert {name: found for name, found in measured.items() if found[0] > found[1] + slack} == {}
    if group == "arrays":  # whose account is of their own elements, not of the worst text of so many bytes
        assert {name: found for name, found in measured.items() if found[1] > 2 * found[0] + slack} == {}
        assert measured["gain of int8"][1] <= 5.1 * SIDE**2  # bytes: the file's, and float32


def _measure(group: str, folder: Path) -> dict[str, tuple[float, float]]:
    import torch

    for module in MODULES:  # what readers import is no memory of theirs
        importlib.import_module(module)
    torch.set_num_threads(1)
    gc.freeze()  # the collector would look at all of the packages again and again
    found = {}
    for number, (name, make) in enumerate(GROUPS[group].items()):
        place = folder / str(number)
        place.mkdir()
        # Files are written in a process of their own, whose memory a second one does not have.
        found[name] = _forked(lambda make=make, place=place: _peak_and_account(make(place)))
        shutil.rmtree(place)
    return found


def _peak_and_account(read: Read) -> tuple[float, float]:
    """Growth of the resident memory, and the most that a reader has asked for."""
    from torchrrm import files

    asked = [0.0]
    own = files.require_memory

    def noted(name: str, taken: float) -> None:
        asked.append(taken)
        own(name, taken)

    for module in list(sys.modules.values()):
        if getattr(module, "require_memory", None) is own:
            vars(module)["require_memory"] = noted

    def measure() -> tuple[float, float]:
        begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        kept = read()
        peak = 1024.0 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin)
        del kept
        return peak, max(asked)

    return _forked(measure)


def _forked(measure: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """Call in a fork of this process, which starts with the memory that is in use now."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, json.dumps(measure()).encode())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        told = pipe.read()
    if os.waitpid(child, 0)[1]:
        raise ChildProcessError("a reader failed in its own process")
    return json.loads(told)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_measure(sys.argv[1], Path(sys.argv[2]))))
