"""How much of the paper a run of the recipe does."""

from dataclasses import dataclass, field

from torchrrm.learning.specialisation import SpecialiseSettings
from torchrrm.recipes.hbgnn.labels import LabelSettings
from torchrrm.recipes.hbgnn.training import TRAININGS, TrainingSettings

__all__ = ["SCALES", "ConvergenceSettings", "HbgnnSettings"]


@dataclass(frozen=True)
class ConvergenceSettings:
    """Training of Figs. 6 to 8: three networks on three problems; the paper's batches are 64 drops.

    Attributes:
        labels: drops that batches are drawn from.
        batch_size: of a step.
        steps: by the network; the paper does not say.
    """

    labels: LabelSettings = field(default_factory=LabelSettings)
    batch_size: int = 8
    steps: tuple[tuple[str, int], ...] = (
        ("FCNN", 150),
        ("CNN", 40),
        ("HBGNN, literal", 300),
        ("HBGNN", 150),
    )


@dataclass(frozen=True)
class HbgnnSettings:
    """One scale of the recipe; what is not named here is as in Section IV of [Zhang2022HBGNN].

    Attributes:
        training: of the network (GRL).
        convergence: of Figs. 6 to 8.
        specialise: SRL.
        drops: of the paper's square, for the tables; the paper's are 200.
        munich_drops: of each snapshot.
        density_drops: of each point of Figs. 11 and 12.
        users, stations: of these figures.
        longest_s: time limit of the search that others are held against.
        density_s: the same in Figs. 11 and 12.
        latency_calls, latency_budget_s: how single calls are timed.
        processes: worker processes.
    """

    training: TrainingSettings
    convergence: ConvergenceSettings = ConvergenceSettings()
    specialise: SpecialiseSettings = field(default_factory=SpecialiseSettings)
    drops: int = 50
    munich_drops: int = 10
    density_drops: int = 20
    users: tuple[int, ...] = (40, 80, 120)
    stations: tuple[int, ...] = (60, 80, 105, 120, 140)
    longest_s: float = 20.0
    density_s: float = 2.0
    latency_calls: int = 100
    latency_budget_s: float = 4.0
    processes: int = 2


SCALES: dict[str, HbgnnSettings] = {
    "smoke": HbgnnSettings(
        training=TRAININGS["smoke"],
        convergence=ConvergenceSettings(
            LabelSettings(drops=4, restarts=0, chunk=4),
            batch_size=2,
            steps=(("HBGNN, literal", 2), ("HBGNN", 2)),
        ),
        specialise=SpecialiseSettings(steps=2),
        drops=2,
        munich_drops=1,
        density_drops=1,
        users=(40,),
        stations=(60,),
        longest_s=0.05,
        density_s=0.05,
        latency_calls=2,
        latency_budget_s=0.05,
        processes=0,
    ),
    "quick": HbgnnSettings(training=TRAININGS["quick"]),
    "full": HbgnnSettings(
        training=TRAININGS["full"],
        convergence=ConvergenceSettings(
            labels=LabelSettings(drops=20_000),
            batch_size=64,
            steps=(("FCNN", 10_000), ("CNN", 10_000), ("HBGNN, literal", 10_000), ("HBGNN", 10_000)),
        ),
        drops=200,
        density_drops=200,
        users=(40, 60, 80, 100, 120),
    ),
}
