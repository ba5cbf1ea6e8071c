"""Figs. 6 to 8 and Table II: how the networks learn the association, the powers, and both."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torchrrm import learning
from torchrrm.bench import figures
from torchrrm.learning.association import (
    AssociationLoss,
    AssociationTrainee,
    LabelledCells,
    LabelledSource,
)
from torchrrm.policies import HBGNN, CnnAssociation, FcnnAssociation, LiteralHBGNN
from torchrrm.problems import Task
from torchrrm.recipes.exhibits import Exhibit
from torchrrm.recipes.hbgnn.cases import TRAIN, generator_of
from torchrrm.recipes.hbgnn.labels import label_set
from torchrrm.recipes.hbgnn.published import PARAMETERS
from torchrrm.recipes.hbgnn.scoring import PROBLEM
from torchrrm.recipes.hbgnn.settings import ConvergenceSettings, HbgnnSettings
from torchrrm.recipes.jobs import Workers, quiet_run
from torchrrm.setups import workbench
from torchrrm.solvers.hungarian_wmmse import matched_association

__all__ = ["NETWORKS", "Converging", "convergence", "convergence_jobs", "table2"]

Learned = Literal["association", "power", "both"]

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "FCNN": FcnnAssociation,
    "CNN": CnnAssociation,
    "HBGNN, literal": LiteralHBGNN,
    "HBGNN": HBGNN,
}
"""By the name that they carry in tables; the first three are those of the paper's comparison."""

_FIGURES: dict[Learned, tuple[str, str]] = {
    "association": ("fig06", "Fig. 6: learning the association, at full power"),
    "power": ("fig07", "Fig. 7: learning the powers, for the labels' association"),
    "both": ("fig08", "Fig. 8: learning the association and the powers"),
}
_LEARNING_RATE = 1e-4  # Table I
_SHOWN = ("objective", "best_objective", "label_objective", "relaxation_error")


@dataclass(frozen=True)
class Converging:
    """One network that learns one of the three problems: what each step's batch reached.

    Attributes:
        network: its name.
        learned: what it decides.
        steps: of training.
        seed: of the run.
        settings: of the training.
        kept: folder of the labels.
    """

    network: str
    learned: Learned
    steps: int
    seed: int
    settings: ConvergenceSettings
    kept: Path = field(repr=False)

    @property
    def name(self) -> str:
        return f"converging-{self.network.replace(', ', '-')}-{self.learned}"

    def __call__(self) -> dict[str, Tensor]:
        policy = workbench.seeded(NETWORKS[self.network], self.seed)
        trainee = AssociationTrainee(policy, only=self.learned)
        loss = learning.PolicyLoss(trainee, AssociationLoss())
        judge: Any = PROBLEM  # of the networks; labels come along
        task = Task(judge, LabelledSource(_labelled(self.kept, self.settings, self.learned)))
        history = learning.History()
        how = learning.TrainerSettings(
            steps=self.steps,
            batch_size=self.settings.batch_size,
            learning_rate=_LEARNING_RATE,
            decay=learning.WindowedDecay(measure="objective"),
        )
        learning.train(
            loss,
            [task],
            how,
            generator=generator_of(TRAIN, self.seed, 7),
            run=quiet_run(history=history),
        )
        return {name: history[name] for name in _SHOWN}


def _labelled(kept: Path, settings: ConvergenceSettings, learned: Learned) -> LabelledCells:
    """Drops to learn from, with what `HungarianWMMSE` does, or with the best association at full power."""
    found = label_set(settings.labels, Workers(kept, processes=0, progress=False))
    cells = found.cells
    return (
        LabelledCells.of(cells, matched_association(cells, cells.max_power_w))
        if learned == "association"
        else found
    )


def convergence_jobs(settings: HbgnnSettings, seed: int, kept: Path) -> list[Converging]:
    """Every network on every problem, the longest first; labels are kept in a folder."""
    return [
        Converging(network, learned, steps, seed, settings.convergence, kept)
        for network, steps in settings.convergence.steps
        for learned in _FIGURES
    ]


def convergence(found: Mapping[Converging, Mapping[str, Tensor]]) -> list[Exhibit]:
    """An exhibit for each of the three problems."""
    return [_exhibit(learned, found) for learned in _FIGURES]


def _exhibit(learned: Learned, found: Mapping[Converging, Mapping[str, Tensor]]) -> Exhibit:
    name, title = _FIGURES[learned]
    mine = {job.network: (job, made) for job, made in found.items() if job.learned == learned}
    batch = next(iter(mine.values()))[0].settings.batch_size
    rows = [
        [
            network,
            str(job.steps),
            *(_span(made[what], what == "relaxation_error") for what in _SHOWN),
        ]
        for network, (job, made) in mine.items()
    ]
    return Exhibit(
        name=name,
        title=title,
        note=f"Hard objective of each batch of {batch} drops, mean and largest, against the labels of the same drops; "
        "supervised and unsupervised loss with the weights of the paper, learning rate 1e-4 with the decay of "
        "Algorithm 2. The table has means over the first and the last tenth of the steps. The paper's batches are 64, "
        "and it does not say how many steps there are; these runs are short.",
        figure=figures.curve_panels(
            {
                network: {
                    "mean": made["objective"].numpy(),
                    "largest": made["best_objective"].numpy(),
                    "label, mean": made["label_objective"].numpy(),
                }
                for network, (_, made) in mine.items()
            },
            x_label="step",
            y_label="sum of rates / (bit/s/Hz)",
        ),
        header=[
            "network",
            "steps",
            "mean / (bit/s/Hz)",
            "largest / (bit/s/Hz)",
            "labels / (bit/s/Hz)",
            "relaxed over hard, less 1 / %",
        ],
        rows=rows,
        data={network: dict(made) for network, (_, made) in mine.items()},
    )


def _span(series: Tensor, percent: bool) -> str:
    tenth = max(1, len(series) // 10)
    scale = 100.0 if percent else 1.0
    first, last = (scale * part.mean().item() for part in (series[:tenth], series[-tenth:]))
    return f"{first:.1f} → {last:.1f}"


def table2() -> Exhibit:
    """Numbers of parameters, the printed ones beside."""
    rows = []
    for name, make in NETWORKS.items():
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in make().parameters())
        printed = PARAMETERS.get(name)
        rows.append([name, "–" if printed is None else f"{printed:.1e}", f"{count:.2e}"])
    return Exhibit(
        name="table2",
        title="Table II: parameters",
        note="At 120 users and 105 stations; `HBGNN` is the edge-scored default, which has the same for all sizes.",
        figure=None,
        header=["network", "printed", "here"],
        rows=rows,
    )
