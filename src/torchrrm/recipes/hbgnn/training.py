"""Training of the default network (GRL): one set of weights for all sizes, densities and powers of networks."""

import math
import random
from dataclasses import dataclass, replace
from typing import cast

import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.func import functional_call

from torchrrm import learning
from torchrrm.channels import UrbanSquare, hudn_scenario
from torchrrm.learning import Parameters
from torchrrm.learning.optimisers import gradient_and_value
from torchrrm.policies.hbgnn import HBGNN
from torchrrm.policies.hbgnn.core import Stage, matched_rate, radio
from torchrrm.policies.hbgnn.decisions import relaxed
from torchrrm.problems.association import CellInstance, relative_snr
from torchrrm.recipes.hbgnn.cases import TRAIN
from torchrrm.recipes.jobs import quiet_run
from torchrrm.setups import workbench
from torchrrm.setups.association import CellSource, CellTerms, draw_cells
from torchrrm.units import db_to_linear, dbm_to_watt

__all__ = ["TRAININGS", "Area", "GrlTraining", "TrainingSettings", "draw_area", "draw_in", "train_network"]

_LEAST_OBJECTIVE = 1e-3  # bit/s/Hz, added before a logarithm is taken


@dataclass(frozen=True)
class TrainingSettings:
    """How much the training does.

    Attributes:
        steps: gradient steps, each on fresh networks of one kind.
        batch_size: networks of a step.
        learning_rate: of Adam, going to 0 as a cosine.
        varied: share of the steps on networks of random kinds (`draw_area`); the others are the paper's.
        early: weight of the loss after each stage but the decision.
    """

    steps: int = 6000
    batch_size: int = 8
    learning_rate: float = 3e-3
    varied: float = 0.5
    early: float = 0.3

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, received {getattr(self, name)}")
        if not 0 <= self.varied <= 1:
            raise ValueError(f"varied: must be in [0, 1], received {self.varied}")


TRAININGS: dict[str, TrainingSettings] = {
    "smoke": TrainingSettings(steps=2, batch_size=2),
    "quick": TrainingSettings(),
    "full": TrainingSettings(steps=40_000, batch_size=16),
}


@dataclass(frozen=True)
class Area:
    """A kind of network; the defaults are the paper's.

    Attributes:
        users, stations: how many.
        macro_stations: how many of the stations.
        side_m: of the square.
        buildings: in it.
        macro_power_dbm, small_power_dbm: limits.
        shadowing_db: deviation of a log-normal factor of each gain.
        least_snr_db: pairs whose SNR at full power is less have no path at all; none by default.
        blocked: share of the pairs that have none either, at random.
    """

    users: int = 120
    stations: int = 105
    macro_stations: int = 5
    side_m: float = 200.0
    buildings: int = 20
    macro_power_dbm: float = 50.0
    small_power_dbm: float = 20.0
    shadowing_db: float = 0.0
    least_snr_db: float = -math.inf
    blocked: float = 0.0


def draw_area(rng: random.Random) -> Area:
    """A random kind: 20 to 160 users, 30 to 150 stations, squares of 150 m to 800 m, few or many buildings."""
    side_m = 150.0 * (800.0 / 150.0) ** rng.random()
    return Area(
        users=rng.randint(20, 160),
        stations=rng.randint(30, 150),
        macro_stations=rng.randint(0, 12),
        side_m=side_m,
        buildings=rng.randint(0, 40),
        macro_power_dbm=rng.uniform(40.0, 50.0),
        small_power_dbm=rng.uniform(10.0, 30.0),
        shadowing_db=rng.choice((0.0, rng.uniform(0.0, 10.0))),
        least_snr_db=rng.choice((-math.inf, rng.uniform(-30.0, 30.0))),
        blocked=rng.choice((0.0, 0.0, rng.uniform(0.0, 0.8))),
    )


