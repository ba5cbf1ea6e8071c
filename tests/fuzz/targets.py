"""All targets by name: what is run on bytes, what they start from, and how many inputs a campaign tries."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tests.fuzz import commands, readers, sessions, sizes
from tests.fuzz.readers import BREAK, Run
from tests.fuzz.samples import RESULTS

from torchrrm.channels.snapshot import Snapshot, save_snapshot

__all__ = ["FOUND", "TARGETS", "Target"]

FOUND = Path(__file__).parent / "found"
"""Inputs that showed faults, since mended: `target-what.bin`."""


@dataclass(frozen=True)
class Target:
    """What is fuzzed.

    Attributes:
        make: what runs an input, made with a folder of its own.
        runs: inputs of a campaign.
        seconds: after which it ends with fewer.
        seeds: valid inputs; sequences of bytes that choose at random are added.
    """

    make: Callable[[Path], Run]
    runs: int
    seeds: Callable[[Path], list[bytes]] = lambda folder: []
    seconds: int = 30


def _archives(folder: Path) -> list[bytes]:
    snapshot = Snapshot(
        gain=np.full((2, 3), 1e-9),  # pyright: ignore[reportArgumentType]
        channel=np.full((1, 2, 1, 3, 1), 1e-5j),  # pyright: ignore[reportArgumentType]
        frequency_offset_hz=np.zeros(1),  # pyright: ignore[reportArgumentType]
    )
    return [
        save_snapshot(folder / "a.npz", snapshot, compact=compact).read_bytes() for compact in (False, True)
    ]


def _members(folder: Path) -> list[bytes]:
    import io
    import zipfile

    found = []
    for data in _archives(folder):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = [name.encode() + b"\n" + archive.read(name) for name in archive.namelist()]
        found.append(BREAK.join(parts))
    return found


def _weights(folder: Path) -> list[bytes]:
    import torch

    tensors = {"a": torch.zeros(2)}
    header = {"schema": 1, "policy": "SliceGNN", "arguments": {"kind": "data-rate"}, "provenance": {}}
    return [readers._safetensors(folder / "a", tensors, header).read_bytes()]


TARGETS = {
    "archive-bytes": Target(readers.archive_bytes, 15_000, _archives),
    "archive-members": Target(readers.archive_members, 8_000, _members),
    "archive-sizes": Target(sizes.archive_sizes, 300),
    "text-sizes": Target(sizes.text_sizes, 300),
    "snapshot-arrays": Target(readers.snapshot_arrays, 5_000),
    "munich-arrays": Target(readers.munich_arrays, 2_000),
    "gain-table": Target(
        readers.gain_table, 40_000, lambda folder: [b"macro,small\n-80,-inf\n# a\n-1e2,-250\n"]
    ),
    "deepmimo": Target(readers.deepmimo, 3_000),
    "sionna": Target(readers.sionna, 15_000),
    "sionna-arrays": Target(readers.sionna_arrays, 3_000),
    "weights-bytes": Target(readers.weights_bytes, 40_000, _weights),
    "weights-header": Target(readers.weights_header, 1_000),
    "checkpoint": Target(readers.checkpoint, 20_000),
    "results": Target(readers.results, 40_000, lambda folder: [b"\3" + RESULTS.encode()]),
    "schedule": Target(
        readers.schedule,
        60_000,
        lambda folder: [b"\0\0" + b"0.5,1;1,2", b"\0\3\0slots,a\n5,1\n", b"\0\3\1[[1,2],[2,1]]"],
    ),
    "run-state": Target(readers.run_state, 2_000),
    "session": Target(sessions.session, 1_500),
    "command-line": Target(commands.command_line, 500, seconds=80),
    "command-files": Target(commands.command_files, 500, seconds=80),
}
"""Inputs of a campaign: 257 100, as far as the time allows."""
