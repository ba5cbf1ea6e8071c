"""A run of a control loop over slots: it can be watched, stopped, saved and resumed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchrrm.files import differs, printable
from torchrrm.policies.control import Controller, asking
from torchrrm.policies.weights import WeightsError, read_tensors, shape_mismatch, write_tensors
from torchrrm.problems import WeightedSumRate
from torchrrm.records import replace
from torchrrm.setups.demands.channels import ChannelPlace, SlotStream
from torchrrm.setups.demands.history import TRIVIAL, History, Standing, Timetable

__all__ = ["DemandRun"]

_SCHEMA = 1
_MOST_BLOCKS = 4  # 100 slots: what a loop costs besides its slots is then small
_REFRESH_S = 0.1
_SUM_RATE = WeightedSumRate()


@dataclass(frozen=True)
class _Place:
    """All that changes from chunk to chunk, so that one assignment takes a run from one to the next."""

    blocks: int
    channels: ChannelPlace
    state: Any


class DemandRun:
    """A control loop that follows a schedule of demands over the channels of a stream.

    What was done is kept block by block, so that memory does not grow with the slots of a block. An interrupt costs at
    most the chunk that it meets: the run stands where it stood before.

    Args:
        loop: made without demands of its own.
        stream: of channels, of as many links as each window has demands.
        timetable: of the demands.
        generator: channels are drawn from its state.

    Raises:
        ValueError: if the loop does not serve links of this number.
    """

    def __init__(
        self, loop: Controller[Any], stream: SlotStream, timetable: Timetable, *, generator: torch.Generator
    ):
        self.loop, self.stream, self.timetable = loop, stream, timetable
        self.history = History.empty(len(timetable.slots), stream.links)
        channels = stream.start(generator)
        self._at = _Place(0, channels, self._prepared(channels))

    def _prepared(self, channels: ChannelPlace) -> Any:
        """The loop's first state; a slot is tried with it, so that compiling is not taken for running."""
        links, _ = self.stream.take(channels, 1)
        asked = asking(links, self.timetable.schedule[0])
        with torch.no_grad():
            state = self.loop.start(asked)
            self.loop.track(asked, state)
        return state

    @property
    def blocks(self) -> int:
        """That are done."""
        return self._at.blocks

    @property
    def channels(self) -> ChannelPlace:
        """Where the stream stands."""
        return self._at.channels

    @property
    def slots(self) -> int:
        """That are done."""
        return int(self.timetable.slots[: self.blocks].sum())

    @property
    def done(self) -> bool:
        """Whether the schedule is over."""
        return self.blocks == len(self.timetable.slots)

    @property
    def standing(self) -> Standing:
        """How users stand; after at least one block."""
        return Standing.after(self.blocks, self.history, self.timetable)

    def advance(self, blocks: int = 1) -> float:
        """Run the next blocks, as far as the demands stay, and return the seconds that the loop itself took."""
        table, first = self.timetable, self.blocks
        window = int(table.window[first])
        here = slice(first, first + blocks)
        lengths = table.slots[here][table.window[here] == window].tolist()
        here = slice(first, first + len(lengths))
        links, channels = self.stream.take(self._at.channels, sum(lengths))
        part, state = asking(links, table.schedule[window]), self._at.state
        with torch.no_grad():
            began = time.perf_counter()
            if first and window != table.window[first - 1]:
                state = self.loop.retarget(state, part)
            track, state = self.loop.track(part, state)
            seconds = time.perf_counter() - began
            slots = part.slots()
            rates = [_SUM_RATE.rate(slots, rule(slots).power_w) for rule in TRIVIAL.values()]
        self.history.write(here, lengths, track, links.max_power_w, torch.stack(rates, dim=-2))
        self.history.latency_us[here] = 1e6 * seconds / sum(lengths)
        self._at = _Place(here.stop, channels, state)
        return seconds

    def advance_some(self, blocks: int) -> int:
        """Run the next blocks, and return how many to run the next time: more as long as a screen can follow."""
        return min(2 * blocks, _MOST_BLOCKS) if self.advance(blocks) < _REFRESH_S else 1

    def save(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Write all that is needed to go on, at once.

        Args:
            path: of the file.
            identity: what makes the run the same, as JSON.

        Raises:
            OSError: if the file cannot be written; an existing one is then untouched.
        """
        header = {"schema": _SCHEMA, "demand_run": dict(identity), "blocks": self.blocks}
        write_tensors(path, _flat(self._groups(self.blocks)), header)

    def resume(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Go on from where the run of a file stood. Its demands so far must be those of this run.

        Raises:
            ValueError: if there is no such file, or if it is truncated, foreign or of another run.
        """
        try:
            self._resume(path, identity)
        except ValueError as error:
            raise ValueError(printable(str(error))) from error

    def _resume(self, path: Path, identity: Mapping[str, Any]) -> None:
        try:
            tensors, header = read_tensors(path)
        except WeightsError as error:
            raise ValueError(str(error).replace("path:", "state:", 1)) from error
        received, blocks = header.get("demand_run"), header.get("blocks")
        if header.get("schema") != _SCHEMA or not isinstance(received, dict) or type(blocks) is not int:
            raise ValueError(f"state: must be that of a run, received {path} of another kind")
        for name, value in identity.items():
            if differs(received.get(name), value):
                raise ValueError(f"state: must be of {name} {value}, received {path} of {received.get(name)}")
        if blocks < 0:
            raise ValueError(f"state: must be of at least 0 blocks, received {path} of {blocks}")
        if blocks > len(self.timetable.slots):
            raise ValueError(f"slots: must be at least those that are done, received fewer than in {path}")
        expected = _flat(self._groups(blocks))
        mismatch = shape_mismatch(expected, tensors)
        if mismatch:
            raise ValueError(f"state: must fit the run, received {path}: {mismatch}")
        if any(not torch.equal(tensors[name], expected[name]) for name in expected if name[:4] == "plan"):
            raise ValueError(f"state: must be of the same demands so far, received {path} of others")
        try:
            self._restore(tensors, blocks)
        except ValueError as error:
            raise ValueError(f"state: must tell where the run stood, received {path} ({error})") from error

    def _groups(self, blocks: int) -> dict[str, dict[str, Tensor]]:
        state, table = self._at.state, self.timetable
        return {
            "plan": {
                "demand_bps_hz": table.demand_bps_hz[:blocks],
                "window": table.window[:blocks],
                "slots": table.slots[:blocks],
            },
            "history": self.history.tensors(blocks),
            "channels": self._at.channels.tensors(),
            "loop": {part.name: getattr(state, part.name) for part in fields(state)},
        }

    def _restore(self, tensors: Mapping[str, Tensor], blocks: int) -> None:
        def group(name: str) -> dict[str, Tensor]:
            return {key.split(":")[1]: value for key, value in tensors.items() if key.startswith(f"{name}:")}

        channels, state = self.stream.resume(group("channels")), replace(self._at.state, **group("loop"))
        self.history.restore(group("history"), blocks)
        self._at = _Place(blocks, channels, state)


def _flat(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{group}:{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