def draw_in(area: Area, count: int, *, generator: torch.Generator) -> CellInstance:
    """Networks of a kind, each in another city."""
    city = UrbanSquare(side_m=area.side_m, macro_stations=area.macro_stations, buildings=area.buildings)
    terms = CellTerms(
        macro_power_w=dbm_to_watt(area.macro_power_dbm), small_power_w=dbm_to_watt(area.small_power_dbm)
    )
    scenario = replace(hudn_scenario(), topology=city)
    source = CellSource(scenario, users=area.users, stations=area.stations, terms=terms)
    cells = draw_cells(source, count, generator=generator)
    gain = cells.gain
    if area.shadowing_db:
        shadow = torch.randn(gain.shape, generator=generator, dtype=gain.dtype)
        gain = gain * db_to_linear(area.shadowing_db * shadow)
    if area.least_snr_db > -math.inf:
        strong = relative_snr(replace(cells, gain=gain)) >= db_to_linear(area.least_snr_db)
        gain = torch.where(strong, gain, 0.0)
    if area.blocked:
        gain = gain * (torch.rand(gain.shape, generator=generator, dtype=gain.dtype) >= area.blocked)
    return replace(cells, gain=gain)


class _Loss(nn.Module):
    """What a batch loses, as a module of the policy's parameters."""

    def __init__(self, policy: HBGNN, early: float):
        super().__init__()
        self.policy, self.early = policy, early

    @property
    def arguments(self) -> dict[str, object]:
        """Those of the policy."""
        return self.policy.arguments

    def forward(self, cells: CellInstance) -> Tensor:
        snr = relative_snr(cells)
        scores, stages = self.policy.unroll(snr, cells.active_user, cells.active_bs)
        choice = relaxed(scores, cells, self.policy.head)
        loss = _logarithm(self.policy.problem.relaxed(cells, choice))
        for stage in cast(list[Stage], stages):
            loss = loss + self.early * _logarithm(matched_rate(radio(snr), stage).sum((-2, -1)))
        return loss.mean()


def _logarithm(objective: Tensor) -> Tensor:
    return -torch.log(objective + _LEAST_OBJECTIVE)


def train_network(
    policy: HBGNN,
    settings: TrainingSettings,
    *,
    generator: torch.Generator,
    run: learning.RunSettings | None = None,
) -> Float64[Tensor, "step"]:
    """Train in place, on networks that are drawn for each step and never seen again; returns the losses.

    The loss is the mean of `-ln R` over the batch, R the relaxed objective, so that networks weigh the same whatever
    they can reach, and of the soft matchings after each stage, with a smaller weight. Deviations from GRL of
    [Zhang2022HBGNN], Algorithm 2: there are no labels, which this network does not need (its supervised loss is
    `torchrrm.learning.AssociationLoss`); the learning rate goes down as a cosine, not by a window; the temperature is
    learned with the scores.

    Args:
        policy: to train.
        settings: of the training.
        generator: draws the networks.
        run: checkpoints and progress; a stopped run goes on from its checkpoint.
    """
    trainee = _Loss(policy, settings.early)

    def gradient(parameters: Parameters, generator: torch.Generator) -> tuple[Parameters, Tensor]:
        rng = random.Random(int(torch.randint(2**62, (), generator=generator)))
        area = draw_area(rng) if rng.random() < settings.varied else Area()
        cells = draw_in(area, settings.batch_size, generator=generator)
        return gradient_and_value(
            lambda theta: cast(Tensor, functional_call(trainee, theta, (cells,))), parameters
        )

    how = learning.DescentSettings(
        steps=settings.steps, learning_rate=settings.learning_rate, schedule="cosine", clip_norm=1.0
    )
    return learning.descend(trainee, gradient, how, generator=generator, run=run or quiet_run())


@dataclass(frozen=True)
class GrlTraining:
    """`HBGNN` trained offline: a job of the recipe, which gives its parameters."""

    seed: int = 0
    settings: TrainingSettings = TRAININGS["quick"]

    @property
    def name(self) -> str:
        return f"grl-{self.seed}"

    def __call__(self) -> dict[str, Tensor]:
        policy = workbench.seeded(HBGNN, self.seed)
        generator = torch.Generator().manual_seed(TRAIN + 100_000 * self.seed)
        train_network(policy, self.settings, generator=generator)
        return learning.parameters_of(policy)
