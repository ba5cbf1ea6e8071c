"""Labels to learn from: what `HungarianWMMSE` finds on random drops, made by parallel processes and kept on disk."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from torchrrm.channels import hudn_scenario
from torchrrm.learning import LabelledCells
from torchrrm.policies.weights import WeightsError, read_tensors, shape_mismatch
from torchrrm.problems import Allocator, AssociationAction, CellInstance
from torchrrm.recipes.hbgnn.cases import PAPER, TRAIN, Case, generator_of
from torchrrm.recipes.jobs import Workers, run_jobs
from torchrrm.records import map_tensors, to
from torchrrm.setups.association import CellSource, draw_cells
from torchrrm.solvers import HungarianWMMSE

__all__ = ["LabelError", "LabelSettings", "label_cells", "label_set"]


class LabelError(ValueError):
    """Kept labels that cannot be used; the message is one line."""


@dataclass(frozen=True)
class LabelSettings:
    """Which drops are labelled, and how well.

    The paper does not say whose solutions its labels are. A fixed number of restarts, unlike a time limit, gives the
    same labels on every machine.

    Attributes:
        case: the kind of network; drops of the paper's square, not of a snapshot.
        drops: how many; the labels of fewer are the first of those of more.
        restarts: of `HungarianWMMSE`.
        chunk: drops of a file; changes the drops.
        stream: of the random numbers.
    """

    case: Case = PAPER
    drops: int = 512
    restarts: int = 50
    chunk: int = 16
    stream: int = TRAIN

    def __post_init__(self) -> None:
        for name, least in (("drops", 1), ("restarts", 0), ("chunk", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: must be at least {least}, received {getattr(self, name)}")
        if self.case.where != "paper":
            raise ValueError(
                f"case: must be of the paper's square, which can be drawn, received {self.case.where}"
            )


@dataclass(frozen=True)
class _Chunk:
    """One file of labels: a job of `run_jobs`."""

    case: Case
    restarts: int
    count: int
    stream: int
    part: int

    @property
    def name(self) -> str:
        """Of the file: settings that differ have files that differ."""
        key = hashlib.sha256(repr(self).encode()).hexdigest()[:8]
        return f"labels-{self.case.name}-{self.part:05d}-{key}"

    def __call__(self) -> dict[str, Tensor]:
        source = CellSource(
            hudn_scenario(), users=self.case.users, stations=self.case.stations, dtype=torch.float64
        )
        keys = (self.case.users, self.case.stations, self.count, self.part)
        drops = draw_cells(source, self.count, generator=generator_of(self.stream, *keys))
        labelled = label_cells(drops, HungarianWMMSE(restarts=self.restarts))
        return dict(vars(to(labelled, dtype=torch.float32)))

    def form(self) -> dict[str, Tensor]:
        """Tensors of the shapes and kinds that the file must have, without values."""
        users, stations, count = self.case.users, self.case.stations, self.count
        sizes = {
            "gain": (count, users, stations),
            "noise_power_w": (count,),
            "max_power_w": (count, stations),
            "bandwidth_hz": (count,),
            "active_user": (count, users),
            "active_bs": (count, stations),
            "station": (count, users),
            "power_w": (count, stations),
        }
        kinds = {"active_user": torch.bool, "active_bs": torch.bool, "station": torch.long}
        return {name: torch.empty(size, dtype=kinds.get(name), device="meta") for name, size in sizes.items()}


def label_cells(instance: CellInstance, solver: Allocator[CellInstance, AssociationAction]) -> LabelledCells:
    """Networks with a solver's actions as labels."""
    return LabelledCells.of(instance, solver(instance))


def label_set(settings: LabelSettings, workers: Workers) -> LabelledCells:
    """The labelled drops, `[drop ...]` in single precision: from their files, and made where there are none yet.

    Files are written whole or not at all: a run that was stopped goes on where it was.

    Raises:
        LabelError: if a file is damaged or of other labels; it is left as it is.
    """
    parts = range(-(-settings.drops // settings.chunk))
    jobs = [_Chunk(settings.case, settings.restarts, settings.chunk, settings.stream, part) for part in parts]
    for job in jobs:
        _check(job, workers)
    made = run_jobs("labels", jobs, workers)
    whole = {name: torch.cat([made[job][name] for job in jobs]) for name in jobs[0].form()}
    return map_tensors(lambda tensor: tensor[: settings.drops], LabelledCells(**whole))


def _check(job: _Chunk, workers: Workers) -> None:
    """Refuse a file that is there and is not this job's: another's work, or the traces of damage."""
    path = workers.folder / f"{job.name}.safetensors"
    if not path.exists():
        return
    advice = "delete it to make them anew"
    try:
        tensors, header = read_tensors(path)
    except WeightsError as error:
        raise LabelError(f"labels: {str(error).removeprefix('path: ')}; {advice}") from error
    if header.get("job") != repr(job):
        raise LabelError(f"labels: must be of {job}, received {path} of {header.get('job')}; {advice}")
    mismatch = shape_mismatch(job.form(), tensors)
    if mismatch:
        raise LabelError(f"labels: must be whole, received {path}: {mismatch}; {advice}")
