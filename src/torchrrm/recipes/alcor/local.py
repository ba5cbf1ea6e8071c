"""The distributed policy: its training, and its rates where channels are held, correlated, or new in every slot."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from torchrrm import learning
from torchrrm.channels import SCENARIOS, CorrelatedRayleigh, rayleigh_scenario
from torchrrm.learning.optimisers import gradient_and_value
from torchrrm.policies import LocalPower
from torchrrm.problems import ErgodicInstance, LinkInstance, PowerAction, Problem, WeightedSumRate
from torchrrm.recipes.alcor.cases import DIVERSE, TRAIN, generator_of, rayleigh
from torchrrm.recipes.jobs import quiet_run
from torchrrm.records import map_tensors, replace
from torchrrm.setups import workbench
from torchrrm.setups.links import RAYLEIGH_TERMS, LinkSource, draw_links, paused, terms_of

__all__ = [
    "LocalTraining",
    "Rounds",
    "fading_links",
    "held_rates",
    "late_rounds",
    "own_gain_rule",
    "slot_rates",
]

_SCENARIOS = ("rayleigh", "seven-cells")
_STREAM = 41  # of the generators, apart from those of the other jobs
_LEARNING_RATE = 2e-3
_MOST_MULTIPLIER = 4.0


class Rounds(nn.Module):
    """The powers of all rounds of a distributed policy, as one action of batch shape `[*batch round]`."""

    def __init__(self, policy: LocalPower):
        super().__init__()
        self.policy = policy

    def forward(self, instance: LinkInstance) -> PowerAction:
        return PowerAction(power_w=self.policy.rollout(instance))


def late_rounds(problem: Problem[Any, Any], instance: LinkInstance, action: PowerAction) -> Float[Tensor, ""]:
    """Negative weighted sum rate over the mean weight, round `r` of `R` weighing `2 r / (R (R + 1))`.

    Rounds before the last are scored, too: a gradient through many rounds alone is a poor teacher of the first
    ones, and a policy that is stopped early should have something to show.
    """
    each = map_tensors(lambda tensor: tensor.unsqueeze(1), instance)
    reached = problem.evaluate(each, action).objective  # [batch round]
    weight = torch.arange(1.0, reached.shape[-1] + 1, dtype=reached.dtype, device=reached.device)
    count = torch.clamp(instance.active.sum(-1), min=1)
    mean_weight = torch.where(instance.active, instance.weight, 0.0).sum(-1) / count
    scaled = reached / torch.clamp(mean_weight, min=1e-3)[:, None]  # 0 where nobody is active
    return -(scaled.mean(0) * weight / weight.sum()).sum()


@dataclass(frozen=True)
class LocalTraining:
    """The distributed policy, trained for the sum rate (3) of [Behmandpoor2024] through its rounds.

    In the first half of the steps batch normalisation takes its statistics from the batch, round by round, as
    usual; in the second half they are held, since the policy that is used has one mean and deviation for all of its
    rounds, and no batch. (Without that half the rate of the last round was 3 % to 12 % less at N = 20.)

    Attributes:
        links: number of links; of a range, each step has a uniform number.
        diverse: links are on with a probability drawn from `DIVERSE` for each instance; else all of them are.
        seed: of the first parameters and of the samples.
        weighted: of the policy; weights are then `1 + mu` with random multipliers, up to a few.
        scenario: rayleigh or seven-cells.
        rounds: slots that a channel is held.
        steps: gradient steps.
        links_per_step: links of all instances of a step.
    """

    links: int | tuple[int, int]
    diverse: bool
    seed: int
    weighted: bool = False
    scenario: str = "rayleigh"
    rounds: int = 6
    steps: int = 1200
    links_per_step: int = 2000

    def __post_init__(self) -> None:
        if self.scenario not in _SCENARIOS:
            raise ValueError(f"scenario: must be one of {', '.join(_SCENARIOS)}, received {self.scenario!r}")

    @property
    def name(self) -> str:
        links = self.links if isinstance(self.links, int) else "-".join(str(count) for count in self.links)
        kinds = ("-diverse" if self.diverse else "") + ("-weighted" if self.weighted else "")
        return f"local-{self.scenario}-{links}{kinds}-{self.seed}"

    def __call__(self) -> dict[str, Tensor]:
        policy = workbench.seeded(self.policy, self.seed)
        generator = generator_of(TRAIN, _STREAM, self.seed)
        loss = learning.PolicyLoss(Rounds(policy), late_rounds)

        def gradient(
            parameters: learning.Parameters, generator: torch.Generator
        ) -> tuple[learning.Parameters, Tensor]:
            instance = self.draw(generator)
            return gradient_and_value(lambda theta: loss(theta, WeightedSumRate(), instance), parameters)

        moving = learning.DescentSettings(self.steps - self.steps // 2, _LEARNING_RATE, clip_norm=1.0)
        held = replace(moving, steps=self.steps // 2, schedule="cosine")
        for settings in (moving, held):
            loss.policy.train(settings is moving)
            learning.descend(loss.policy, gradient, settings, generator=generator, run=quiet_run())
        return learning.parameters_of(policy) | learning.buffers_of(policy)

    def policy(self) -> LocalPower:
        """A policy with random parameters."""
        return LocalPower(rounds=self.rounds, weighted=self.weighted)

    def trained(self, parameters: dict[str, Tensor]) -> LocalPower:
        """The policy of what the job returned."""
        policy = self.policy()
        policy.load_state_dict(parameters)
        return policy.eval()

    def draw(self, generator: torch.Generator) -> LinkInstance:
        """The instances of a step."""
        least, most = (self.links, self.links) if isinstance(self.links, int) else self.links
        links = int(torch.randint(least, most + 1, (), generator=generator))
        source = LinkSource(SCENARIOS[self.scenario](), links, terms_of(self.scenario))
        batch = max(self.links_per_step // links, 1)
        instance = draw_links(source, batch, generator=generator)
        if self.weighted:
            most_of_each, part = torch.rand(2, batch, 1, generator=generator)
            multiplier = _MOST_MULTIPLIER * most_of_each * torch.rand(batch, links, generator=generator)
            asked = torch.rand(batch, links, generator=generator) < part
            instance = replace(instance, weight=1.0 + multiplier * asked)
        if self.diverse:
            chosen = torch.randint(len(DIVERSE), (batch, 1), generator=generator)
            instance = paused(instance, torch.tensor(DIVERSE)[chosen], generator=generator)
        return instance


def held_rates(
    policy: LocalPower, instance: LinkInstance, rounds: int
) -> tuple[Float[Tensor, "round"], Float[Tensor, "round"]]:
    """Mean sum rate in bit/s/Hz of each slot of a held channel, and the scalars told to an active link before it.

    The first entry is the slot at full power, for which nobody is told anything.
    """
    memory = policy.start(instance)
    powers, told = [instance.max_power_w], [torch.zeros_like(instance.active, dtype=torch.int64)]
    for _ in range(rounds):
        told.append(policy.messages(instance, memory))
        powers.append(policy.decide(instance, memory).power_w)
        memory = policy.observe(instance, powers[-1], memory)
    problem = WeightedSumRate()
    rates = [problem.rate(instance, power).sum(-1).mean() for power in powers]
    return torch.stack(rates), torch.stack([each.sum() for each in told]) / instance.active.sum()


def slot_rates(policy: LocalPower, slots: ErgodicInstance) -> Float[Tensor, "slot"]:
    """Mean sum rate in bit/s/Hz of each slot, decided with one slot of delay, whatever the channel does meanwhile."""
    power, _ = policy.run(slots)
    return WeightedSumRate().rate(slots.slots(), power).sum(-1).flatten(0, -2).mean(0)


def fading_links(links: int, doppler: float) -> LinkSource:
    """Rayleigh links at 15 dB; `doppler` is the largest Doppler shift times a slot, `inf` a new channel each slot.

    Channels a slot apart have the correlation `J_0(2 pi doppler)`; [Nasir2019] has 0.2, that is 0.64.
    """
    if doppler == math.inf:
        return rayleigh(links)
    fading = CorrelatedRayleigh()
    return LinkSource(
        rayleigh_scenario(replace(fading, slot_s=doppler / fading.doppler_hz)), links, RAYLEIGH_TERMS
    )


def own_gain_rule(instance: LinkInstance, share: float) -> PowerAction:
    """Full power where the own direct channel is among the best `share` of Rayleigh channels, else none.

    What is left of local information if channels are new in each slot: what was measured of others is of channels
    that are gone. The best share was found to be a tenth at 20 links and 15 dB, for 5.0 bit/s/Hz; rules learned of
    the own channel, shared or one for each link, and `LocalPower` trained on such slots came to 4.9, one link that
    always sends to 4.3. The 6.66 of Table I, for the distributed policy, needs channels that last some slots.
    """
    direct = instance.gain.diagonal(dim1=-2, dim2=-1)
    on = instance.active & (direct > -math.log(share))
    return PowerAction(power_w=torch.where(on, instance.max_power_w, 0.0))
