"""Training of `UnrolledPower`: powers under minimum rates, as layers of `UPGDNet` and then as a whole."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.channels import metagnn_scenario
from torchrrm.learning import (
    LayerHistory,
    LayerwiseSettings,
    PolicyLoss,
    RunSettings,
    TrainerSettings,
    Unsupervised,
    train,
    train_layers,
)
from torchrrm.policies import UnrolledPower
from torchrrm.problems import LinkInstance, QosSumRate, Task
from torchrrm.records import index
from torchrrm.setups.links import LinkSource, draw_links

__all__ = ["UnrolledPowerSettings", "feasible_links", "train_unrolled_power"]

_LAYERS = LayerwiseSettings(epochs=4, batch_size=50, learning_rate=2e-3, multiplier_rate=1e-2, shared=True)
_WHOLE = TrainerSettings(steps=1200, batch_size=50, learning_rate=3e-3, schedule="cosine", clip_norm=1.0)


@dataclass(frozen=True)
class UnrolledPowerSettings:
    """What is trained, on what, and how.

    Attributes:
        links: of each instance, in the square of [Huang2024].
        min_rate_bps_hz: of every link.
        draws: instances to train on; those whose minimum rates cannot be reached are left out, and so are they of
            the instances to score on.
        checks: draws to score on after each epoch.
        layers: how each layer learns.
        whole: how all layers learn together afterwards, through the restoration of the minimum rates.
    """

    links: int = 10
    min_rate_bps_hz: float = 0.5
    draws: int = 4000
    checks: int = 400
    layers: LayerwiseSettings = _LAYERS
    whole: TrainerSettings = _WHOLE


def feasible_links(
    settings: UnrolledPowerSettings, draws: int, *, generator: torch.Generator
) -> LinkInstance:
    """Those of so many draws whose minimum rates can be reached."""
    drawn = draw_links(LinkSource(metagnn_scenario(), settings.links), draws, generator=generator)
    return index(drawn, QosSumRate(settings.min_rate_bps_hz).feasible(drawn))


def _mean_weight(instance: LinkInstance) -> Float[Tensor, "*batch"]:
    return torch.where(instance.active, instance.weight, torch.zeros_like(instance.weight)).sum(-1)


def train_unrolled_power(
    policy: UnrolledPower,
    settings: UnrolledPowerSettings,
    *,
    generator: torch.Generator,
    run: RunSettings | None = None,
) -> LayerHistory:
    """Train the policy in place; return how its layers learned.

    Algorithm 2 first. Its multipliers leave many instances a little short, and the restoration that mends this costs
    rate; training all layers through it, where every minimum rate is kept and the rate alone is to be had, wins most
    of that back.

    Args:
        policy: of the settings' minimum rate.
        settings: of the training.
        generator: draws the instances and their order.
        run: checkpoints, progress and TensorBoard; the last stage has the name itself, each layer one of its own.
    """
    instances = feasible_links(settings, settings.draws, generator=generator)
    checks = feasible_links(settings, settings.checks, generator=generator)
    history = train_layers(policy, instances, checks, settings.layers, generator=generator, run=run)
    count = instances.active.shape[0]

    def sample(batch_size: int, *, generator: torch.Generator) -> LinkInstance:
        return index(instances, torch.randint(count, (batch_size,), generator=generator))

    task: Task[Any, Any] = Task(policy.problem, sample)
    loss = PolicyLoss(policy, Unsupervised(scale=_mean_weight))
    train(loss, [task], settings.whole, generator=generator, run=run)
    return history
