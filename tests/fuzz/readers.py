"""Targets that read files: each takes bytes, makes a file of them, and loads it."""

import csv
import io
import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from tests.fuzz.draw import Draw, mutated
from tests.fuzz.verdict import refused

from torchrrm.bench import Results
from torchrrm.channels.snapshot import (
    from_sionna_cir,
    from_sionna_h_freq,
    load,
    load_deepmimo,
    oriented,
    strongest_pairs,
)
from torchrrm.learning.checkpoint import Checkpoint, load_checkpoint
from torchrrm.policies import load_policy
from torchrrm.policies.weights import load_weights
from torchrrm.setups.demands import read_schedule

Run = Callable[[bytes], Any]
DTYPES = ("<f4", "<f8", "<f2", ">f8", "<i8", "<u1", "|b1", "<c8", "<c16", "<U5", "|S3", "<M8[s]", "|O")
SIZES = (2, 3, 1, 0, 4, 6)
SHAPES = ((2, 3), (3,), (), (2, 2, 3), (2, 1, 2, 1, 3, 1), (2, 2, 1, 2, 1, 3, 1), (0, 3), (1, 3))
ROLES = ("unknown", "station", "user", "device", "eavesdropper")
KINDS = ("unknown", "macro", "small")
BREAK = b"\n==\n"


def array_of(draw: Draw, shape: tuple[int, ...] | None = None, dtype: str | None = None) -> np.ndarray:
    """A small array of any type and values, or with luck of those that are asked for."""
    if shape is None or draw.chance(10):
        shape = tuple(draw.pick(SIZES) for _ in range(draw.below(8)))
    kind = np.dtype(draw.pick(DTYPES) if dtype is None or draw.chance(10) else dtype)
    if kind.hasobject:
        return np.full(shape, None, dtype=object)
    array = np.zeros(shape, kind)
    if kind.kind in "US":
        array[...] = draw.text().encode("ascii", "replace")
    elif kind.kind in "fc":
        with np.errstate(all="ignore"):
            array[...] = kind.type(draw.pick((1e-9, 0.0, 0.5)))
            for _ in range(draw.below(4) if array.size else 0):
                number = draw.number()
                array.flat[draw.below(array.size)] = (
                    number if abs(number) < 1e300 or number != number else np.inf
                )
    else:
        array[...] = np.asarray(draw.below(3)).astype(kind)
    return array


def words_of(draw: Draw, shape: tuple[int, ...], words: tuple[str, ...]) -> np.ndarray:
    """Words of roles or kinds, mostly of the known ones; one word for all, or one for each."""
    count = draw.pick((shape, (), (1,)))
    chosen = [
        draw.pick(words) if not draw.chance(20) else draw.text() for _ in range(max(1, math.prod(count)))
    ]
    text = np.array([word.encode("ascii", "replace").decode() for word in chosen])
    return text.reshape(count)


def archive_bytes(folder: Path) -> Run:
    """Any bytes as a `.npz`."""
    return lambda data: refused(load, _written(folder / "a.npz", data))


def archive_members(folder: Path) -> Run:
    """Bytes of members, in an archive that is whole."""

    def run(data: bytes) -> None:
        with zipfile.ZipFile(folder / "a.npz", "w") as archive:
            for member in dict.fromkeys(data.split(BREAK)):
                name, _, content = member.partition(b"\n")
                archive.writestr(name.decode("latin-1")[:40].replace("\x00", "") or "a.npy", content)
        refused(load, folder / "a.npz")

    return run


