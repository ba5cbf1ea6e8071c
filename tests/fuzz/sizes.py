"""Targets whose inputs are small and say much: archives of large arrays of zeros, and texts of parts repeated."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tests.fuzz.draw import Draw
from tests.fuzz.readers import Run
from tests.fuzz.verdict import refused

from torchrrm.bench import Results
from torchrrm.channels.snapshot import load
from torchrrm.setups.demands import read_schedule

LAYOUTS: tuple[tuple[dict[str, Any], dict[str, tuple[int, ...]]], ...] = (
    (
        {"schema": "torchrrm-snapshot", "version": 2},
        {"gain": (0, 1), "los": (0, 1), "rx_position_m": (0, 2), "rx_role": (0,)},
    ),
    (
        {"schema": "torchrrm-snapshot", "version": 2, "channel_scale": "sqrt_gain"},
        {"gain_db": (0, 1), "channel": (3, 0, 4, 1, 4), "frequency_offset_hz": (3,)},
    ),
    (
        {"meta": json.dumps({"freq_hz": 3.5e9})},
        {
            "gain_bs_db": (0,),
            "gain_eve_db": (0, 1),
            "h_bs": (0, 3, 5),
            "h_eve": (0, 1, 3, 5),
            "freq_offset_hz": (3,),
            "freq_offset_eve_hz": (3,),
            "bs_pos": (6, 2),
            "user_pos": (0, 2),
            "eve_pos": (1, 2),
            "los_bs": (0,),
            "los_eve": (0, 1),
        },
    ),
    ({}, {"a": (0, 4, 1, 4, 3, 6), "tau": (0, 1, 3), "frequency_offset_hz": (7,)}),
    ({}, {"h_freq": (6, 0, 4, 1, 4, 6, 3), "frequency_offset_hz": (3,)}),
)
"""Arrays that are told, and the axes of others by their numbers, which stand for the same size in all of them."""
LENGTHS = (2, 1, 3, 50, 300, 1000, 3000, 0)
"""Lengths of axes; one may be as long as the largest array may be."""
MOST_BYTES = 40e6


def archive_sizes(folder: Path) -> Run:
    """A small archive of large arrays of zeros, whose shapes fit each other but for one."""

    def run(data: bytes) -> None:
        draw = Draw(data)
        told, axes = draw.pick(LAYOUTS)
        sizes = [draw.pick(LENGTHS) for _ in range(8)]
        sizes[2], sizes[5] = 3, 2
        if draw.below(3) == 1:
            sizes[draw.pick((0, 1, 3, 7))] = 10 ** (3 + draw.below(5))
        arrays = dict(told)
        for name, numbers in axes.items():
            dtype = np.dtype(draw.pick(("<f4", "|i1", "<f2", "<f8", "<c8", "|b1", "<U8")))
            shape = tuple(sizes[number] for number in numbers)
            if draw.chance(20):
                shape = shape[::-1]
            if math.prod(shape) * dtype.itemsize > MOST_BYTES:
                return
            arrays[name] = np.zeros(shape, dtype)
        np.savez_compressed(folder / "a.npz", allow_pickle=False, **arrays)
        del arrays
        refused(load, folder / "a.npz")

    return run


TOKENS = (
    "[]",
    "1",
    "-1.5",
    "{}",
    '""',
    '{"":0}',
    "[[[[[[[[[[[[]]]]]]]]]]]]",
    "é😀",
    "\u2003-1",
    "NaN",
    "\x00",
    '"',
)
BREAKS = (",", "\n", "", ", ", ";", "[", "{")


def text_sizes(folder: Path) -> Run:
    """A long text of few parts that are repeated, as each kind of file that is a text."""
    from tests.fuzz.samples import RESULTS

    scenario = folder / "scenario"
    scenario.mkdir()
    readers: tuple[tuple[str, Callable[[Path], Any]], ...] = (
        ("a.json", Results.from_json),
        ("a.json", lambda path: read_schedule(str(path))),
        ("a.csv", lambda path: read_schedule(str(path))),
        ("a.csv", load),
        ("scenario/params.json", lambda path: load(path.parent)),
    )
    whole = ("[", "]"), ('{"schema":1,"rows":[', "]}"), ("", ""), (RESULTS[:-3], "}"), ("slots,a\n", "")

    def run(data: bytes) -> None:
        draw = Draw(data)
        name, read = draw.pick(readers)
        begin, end = draw.pick(whole)
        parts = [draw.pick(TOKENS) + draw.pick(BREAKS) for _ in range(1 + draw.below(3))]
        text = "".join(parts) * (10 ** draw.below(7))
        path = folder / name
        path.write_text(begin + text[: 2 * 10**6] + end, "utf-8")
        refused(read, path)

    return run
