"""What a run shows while it goes on: a progress bar and TensorBoard scalars."""

import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from torchrrm.learning.history import LOSS

__all__ = ["Monitor"]


class _RateColumn(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        return Text("- steps/s" if task.speed is None else f"{task.speed:.1f} steps/s")


class Monitor:
    """Context that reports the loss of each step, and what else is measured.

    The bar (steps, rate, time left, loss) goes to standard error, and only if that is a terminal.
    """

    def __init__(self, *, steps: int, start: int, progress: bool, tensorboard: Path | None) -> None:
        """Prepare for the steps from `start` to `steps`.

        Raises:
            ValueError: if a TensorBoard directory is given and TensorBoard is not installed.
        """
        self._steps, self._start = steps, start
        self._writer = _summary_writer(tensorboard, start) if tensorboard else None
        self._progress = _progress_bar() if progress and _is_terminal() else None

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
            self._bar = self._progress.add_task("training", total=self._steps, completed=self._start, loss="")
        return self

    def update(self, step: int, scalars: Mapping[str, float]) -> None:
        """Report that `step` steps are done, and what was measured at the last; the bar shows the loss."""
        if self._writer:
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, step)
        if self._progress:
            self._progress.update(self._bar, completed=step, loss=f"loss {scalars[LOSS]:.5g}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.stop()
        if self._writer:
            self._writer.close()


def _is_terminal() -> bool:
    return sys.stderr.isatty()


def _progress_bar() -> Progress:
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
    )
    return Progress("{task.description}", *columns, console=Console(stderr=True))


def _summary_writer(directory: Path, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # optional, and slow to import
    except ImportError as error:
        raise ValueError(
            f"tensorboard: needs TensorBoard, pip install 'torchrrm[tracking]', received {directory}"
        ) from error
    # Steps that a killed run reported after its last checkpoint are done again: drop their first report.
    return SummaryWriter(str(directory), purge_step=start + 1)