def snapshot_arrays(folder: Path) -> Run:
    """A whole archive of arrays of our names, with shapes, types and values that need not fit."""
    tensors: dict[str, tuple[tuple[int, ...], str | tuple[str, ...]]] = {
        "gain": ((2, 3), "<f4"),
        "gain_db": ((2, 3), "<f4"),
        "channel": ((2, 2, 1, 3, 1), "<c8"),
        "frequency_offset_hz": ((2,), "<f8"),
        "rx_position_m": ((2, 3), "<f4"),
        "tx_position_m": ((3, 3), "<f4"),
        "rx_role": ((2,), ROLES),
        "tx_role": ((3,), ROLES),
        "rx_kind": ((2,), KINDS),
        "tx_kind": ((3,), KINDS),
        "los": ((2, 3), "|b1"),
        "carrier_hz": ((), "<f8"),
        "noise_psd_w_per_hz": ((), "<f8"),
        "name": ((), "<U5"),
        "channel_scale": ((), "<U5"),
    }

    def run(data: bytes) -> None:
        draw = Draw(data)
        version = draw.pick((2, 1))
        arrays: dict[str, Any] = {"schema": "torchrrm-snapshot", "version": version}
        for name, (shape, dtype) in tensors.items():
            if name == "gain" or draw.below(3) == 2:
                if isinstance(dtype, tuple):
                    arrays[name] = (
                        array_of(draw, shape, "<i8") if version == 1 else words_of(draw, shape, dtype)
                    )
                else:
                    arrays[name] = array_of(draw, shape, dtype)
        if draw.chance(8):
            arrays[draw.pick(("schema", "version", "meta", "a"))] = array_of(draw)
        np.savez(folder / "a.npz", **arrays)
        snapshot = refused(load, folder / "a.npz")
        if not isinstance(snapshot, ValueError):
            refused(snapshot.reciprocal)
            refused(oriented, snapshot, draw.pick(("uplink", "downlink")))
            refused(strongest_pairs, snapshot)

    return run


def munich_arrays(folder: Path) -> Run:
    """The raw arrays of a set of Munich, one or more of them replaced."""
    rng = np.random.default_rng(0)
    whole = {
        "meta": np.array(json.dumps({"freq_hz": 3.5e9})),
        "bs_pos": np.zeros((1, 3)),
        "user_pos": np.zeros((4, 3)),
        "eve_pos": np.zeros((2, 3)),
        "gain_bs_db": -90.0 - rng.random(4),
        "gain_eve_db": -90.0 - rng.random((4, 2)),
        "h_bs": rng.random((4, 3, 2)),
        "h_eve": rng.random((4, 2, 2, 2)),
        "freq_offset_hz": np.arange(3.0),
        "freq_offset_eve_hz": np.arange(2.0),
        "los_bs": np.ones(4, dtype=bool),
        "los_eve": np.ones((4, 2), dtype=bool),
    }

    def run(data: bytes) -> None:
        draw, arrays = Draw(data), dict(whole)
        for _ in range(draw.below(4)):
            name = draw.pick(sorted(whole))
            arrays[name] = array_of(draw, whole[name].shape, whole[name].dtype.str)
        np.savez(folder / "a.npz", **arrays)
        refused(load, folder / "a.npz")

    return run


def gain_table(folder: Path) -> Run:
    """Any text as a table of gains, RSRP or path losses."""

    def run(data: bytes) -> None:
        path = _written(folder / "a.csv", data)
        for reading in ({}, {"quantity": "rsrp", "reference_dbm": 18.0}, {"quantity": "pathloss"}):
            refused(load, path, **reading)

    return run


def sionna_arrays(folder: Path) -> Run:
    """A whole archive of arrays under Sionna's names, of any shapes, types and values."""
    names: dict[str, tuple[tuple[int, ...], str]] = {
        "a": ((2, 1, 3, 1, 4, 2), "<c8"),
        "tau": ((2, 3, 4), "<f8"),
        "h_freq": ((1, 2, 1, 3, 1, 2, 2), "<c8"),
        "cfr": ((2, 1, 3, 1, 2, 2), "<c8"),
        "frequency_offset_hz": ((2,), "<f8"),
        "tx_role": ((3,), "<U5"),
        "rx_position_m": ((2, 3), "<f4"),
    }

    def run(data: bytes) -> None:
        draw = Draw(data)
        chosen = [name for name in names if draw.below(3)] or ["cfr"]
        arrays: dict[str, Any] = {name: array_of(draw, *names[name]) for name in chosen}
        np.savez(folder / "a.npz", **arrays)
        refused(load, folder / "a.npz")

    return run


