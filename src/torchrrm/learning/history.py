"""What was measured at each step of a run."""

from collections.abc import Mapping

import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["LOSS", "History"]

LOSS = "loss"


class History:
    """Scalars of each step by name: the loss, and what the objective measures besides (see `Measuring`).

    Handed to a run by `RunSettings(history=...)`, it is filled as the run goes on; a resumed run restores the steps
    before. A run that measures a name must do so at every step.

    >>> history = History()
    >>> history.add({"loss": 2.0})
    >>> history["loss"]
    tensor([2.], dtype=torch.float64)
    """

    def __init__(self) -> None:
        self._series: dict[str, list[float]] = {LOSS: []}

    @property
    def names(self) -> list[str]:
        """Of the series, the loss first."""
        return list(self._series)

    def __getitem__(self, name: str) -> Float64[Tensor, "step"]:
        if name not in self._series:
            raise KeyError(f"name: must be one of {', '.join(self.names)}, received {name!r}")
        return torch.tensor(self._series[name], dtype=torch.float64)

    def add(self, scalars: Mapping[str, float]) -> None:
        """One more step."""
        for name, value in scalars.items():
            self._series.setdefault(name, []).append(value)

    def upto(self, step: int) -> dict[str, Tensor]:
        """The series of the first steps."""
        return {name: self[name][:step] for name in self._series}

    def restore(self, series: Mapping[str, Tensor]) -> None:
        """Put these in the place of what is there; of nothing, an empty loss is left."""
        self._series = {LOSS: []} | {name: values.tolist() for name, values in series.items()}
