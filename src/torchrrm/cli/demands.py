"""`torchrrm run`: users with demands, slot by slot."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.console import Console
from rich.live import Live
from tyro.conf import arg

from torchrrm.cli.links import Terms
from torchrrm.cli.options import FileOrNone, Name, Pair, Reading, Run, settings
from torchrrm.cli.process import Stop
from torchrrm.files import locked_file

if TYPE_CHECKING:
    import torch

    from torchrrm.policies.control import Controller, SharingSettings
    from torchrrm.setups.demands import DemandRun, Pace
    from torchrrm.setups.links import LinkSource

__all__ = ["RunDemands"]

_SECONDS_A_FRAME = 0.25
_SECONDS_A_SAVE = 5.0


@dataclass(frozen=True, kw_only=True)
class DemandChannels:
    """Where links come from: random pairs of a snapshot with Rayleigh fading, or a random drop of a scenario."""

    snapshot: Annotated[str | None, arg(metavar="FILE")] = None
    """A .npz or .csv file of transmitter-receiver pairs, or munich_d2d, which is bundled."""
    scenario: Annotated[str | None, arg(metavar="NAME")] = None
    """A scenario that `torchrrm list` names; rayleigh if there is no snapshot."""
    redraw_every: Annotated[int | None, arg(metavar="SLOTS")] = None
    """Slots after which places are drawn anew; 50 of seven-cells if not given, of others never."""
    pair: Pair = None
    """Pairs of a snapshot: by the index of receiver and transmitter (if not given), or, of users and stations, each
    station with the strongest of the users that it is the strongest station of."""
    reading: Reading = field(default_factory=Reading)
    terms: Terms = field(default_factory=Terms)

    @property
    def name(self) -> str:
        """Of the channels in tables."""
        return Path(self.snapshot).name if self.snapshot is not None else self.scenario or "rayleigh"

    def source(self, links: int) -> "LinkSource":
        """So many links of these channels."""
        from torchrrm.setups.demands import DemandNames
        from torchrrm.setups.links import LinkSource, pairs_of

        random = None if self.snapshot is not None else self.scenario or "rayleigh"
        prepare = partial(pairs_of, pair=self.pair)
        channels = self.reading.channels(
            self.snapshot, self.scenario or random, DemandNames.scenarios, prepare, pair=self.pair
        )
        slow = 50 if self.redraw_every is None and random == "seven-cells" else self.redraw_every
        return LinkSource(channels, links, self.terms.linear(random), redraw_every=slow)


@dataclass(frozen=True, kw_only=True)
class Controlling:
    """How demands are met: which loop goes around the allocator."""

    control: Literal["online-dual", "time-sharing"] = "online-dual"
    """online-dual moves the weights of links by each slot's shortfall. It is the default since it gives more sum rate,
    and demands sooner, over the same allocator. time-sharing (ALCOR) switches users on and off at random; it also
    serves allocators that read no weights."""
    step: Annotated[float | None, arg(metavar="STEP")] = None
    """Of the multipliers: 0.1 a slot of online-dual, 5 a batch of time-sharing, if not given."""
    update: Literal["simple", "printed", "corrected"] = "simple"
    """Of time-sharing: which form of the multipliers' update."""
    batch: Annotated[int, arg(metavar="SLOTS")] = 25
    """Of time-sharing: slots of an estimate."""

    def loop(self, name: str, seed: int) -> "Controller[Any]":
        """The loop around the allocator of this name."""
        from torchrrm.setups import workbench
        from torchrrm.setups.demands import DemandNames, control_loop

        sharing = self._sharing()
        allocator = workbench.find_allocator(name, DemandNames())
        return control_loop(name, allocator, self.control, step=self.step, sharing=sharing, seed=seed)

    def _sharing(self) -> "SharingSettings | None":
        from torchrrm.policies import SharingSettings

        if self.control == "time-sharing":
            step: dict[str, Any] = {} if self.step is None else {"step": self.step}
            return SharingSettings(update=self.update, batch=self.batch, **step)
        for option, usual in (("update", "simple"), ("batch", 25)):
            value = getattr(self, option)
            if value != usual:
                raise ValueError(f"{option}: must go with --control time-sharing, received {value}")
        return None

    @property
    def multiplier(self) -> str:
        """What the loop moves, on an axis."""
        return "multiplier µ" if self.control == "online-dual" else "multiplier λ"