def deepmimo(folder: Path) -> Run:
    """A folder of DeepMIMO, its parameters and matrices mutated."""
    params = {
        "rt_params": {"frequency": 3.5e9},
        "scene": {"num_scenes": 1},
        "txrx_sets": {"a": {"id": 0, "is_tx": True}},
    }
    shapes = {
        "power": (3, 2),
        "phase": (3, 2),
        "delay": (3, 2),
        "inter": (3, 2),
        "rx_pos": (3, 3),
        "tx_pos": (1, 3),
    }
    place = folder / "scenario"
    place.mkdir()

    def run(data: bytes) -> None:
        draw = Draw(data)
        for path in place.iterdir():
            path.unlink()
        text = json.dumps(mutated(params, draw) if draw.chance(4) else params)
        (place / "params.json").write_text(text if not draw.chance(20) else draw.text(), "utf-8", "replace")
        for matrix, shape in shapes.items():
            if not draw.chance(16):
                name = f"{matrix}_t000_tx000_r{draw.pick((1, 1, 1, 2, 0)):03}.npz"
                arrays: dict[str, Any] = {matrix: array_of(draw, shape, "<f4")}
                np.savez(place / name, **arrays)
        offset = draw.pick((None, [0.0, 1e6], [], 1.0, [float("nan")], [[1.0]], ["a"], [1e308], [None]))
        refused(load_deepmimo, place, frequency_offset_hz=offset)

    return run


def sionna(folder: Path) -> Run:
    """Arrays as Sionna gives them, of any shapes, types and values."""

    def run(data: bytes) -> None:
        draw = Draw(data)
        offset = array_of(draw, (2,), "<f8")
        fields = {"name": draw.text()} if draw.chance(8) else {}
        if draw.below(2):
            scale = array_of(draw, draw.pick(((1, 2, 3), (), (3,))), "<f8") if draw.below(2) else None
            response = array_of(draw, (1, 2, 1, 3, 1, 2, 2), "<c8")
            refused(
                from_sionna_h_freq, response, frequency_offset_hz=offset, large_scale_gain=scale, **fields
            )
            return
        batch = (1,) if draw.below(2) else ()
        a: Any = array_of(draw, (*batch, 2, 1, 3, 1, 4, 2), "<c8")
        tau = array_of(draw, draw.pick(((*batch, 2, 3, 4), (*batch, 2, 1, 3, 1, 4))), "<f8")
        if draw.chance(4):
            a = (a.real, a.imag if draw.below(2) else tau)
        refused(from_sionna_cir, a, tau, frequency_offset_hz=offset, **fields)

    return run


def weights_bytes(folder: Path) -> Run:
    """Any bytes as a file of weights."""

    def run(data: bytes) -> None:
        path = _written(folder / "a.safetensors", data)
        refused(load_weights, path)
        refused(load_policy, path)

    return run


def weights_header(folder: Path) -> Run:
    """Weights of a policy that ships, their header and tensors mutated; the file is whole."""
    files = [_split(path) for path in _shipped()]

    def run(data: bytes) -> None:
        draw = Draw(data)
        tensors, header = draw.pick(files)
        for _ in range(1 + draw.below(2)):
            header = mutated(header, draw)
        refused(load_policy, _safetensors(folder / "a.safetensors", _tensors(tensors, draw), header))

    return run


def checkpoint(folder: Path) -> Run:
    """A checkpoint of a run of two parameters, as bytes or mutated."""
    first = Checkpoint(
        {"method": "TrainerSettings", "settings": {"steps": 3, "rate": 0.1}},
        0,
        {
            "parameters": {"a": torch.zeros(2)},
            "generator": {"state": torch.Generator().get_state()},
            "losses": {},
        },
    )
    header = {"schema": 1, "identity": first.identity, "step": 1}
    tensors = {"parameters:a": torch.zeros(2), "generator:state": torch.Generator().get_state()}
    tensors |= {"losses:loss": torch.zeros(1, dtype=torch.float64)}
    path = folder / "a.safetensors"

    def run(data: bytes) -> None:
        draw = Draw(data)
        if draw.below(3) == 2:
            _written(path, draw.rest())
        else:
            told = header if draw.below(3) == 2 else mutated(header, draw)
            _safetensors(path, _tensors(tensors, draw), told)
        refused(load_checkpoint, path, first)

    return run


