"""The learned benchmarks of [Behmandpoor2024]: networks for fixed and for dynamic demands, and meta-learning.

All ascend the reward (10), a sum rate with a penalty on demands that are missed on average (`learning.penalty`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import replace_all_batch_norm_modules_

from torchrrm import learning
from torchrrm.learning import LearnedStep, OverSlots, PenalisedRates, Retrained, RetrainSettings
from torchrrm.policies import CentralPower
from torchrrm.problems import ErgodicAction, ErgodicInstance, ErgodicPower, Task
from torchrrm.recipes.alcor.cases import TRAIN, Case, generator_of, rayleigh
from torchrrm.recipes.jobs import Start, quiet_run
from torchrrm.records import replace
from torchrrm.setups import workbench
from torchrrm.setups.links import draw_configurations

__all__ = [
    "DynamicTraining",
    "FixedTraining",
    "StepTraining",
    "demand_task",
    "mean_rates",
    "random_demand_task",
]

_ERGODIC = ErgodicPower()
_FIXED, _DYNAMIC, _STEP = 600, 610, 620  # streams within that of training
_PENALTIES = (1.0, 10.0, learning.DEMAND_PENALTY)
_CHUNK = 1000
DemandTask = Task[ErgodicInstance, ErgodicAction]


def demand_task(demand: Float[Tensor, " tx"], draws: int) -> DemandTask:
    """Mean rates over so many draws of the channel, with these demands in bit/s/Hz."""

    def sample(batch_size: int, *, generator: torch.Generator) -> ErgodicInstance:
        drawn = draw_configurations(rayleigh(len(demand)), batch_size, slots=draws, generator=generator)
        return replace(drawn, min_rate_bps_hz=demand.expand(drawn.active.shape))

    return Task(_ERGODIC, sample)


def random_demand_task(links: int, top_bps_hz: float, draws: int) -> DemandTask:
    """The same with each demand of each instance uniform from 0 to a top: they change `draws` times slower."""

    def sample(batch_size: int, *, generator: torch.Generator) -> ErgodicInstance:
        drawn = draw_configurations(rayleigh(links), batch_size, slots=draws, generator=generator)
        demand = top_bps_hz * torch.rand(batch_size, links, generator=generator)
        return replace(drawn, min_rate_bps_hz=demand)

    return Task(_ERGODIC, sample)


@torch.no_grad()
def mean_rates(
    policy: CentralPower, case: Case, *, draws: int, generator: torch.Generator
) -> Float[Tensor, " tx"]:
    """Mean rate of each link in bit/s/Hz over new draws of the channel; a policy that reads demands has the case's."""
    served, task = OverSlots(policy), demand_task(case.demand, _CHUNK)
    rates = []
    for _ in range(-(-draws // _CHUNK)):
        instance = task.sample(1, generator=generator)
        rates.append(_ERGODIC.rate(instance, served(instance).power_w)[0])
    return torch.stack(rates).mean(0)


def _ascend(
    policy: CentralPower,
    task: DemandTask,
    penalties: Sequence[float],
    how: learning.TrainerSettings,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Train in stages, each with its penalty and half the learning rate of the one before."""
    served = OverSlots(policy)
    for stage, penalty in enumerate(penalties):
        staged = replace(how, learning_rate=how.learning_rate / 2**stage)
        loss = learning.PolicyLoss(served, PenalisedRates(penalty))
        learning.train(loss, [task], staged, generator=generator, run=quiet_run())
    return learning.parameters_of(policy) | learning.buffers_of(policy)


@dataclass(frozen=True)
class FixedTraining:
    """The fixed network, benchmark (i): one policy for one vector of demands, by the reward (10).

    The penalty rises in stages, the last being the paper's. With it from the start, the first thing that a new
    policy learns is to give everybody full power, where it then stays for long.

    Attributes:
        case: the demands.
        hidden: widths of the hidden layers.
        sort: of the policy. The demands must then be less than what everybody has in a policy that treats links
            alike, which those of Table II are; else links must keep their numbers.
        start: parameters and buffers of a policy of this size to begin with; by default they are random. A policy
            that has learned the sum rate needs no stages: there is the last one alone, at a tenth of the rate.
        steps: gradient steps of a stage.
        draws: of a step (1000 in the paper).
        learning_rate: of Adam in the first stage; each ends at 0 as a cosine.
        penalties: of the stages.
        seed: of the first parameters and of the draws.
    """

    case: Case
    hidden: tuple[int, ...]
    sort: bool = True
    start: Start | None = None
    steps: int = 700
    draws: int = 1000
    learning_rate: float = 1e-2
    penalties: tuple[float, ...] = _PENALTIES
    seed: int = 0

    @property
    def name(self) -> str:
        words = "".join(letter if letter.isalnum() else "_" for letter in self.case.name)
        return f"fixed-{words}-{self.seed}"

    def __call__(self) -> dict[str, Tensor]:
        policy = workbench.seeded(self.policy, self.seed)
        penalties, rate = self.penalties, self.learning_rate
        if self.start is not None:
            policy.load_state_dict(self.start.parameters)
            penalties, rate = penalties[-1:], rate / 10
        how = learning.TrainerSettings(steps=self.steps, learning_rate=rate, schedule="cosine", batch_size=1)
        generator = generator_of(TRAIN, _FIXED, self.case.links, self.seed)
        return _ascend(policy, demand_task(self.case.demand, self.draws), penalties, how, generator)

    def policy(self) -> CentralPower:
        """A policy with random parameters."""
        return CentralPower(self.case.links, self.hidden, sort=self.sort)

    def trained(self, parameters: dict[str, Tensor]) -> CentralPower:
        """The policy of what the job returned."""
        policy = self.policy()
        policy.load_state_dict(parameters)
        return policy


@dataclass(frozen=True)
class DynamicTraining:
    """The dynamic network, benchmark (ii): demands are inputs, by the reward (10) of many vectors of them.

    Attributes:
        links: of every instance.
        hidden: widths of the hidden layers; {25+5, 200, 100, 5} in the paper.
        top_bps_hz: demands are uniform from 0 to it, most vectors out of reach.
        vectors: of demands in a step.
        draws: of the channel for each of them: demands change that much slower.
        steps: gradient steps of a stage.
        learning_rate: as in `FixedTraining`.
        penalties: of the stages.
        seed: of the first parameters and of the draws.
    """

    links: int = 5
    hidden: tuple[int, ...] = (200, 100)
    top_bps_hz: float = 5.0
    vectors: int = 10
    draws: int = 100
    steps: int = 1000
    learning_rate: float = 1e-2
    penalties: tuple[float, ...] = _PENALTIES
    seed: int = 0

    @property
    def name(self) -> str:
        return f"dynamic-{self.links}-{self.seed}"

    def __call__(self) -> dict[str, Tensor]:
        policy = workbench.seeded(self.policy, self.seed)
        how = learning.TrainerSettings(
            steps=self.steps,
            learning_rate=self.learning_rate,
            schedule="cosine",
            batch_size=self.vectors,
        )
        generator = generator_of(TRAIN, _DYNAMIC, self.links, self.seed)
        task = random_demand_task(self.links, self.top_bps_hz, self.draws)
        return _ascend(policy, task, self.penalties, how, generator)

    def policy(self) -> CentralPower:
        """A policy with random parameters, whose links keep their numbers, as in the paper."""
        return CentralPower(self.links, self.hidden, demands=True, sort=False)

    def trained(self, parameters: dict[str, Tensor]) -> CentralPower:
        """The policy of what the job returned."""
        policy = self.policy()
        policy.load_state_dict(parameters)
        return policy


@dataclass(frozen=True)
class StepTraining:
    """Meta-learning, benchmark (v): first parameters and a step from which a policy is retrained, Eq. (11).

    Second-order MAML in which each step has some vectors of demands, and each of them one inner step.

    Deviations: an iteration averages over several vectors of demands, each with fewer draws than the paper's 1000,
    which is what its time is best spent on; rates are averaged over iterations in retraining alone, since in
    meta-training each iteration has demands of its own; Adam. Batch normalisation goes by the batch in retraining
    too, where the paper's networks are trained as well, so that there are no running averages to be learned.

    Attributes:
        links: of every instance.
        hidden: widths of the hidden layers.
        top_bps_hz: demands are uniform from 0 to it.
        vectors: of demands in a step.
        draws: of the channel for each of them, new ones after the inner step.
        steps: of the outer loop.
        learning_rate: of Adam, ending at 0 as a cosine.
        first_step: `psi` to begin with.
        seed: of the first parameters and of the draws.
    """

    links: int = 5
    hidden: tuple[int, ...] = (25, 25)
    top_bps_hz: float = 2.5
    vectors: int = 8
    draws: int = 250
    steps: int = 2000
    learning_rate: float = 3e-3
    first_step: float = 0.03
    seed: int = 0

    @property
    def name(self) -> str:
        return f"step-{self.links}-{self.seed}"

    def __call__(self) -> dict[str, Tensor]:
        """The parameters of a `LearnedStep`, its `log_step` among them."""
        meta = LearnedStep(self.policy(self.seed), self.first_step)
        how = learning.MetaSettings(
            method="maml",
            steps=self.steps,
            learning_rate=self.learning_rate,
            schedule="cosine",
            support_tasks=self.vectors,
            query_tasks=1,
            support_samples=1,
            query_samples=1,
        )

        def draw(generator: torch.Generator) -> DemandTask:
            demand = self.top_bps_hz * torch.rand(self.links, generator=generator)
            return demand_task(demand, self.draws)

        loss = learning.PolicyLoss(meta, PenalisedRates())
        generator = generator_of(TRAIN, _STEP, self.links, self.seed)
        learning.meta_train(loss, draw, how, generator=generator, run=quiet_run())
        return learning.parameters_of(meta)

    def policy(self, seed: int) -> OverSlots:
        """A policy with random parameters of a seed, its batch normalisation without running averages."""
        power = workbench.seeded(lambda: CentralPower(self.links, self.hidden, sort=False), seed)
        replace_all_batch_norm_modules_(power)
        return OverSlots(power)

    def retrained(
        self,
        parameters: dict[str, Tensor],
        case: Case,
        *,
        vanilla: bool = False,
        draws: int = 50,
        iterations: int = 100,
        generator: torch.Generator,
    ) -> Retrained:
        """Retraining for new demands by the learned step over `1 + k`: a curve of Fig. 1.

        Args:
            parameters: what the job returned.
            case: the demands.
            vanilla: begin with random parameters instead of the learned ones; the step is the same.
            draws: of an iteration.
            iterations: how many.
            generator: of the draws.
        """
        meta = LearnedStep(self.policy(self.seed), self.first_step)
        learning.adopt(meta, parameters)
        policy = self.policy(self.seed + 1) if vanilla else meta.policy
        return learning.retrain(
            policy,
            learning.parameters_of(policy),
            demand_task(case.demand, draws),
            RetrainSettings(step=meta.step.item(), iterations=iterations),
            generator=generator,
        )