@dataclass(frozen=True, kw_only=True)
class RunDemands:
    """Serve users with demands on their mean rates, slot by slot, and watch how they are met.

    Ctrl-C stops the run; what is done so far is shown, and saved.
    """

    demands: Annotated[str, arg(metavar="LIST|FILE")]
    """In bit/s/Hz, a number a user: 0.5,1,2 or, where they change, 0.5,1,2;2,1,0.5 with windows of equal length. Or a
    .csv or .json file, a window a row; a first column `slots` of a .csv gives the windows' lengths."""
    problem: Literal["demands"] = "demands"
    """What is decided."""
    allocator: Name = "wmmse"
    """Of links in one slot: a solver or policy that `torchrrm list` names, or a file of weights."""
    slots: Annotated[int | None, arg(metavar="N")] = None
    """In all; 1000 a window, or what the file says, if not given."""
    figure: FileOrNone = None
    """Draw rates, demands and multipliers over the slots: .png, .svg or .pdf."""
    state: FileOrNone = None
    """Write the state of the run at its end."""
    resume: bool = False
    """Go on from the file of --state; the demands of later slots may be others."""
    control: Controlling = field(default_factory=Controlling)
    channels: DemandChannels = field(default_factory=DemandChannels)
    run: Run = field(default_factory=Run)

    def resume_hint(self) -> str | None:
        return None if self.state is None else f"--resume goes on from {self.state}"

    def __call__(self, line: str) -> None:
        self._require_files()
        with contextlib.ExitStack() as held:
            if self.state is not None:
                held.enter_context(locked_file(self.state, argument="state"))
            self._serve(line)

    def _serve(self, line: str) -> None:
        from torchrrm.bench import Results, console
        from torchrrm.setups.demands import DemandNames, excess_of, missed_demands, rows_of

        demands, screen = self._made(self.run.begin()), console()
        stopped = watch(demands, screen, lambda: self._save(demands))
        self._save(demands)
        if demands.blocks:
            setting = f"{self.channels.name}, {demands.stream.links} links"
            excess = excess_of(demands)
            rows = rows_of(demands, self.allocator, setting, excess)
            results = Results(command=line, seed=self.run.seed, rows=rows, settings=settings(self))
            self.run.show(results, DemandNames.display)
            for missed in missed_demands(demands, excess):
                screen.print(missed)
            self._draw(demands)
        if stopped:
            raise Stop(stopped)

    def _save(self, demands: "DemandRun") -> None:
        if self.state is not None:
            demands.save(self.state, self._identity())

    def _require_files(self) -> None:
        if self.resume and self.state is None:
            raise ValueError("resume: must go with the --state to go on from, received none")
        if self.figure is not None and self.figure.suffix not in (".png", ".svg", ".pdf"):
            raise ValueError(f"figure: must end in .png, .svg or .pdf, received {self.figure}")

    def _made(self, generator: "torch.Generator") -> "DemandRun":
        """The run, where it starts or stood."""
        from torchrrm.setups.demands import DemandRun, SlotStream, Timetable, read_schedule

        schedule = read_schedule(self.demands, self.slots)
        stream = SlotStream(self.channels.source(len(schedule[0].demand_bps_hz)))
        loop = self.control.loop(self.allocator, self.run.seed)
        demands = DemandRun(loop, stream, Timetable.of(schedule), generator=generator)
        if self.resume and self.state is not None:
            demands.resume(self.state, self._identity())
        return demands

    def _identity(self) -> dict[str, Any]:
        """What must be the same of a run that goes on."""
        same = {"allocator": self.allocator, "seed": self.run.seed}
        return same | settings(self.control) | settings(self.channels)

    def _draw(self, demands: "DemandRun") -> None:
        from torchrrm.bench import figures
        from torchrrm.setups.demands import traces_of

        if self.figure is None:
            return
        title = f"{self.allocator} under {self.control.control}, {self.channels.name}"
        traces = traces_of(demands)
        figures.save(
            figures.demands_over_slots(traces, multiplier=self.control.multiplier, title=title), self.figure
        )
        Console().print(f"wrote {self.figure}", highlight=False)


def watch(demands: "DemandRun", screen: Console, save: Callable[[], None]) -> int | None:
    """Run to the end or until a signal, with a table of the users on the screen; return the signal's number if any.

    A screen that is no terminal gets the last table only. The run is saved every few seconds, so that one that is
    killed goes on from there.
    """
    from torchrrm.setups.demands import rows_that_fit, standing_table

    began, first, shown, chunk = time.perf_counter(), demands.slots, 0.0, 1
    saved = began
    with interrupts() as seen, Live(console=screen, auto_refresh=False, transient=True) as live:
        while not demands.done and not seen:
            chunk = demands.advance_some(chunk)
            now = time.perf_counter()
            if now - saved > _SECONDS_A_SAVE:
                save()
                saved = time.perf_counter()
            if screen.is_terminal and now - shown > _SECONDS_A_FRAME:
                shown = now
                pace = _pace(demands, first, now - began)
                live.update(standing_table(demands.standing, pace, rows_that_fit(screen)), refresh=True)
    if demands.blocks:
        pace = _pace(demands, first, time.perf_counter() - began)
        screen.print(standing_table(demands.standing, pace))
    return seen[0] if seen else None


@contextlib.contextmanager
def interrupts() -> Iterator[list[int]]:
    """List the numbers of the signals SIGINT and SIGTERM that came; a second one interrupts as ever.

    An interrupt that meets compiled code would be lost there, or come back as another error.
    """
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    except KeyboardInterrupt:
        seen.append(signal.SIGINT)  # what is done is shown all the same
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pace(demands: "DemandRun", first: int, seconds: float) -> "Pace":
    from torchrrm.setups.demands import Pace

    slots = int(demands.timetable.slots.sum())
    return Pace(len(demands.timetable.schedule), slots, (demands.slots - first) / max(seconds, 1e-9))
