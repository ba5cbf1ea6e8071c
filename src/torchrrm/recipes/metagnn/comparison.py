"""The jobs of the recipe that compare: methods on unseen configurations, few samples, the certified dual."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from torchrrm.bench import in_double
from torchrrm.learning import NetRates, Parameters, PrimalDual, parameters_of
from torchrrm.policies import BestOf, EachSlot, OnlineDual, ProportionalFair, Refined, StateAugmented
from torchrrm.problems import Allocator, ErgodicAction, ErgodicInstance, ErgodicPower, WeightedSumRate
from torchrrm.recipes.jobs import Start
from torchrrm.recipes.metagnn.drops import ADAPT, SQUARE, generator_of, report_set
from torchrrm.recipes.metagnn.settings import MetaSettings
from torchrrm.recipes.metagnn.training import adapter, new_nets, scores, stacked
from torchrrm.records import replace
from torchrrm.solvers import WMMSE, ErgodicDualBound, ITLinQ, MaxPower

__all__ = ["Certified", "Comparison", "FewSamples", "allocators", "augmented_policy"]

PROBLEM = ErgodicPower()
_FROM_SCRATCH = NetRates()  # the rates of the inner loop
_MISMATCHED = 5  # networks of another size that a table's mismatch averages over


def augmented_policy(start: Start) -> StateAugmented:
    """The state-augmented policy of trained parameters."""
    policy = StateAugmented()
    policy.load_state_dict(start.parameters)
    return policy.eval()


def allocators(augmented: Start) -> dict[str, Allocator[ErgodicInstance, ErgodicAction]]:
    """What needs no adaptation, by the names of the tables."""
    policy = augmented_policy(augmented)
    return {
        "max power": EachSlot(MaxPower()),
        "WMMSE": EachSlot(WMMSE(max_steps=100)),
        "ITLinQ": ProportionalFair(ITLinQ()),
        "online dual, WMMSE": OnlineDual(WMMSE(starts=4, max_steps=40)),
        "online dual, WMMSE, relaxed": OnlineDual(
            WMMSE(starts=4, max_steps=40), slack_penalty=PROBLEM.slack_penalty
        ),
        "state-augmented": policy,
        "state-augmented, relaxed": policy.set_to(slack_penalty=PROBLEM.slack_penalty),
        "state-augmented + 10 WMMSE": policy.set_to(refine_steps=10),
        "state-augmented + 10 WMMSE, relaxed": policy.set_to(
            refine_steps=10, slack_penalty=PROBLEM.slack_penalty
        ),
        "best of both": _best_of_both(policy, None),
        "best of both, relaxed": _best_of_both(policy, PROBLEM.slack_penalty),
    }


def _best_of_both(policy: StateAugmented, slack_penalty: float | None) -> OnlineDual:
    """In each slot the better of the refined policy's powers and of WMMSE's from four starts."""
    slot = BestOf([Refined(policy.power, WMMSE(), 40), WMMSE(starts=4, max_steps=40)], WeightedSumRate())
    return OnlineDual(slot, step=policy.step, slack_penalty=slack_penalty, first=policy.first)


def _curve(
    learner: PrimalDual, test: ErgodicInstance, every: int, found: dict[int, Tensor]
) -> Callable[[int, Parameters], None]:
    """Scores the parameters of every so many epochs."""

    def after_epoch(epoch: int, parameters: Parameters) -> None:
        if epoch % every == 0:
            found[epoch] = scores(learner, parameters, test)

    return after_epoch


def _learn(
    start: Parameters,
    sets: tuple[ErgodicInstance, ErgodicInstance],
    epochs: int,
    every: int,
    *,
    rates: NetRates | None = None,
) -> tuple[Parameters, Tensor, Tensor]:
    """Adapt, and return the parameters, the epochs and the rates `[point configuration link]` at them."""
    learner = adapter() if rates is None else adapter(rates=rates)
    found: dict[int, Tensor] = {}
    watch = _curve(learner, sets[1], every, found)
    generator = generator_of(ADAPT, sets[0].gain.shape[-1])
    adapted, _ = learner.adapt(start, sets[0], epochs, generator=generator, after_epoch=watch)
    return adapted, torch.tensor(list(found)), torch.stack(list(found.values()))


def _scratch(count: int) -> Parameters:
    """Random parameters, others for each configuration."""
    each = [parameters_of(new_nets(1000 + i)) for i in range(count)]
    return {name: torch.stack([parameters[name] for parameters in each]) for name in each[0]}


@dataclass(frozen=True)
class Comparison:
    """Every method on unseen configurations of one number of links: rates `[configuration link]` by method."""

    where: str
    links: int
    start: Start
    augmented: Start
    settings: MetaSettings

    @property
    def name(self) -> str:
        return f"compare-{self.where}-{self.links}"

    def __call__(self) -> dict[str, Tensor]:
        settings, count = self.settings, self.settings.configurations
        slots = settings.train_slots, settings.test_slots
        sets = report_set(self.where, self.links, count, slots)
        test = sets[1]
        with torch.no_grad():
            made = {
                f"rate.{name}": PROBLEM.rate(test, allocator(test).power_w)
                for name, allocator in allocators(self.augmented).items()
            }
        meta = stacked(self.start.parameters, count)
        _, points, rates = _learn(meta, sets, settings.adapt_epochs, 2)
        made |= {"meta.points": points, "meta.rates": rates}
        if self.where != SQUARE or self.links not in settings.scratch_sizes:
            return made
        every = 10 if settings.scratch_epochs > 10 else 1
        _, points, rates = _learn(_scratch(count), sets, settings.scratch_epochs, every, rates=_FROM_SCRATCH)
        made |= {"scratch.points": points, "scratch.rates": rates}
        return made | {"rate.mismatch": self._mismatched(test)}

    def _mismatched(self, test: ErgodicInstance) -> Tensor:
        """Networks learned from scratch on configurations of another size, as they are."""
        settings, other = self.settings, self.links + 4 if self.links <= 12 else self.links - 4
        slots = settings.train_slots, settings.test_slots
        foreign = report_set(self.where, other, _MISMATCHED, slots, ADAPT)
        learner = adapter(rates=_FROM_SCRATCH)
        learned, _ = learner.adapt(
            _scratch(_MISMATCHED), foreign[0], settings.scratch_epochs, generator=generator_of(ADAPT, 77)
        )
        turn = torch.arange(settings.configurations) % _MISMATCHED
        return scores(learner, {name: value[turn] for name, value in learned.items()}, test)


@dataclass(frozen=True)
class FewSamples:
    """Adaptation and learning from scratch with few samples (Figs. 9 and 10)."""

    links: int
    samples: int
    epochs: int
    start: Start
    settings: MetaSettings

    @property
    def name(self) -> str:
        return f"few-{self.links}-{self.samples}"

    def __call__(self) -> dict[str, Tensor]:
        settings, count = self.settings, self.settings.few_configurations
        slots = settings.train_slots, settings.test_slots
        train, test = report_set(SQUARE, self.links, count, slots)
        few = train.between(0, self.samples), test
        every = max(self.epochs // 30, 1)
        meta = stacked(self.start.parameters, count)
        _, points, rates = _learn(meta, few, self.epochs, every)
        _, _, scratch = _learn(_scratch(count), few, self.epochs, every, rates=_FROM_SCRATCH)
        return {"points": points, "meta": rates, "scratch": scratch}


@dataclass(frozen=True)
class Certified:
    """Objectives over a certified dual bound on the same slots, hard and relaxed."""

    links: int
    start: Start
    augmented: Start
    settings: MetaSettings

    @property
    def name(self) -> str:
        return f"certified-{self.links}"

    def __call__(self) -> dict[str, Tensor]:
        settings, count = self.settings, self.settings.certified_configurations
        slots = settings.train_slots, settings.test_slots + settings.certified_slots
        train, test = report_set(SQUARE, self.links, count, slots)
        scored = test.between(0, settings.certified_slots)
        exact = in_double(scored)
        bound = ErgodicDualBound(PROBLEM).solve(exact)
        made = {"bound": _given(bound.upper_bound), "interval": bound.interval}
        with torch.no_grad():
            actions = {name: allocator(scored) for name, allocator in allocators(self.augmented).items()}
        actions["ErgodicDualBound's powers"] = bound.action
        learner = adapter()
        adapted, _, _ = _learn(stacked(self.start.parameters, count), (train, scored), 20, 20)
        with torch.no_grad():
            actions["MetaGNN, 20 epochs"] = learner.deployed(adapted)(scored)
        for name, action in actions.items():
            made[f"objective.{name}"] = PROBLEM.evaluate(exact, in_double(action)).objective
        return made | self._late_rates()

    def _late_rates(self) -> dict[str, Tensor]:
        """Mean rates after 100 slots, of each link."""
        settings, count = self.settings, self.settings.configurations
        _, test = report_set(SQUARE, self.links, count, (settings.train_slots, settings.test_slots))
        warm = min(100, settings.test_slots // 2)
        late = replace(test, gain=test.gain[:, warm:])
        found = {}
        with torch.no_grad():
            for name, allocator in allocators(self.augmented).items():
                found[f"late.{name}"] = PROBLEM.rate(late, allocator(test).power_w[:, warm:])
        return found


def _given(value: Tensor | None) -> Tensor:
    if value is None:
        raise ValueError("bound: must be certified, received none")
    return value
