"""The jobs of the recipe that train: meta-training, and the state-augmented policy."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from torchrrm import learning
from torchrrm.learning import NetRates, Parameters, PrimalDual, PrimalDualSettings, parameters_of
from torchrrm.policies import MetaGNN, StateAugmented
from torchrrm.problems import ErgodicInstance, ErgodicPower
from torchrrm.recipes.augmented import AugmentedSettings, train_augmented
from torchrrm.recipes.jobs import quiet_run
from torchrrm.recipes.metagnn.drops import (
    LEAST,
    MOST,
    SQUARE,
    TRAIN,
    WATCH,
    generator_of,
    report_set,
    source_of,
    training_draw,
)
from torchrrm.recipes.metagnn.settings import MetaSettings
from torchrrm.setups import workbench
from torchrrm.setups.links import draw_configurations

__all__ = ["AugmentedTraining", "MetaTraining", "adapter", "new_nets", "scores", "stacked"]

ADAPTATION = NetRates(power=4e-3, slack=8e-4, dual=8e-4)
"""Rates of adaptation, Table I of [Huang2024]; its inner rates are the defaults of `NetRates`."""
_WATCHED_LINKS = 12


def new_nets(seed: int, *, literal: bool = False) -> MetaGNN:
    """Networks with random parameters."""
    return workbench.seeded(lambda: MetaGNN(literal=literal), seed)


def adapter(*, literal: bool = False, rates: NetRates = ADAPTATION) -> PrimalDual:
    """What adapts to configurations, with the rates of adaptation."""
    return PrimalDual(MetaGNN(literal=literal), PrimalDualSettings(rates=rates))


def stacked(parameters: Parameters, count: int) -> Parameters:
    """The same parameters for each of several configurations."""
    return {name: value.expand(count, *value.shape) for name, value in parameters.items()}


def scores(learner: PrimalDual, parameters: Parameters, test: ErgodicInstance) -> Tensor:
    """Mean rate of each link over the test slots, `[configuration link]`, rolled out in the order of time."""
    with torch.no_grad():
        return ErgodicPower().rate(test, learner.deployed(parameters)(test).power_w)


@dataclass(frozen=True)
class MetaTraining:
    """Initial parameters by Reptile or first-order MAML, watched on the way (Fig. 6)."""

    method: Literal["reptile", "fomaml"]
    literal: bool
    seed: int
    settings: MetaSettings

    @property
    def name(self) -> str:
        return f"meta-{self.method}{'-five-nets' if self.literal else ''}-{self.seed}"

    def __call__(self) -> dict[str, Tensor]:
        settings, nets = self.settings, new_nets(self.seed, literal=self.literal)
        learner, generator = PrimalDual(nets), generator_of(TRAIN, self.seed)
        points, rates, told = [0], [self._watch(nets)], []
        while points[-1] < settings.outer_loops:
            steps = min(settings.watch_every, settings.outer_loops - points[-1])
            # Reptile moves by the sum of the inner steps, first-order MAML by one of them: made alike.
            scale = float(settings.inner_epochs) if self.method == "fomaml" else 1.0
            how = learning.FirstOrderSettings(
                method=self.method,
                steps=steps,
                learning_rate=scale,
                tasks=settings.tasks,
                inner_steps=settings.inner_epochs,
            )
            told.append(
                learning.first_order_train(
                    nets,
                    learner,
                    lambda tasks, each: training_draw(tasks, each, 2 * settings.test_slots),
                    how,
                    generator=generator,
                    run=quiet_run(),
                )
            )
            points.append(points[-1] + steps)
            rates.append(self._watch(nets))
        watched = {"points": torch.tensor(points), "rates": torch.stack(rates), "loss": torch.cat(told)}
        return watched | {f"parameters.{name}": value for name, value in parameters_of(nets).items()}

    def _watch(self, nets: MetaGNN) -> Tensor:
        """Rates after adaptation to unseen configurations, which serve this alone."""
        settings = self.settings
        slots = settings.train_slots, settings.test_slots
        train, test = report_set(SQUARE, _WATCHED_LINKS, settings.watched, slots, WATCH)
        learner = adapter(literal=self.literal)
        start = stacked(parameters_of(nets), settings.watched)
        adapted, _ = learner.adapt(
            start, train, settings.inner_epochs, generator=generator_of(WATCH, self.seed)
        )
        return scores(learner, adapted, test)


@dataclass(frozen=True)
class AugmentedTraining:
    """A state-augmented policy, learned on configurations of 4 to 20 links (`train_augmented`)."""

    seed: int
    settings: MetaSettings

    @property
    def name(self) -> str:
        return f"augmented-{self.seed}"

    def __call__(self) -> dict[str, Tensor]:
        generator = generator_of(TRAIN, 500 + self.seed)
        policy = workbench.seeded(StateAugmented, self.seed)
        drawn = [self._draw(links, generator) for links in range(LEAST, MOST + 1, 2)]
        how = AugmentedSettings(self.settings.augmented_steps, self.settings.regression_steps)
        train_augmented(policy, drawn, how, generator=generator)
        return parameters_of(policy)

    def _draw(self, links: int, generator: torch.Generator) -> ErgodicInstance:
        count, slots = self.settings.trajectories, self.settings.loop_slots
        return draw_configurations(source_of(SQUARE, links), count, slots=slots, generator=generator)