def results(folder: Path) -> Run:
    """Results as text, or as JSON of which parts are replaced."""
    from tests.fuzz.samples import RESULTS

    def run(data: bytes) -> None:
        draw = Draw(data)
        if draw.below(4) == 3:
            refused(Results.from_json, _written(folder / "a.json", draw.rest()))
            return
        value = json.loads(RESULTS)
        for _ in range(1 + draw.below(3)):
            value = mutated(value, draw)
        found = refused(Results.from_json, json.dumps(value))
        if not isinstance(found, ValueError):
            refused(found.to_json)

    return run


def schedule(folder: Path) -> Run:
    """Demands as words or a file, with numbers of slots."""

    def run(data: bytes) -> None:
        draw = Draw(data)
        slots = draw.pick((None, 10, 1000, 0, -1, 2**31, 2**63, 10**30))
        how = draw.below(4)
        if how == 0:
            refused(read_schedule, draw.rest().decode("utf-8", "replace"), slots)
        elif how == 1:
            value = [[0.5, 1.0], [1.0, 0.5]]
            for _ in range(1 + draw.below(3)):
                value = mutated(value, draw)
            refused(read_schedule, str(_written(folder / "a.json", json.dumps(value).encode())), slots)
        elif how == 2:
            text = io.StringIO()
            rows = [["slots", "a"], *([draw.pick((5, "0.5", draw.number())), draw.value()] for _ in range(3))]
            csv.writer(text).writerows(rows[draw.below(2) :])
            refused(
                read_schedule,
                str(_written(folder / "a.csv", text.getvalue().encode("utf-8", "replace"))),
                slots,
            )
        else:
            ending = draw.pick((".csv", ".json"))
            refused(read_schedule, str(_written(folder / f"a{ending}", draw.rest())), slots)

    return run


def run_state(folder: Path) -> Run:
    """The state of a run, as bytes or mutated, to go on from."""
    from tests.fuzz.samples import demand_run

    path, saved = folder / "a.safetensors", folder / "saved.safetensors"
    demand_run(blocks=2).save(saved, {"seed": 0})
    tensors, header = _split(saved)

    def run(data: bytes) -> None:
        draw = Draw(data)
        if draw.below(4) == 3:
            _written(path, draw.rest())
        else:
            told = header if draw.below(3) == 2 else mutated(header, draw)
            _safetensors(path, _tensors(tensors, draw), told)
        again = demand_run(blocks=0)
        if not isinstance(refused(again.resume, path, {"seed": 0}), ValueError) and not again.done:
            refused(again.advance)

    return run


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _shipped() -> list[Path]:
    import torchrrm.policies

    folder = Path(torchrrm.policies.__file__).parent / "pretrained"
    return sorted(path for path in folder.glob("*.safetensors") if path.stat().st_size < 200_000)


def _split(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    from torchrrm.policies.weights import read_tensors

    return read_tensors(path)


def _tensors(whole: dict[str, torch.Tensor], draw: Draw) -> dict[str, torch.Tensor]:
    """The tensors, or with luck with one of another shape, type, name or value."""
    how, name = draw.below(12), draw.pick(sorted(whole))
    if how == 1:
        return {key: value for key, value in whole.items() if key != name}
    if how == 2:
        return whole | {draw.text().encode("utf-8", "replace").decode(): torch.zeros(1)}
    if how == 3:
        return whole | {
            name: whole[name].to(draw.pick((torch.int64, torch.complex64, torch.bool, torch.float64)))
        }
    if how == 4:
        return whole | {name: whole[name].flatten()[:1]}
    if how == 5:
        return whole | {name: torch.full_like(whole[name], draw.pick((0, 1, 255)))}
    if how == 6 and whole[name].is_floating_point():
        return whole | {name: torch.full_like(whole[name], draw.pick((float("nan"), float("inf"), -1.0)))}
    return whole


def _safetensors(path: Path, tensors: dict[str, torch.Tensor], header: Any) -> Path:
    plain = {name: value.contiguous() for name, value in tensors.items()}
    text = json.dumps(header)
    return _written(path, safetensors.torch.save(plain, {"torchrrm": text}))
