"""Training of state-augmented policies: over multipliers as they occur, and a regressor of the first ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from torchrrm.learning.loop import RunSettings, descend
from torchrrm.learning.objectives import Parameters
from torchrrm.learning.optimisers import DescentSettings, gradient_and_value
from torchrrm.policies import ConfigurationGNN, OnlineDual
from torchrrm.problems import ErgodicInstance, LinkInstance, PowerAction, Task, WeightedSumRate
from torchrrm.records import batch_shape, index, replace, tensor_record

__all__ = ["RegressionSettings", "Trajectories", "collect", "mean_weight", "regress_first", "weighted_task"]


@tensor_record
class Trajectories:
    """Multipliers of configurations at several moments of a control loop.

    Attributes:
        multiplier: at those moments.
        settled: their mean over the second half of the loop, near the optimum of the dual problem.
    """

    multiplier: Float[Tensor, "*batch moment tx"]
    settled: Float[Tensor, "*batch tx"]


@torch.no_grad()
def collect(loop: OnlineDual, instance: ErgodicInstance, moments: int) -> Trajectories:
    """Run the loop over the instance's slots and keep its multipliers at `moments` equally spaced ones."""
    slots = instance.gain.shape[-3]
    if not 1 <= moments <= slots:
        raise ValueError(f"moments: must be 1 to the number of slots {slots}, received {moments}")
    every = loop.track(instance, loop.start(instance))[0].multiplier  # [*batch slot tx]
    chosen = torch.linspace(0, slots - 1, moments).round().long()
    return Trajectories(
        multiplier=every.index_select(-2, chosen), settled=every[..., slots // 2 :, :].mean(-2)
    )


_SUM_RATE = WeightedSumRate()


def weighted_task(
    configurations: ErgodicInstance, found: Trajectories, *, jitter: float = 0.3
) -> Task[LinkInstance, PowerAction]:
    """Weighted sum rates in new slots of Rayleigh fading, weights `1 + mu` of random moments of the trajectories.

    Args:
        configurations: of batch shape `[n]`; only their mean gains are read.
        found: of these configurations.
        jitter: standard deviation of the logarithm of a random factor on each multiplier.
    """
    count, moments = batch_shape(configurations)[0], found.multiplier.shape[-2]
    mean = configurations.mean_slot()

    def sample(batch_size: int, *, generator: torch.Generator) -> LinkInstance:
        chosen = torch.randint(count, (batch_size,), generator=generator)
        moment = torch.randint(moments, (batch_size,), generator=generator)
        links = index(mean, chosen)
        fading = torch.empty_like(links.gain).exponential_(generator=generator)
        multiplier = found.multiplier[chosen, moment]
        noise = torch.randn(multiplier.shape, generator=generator, dtype=multiplier.dtype)
        return replace(
            links,
            gain=links.gain * fading,
            weight=links.weight * (1 + multiplier * torch.exp(jitter * noise)),
        )

    return Task(_SUM_RATE, sample)


def mean_weight(instance: LinkInstance) -> Float[Tensor, "*batch"]:
    """Scale of weighted sum rates: the sum of the weights, which makes the loss a mean rate in bit/s/Hz."""
    return torch.where(instance.active, instance.weight, 0.0).sum(-1)


@dataclass(frozen=True)
class RegressionSettings(DescentSettings):
    """Regression of first multipliers.

    Attributes:
        batch_size: configurations a step.
    """

    steps: int = 500
    learning_rate: float = 1e-3
    batch_size: int = 64


def regress_first(
    net: ConfigurationGNN,
    groups: Sequence[tuple[ErgodicInstance, Trajectories]],
    settings: RegressionSettings,
    *,
    generator: torch.Generator,
    run: RunSettings | None = None,
) -> Float64[Tensor, "step"]:
    """Train `net` in place to give the settled multipliers of a configuration; return the loss of each step.

    The loss is the mean of `(log(1 + mu) - log(1 + mu_net))^2`, since it is weights `1 + mu` that decide, and
    their ratios.

    Args:
        net: the regressor.
        groups: configurations `[n]` and their trajectories, each group of one number of links.
        settings: of the descent.
        generator: draws groups and configurations.
        run: checkpoints, progress and TensorBoard.
    """

    def gradient(parameters: Parameters, generator: torch.Generator) -> tuple[Parameters, Tensor]:
        group = int(torch.randint(len(groups), (), generator=generator))
        configurations, found = groups[group]
        chosen = torch.randint(batch_shape(configurations)[0], (settings.batch_size,), generator=generator)
        batch, wanted = index(configurations, chosen), found.settled[chosen]

        def loss(theta: Parameters) -> Tensor:
            given = torch.func.functional_call(net, theta, (batch,))
            return (torch.log1p(given) - torch.log1p(wanted)).square()[batch.active].mean()

        return gradient_and_value(loss, parameters)

    return descend(net, gradient, settings, generator=generator, run=run)
