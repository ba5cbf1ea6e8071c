"""What is learned: the paper's network for one cell, layer by layer, and the policies that parameters make."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from torchrrm.learning.layerwise import LayerwiseSettings, train_layers
from torchrrm.policies.unrolled import unroll
from torchrrm.policies.usrmnet import LiteralUSRMNet
from torchrrm.problems import MisoInstance
from torchrrm.recipes.jobs import Start
from torchrrm.recipes.usrmnet.allocators import LITERAL, USRMNET, BeamAllocator
from torchrrm.recipes.usrmnet.cases import CHOOSE, TRAIN, Case, draws_of, generator_of
from torchrrm.recipes.usrmnet.settings import LiteralSettings
from torchrrm.recipes.usrmnet.training import default_policy
from torchrrm.records import to
from torchrrm.setups import workbench

__all__ = ["LiteralTraining", "learned", "literal_policy", "literal_start", "strays"]

_PREFIX = "parameters."
_LAYERS = 2  # of the paper's tables


@dataclass(frozen=True)
class LiteralTraining:
    """The paper's network for one cell, Algorithm 2: parameters, and how each layer learned.

    Attributes:
        case: the cell.
        layers: trained one after the other.
        scale: start of both scales of the loss.
        seed: of the run.
        settings: of the training.
    """

    case: Case
    layers: int
    scale: float
    seed: int
    settings: LiteralSettings

    @property
    def name(self) -> str:
        return f"literal-{self.case.name}-{self.layers}-{self.scale:g}"

    def __call__(self) -> dict[str, Tensor]:
        settings = self.settings
        policy = workbench.seeded(lambda: LiteralUSRMNet(self.case.users, depth=self.layers), self.seed)
        how = LayerwiseSettings(epochs=settings.epochs, scales=(self.scale, self.scale))
        train = to(draws_of(self.case, settings.samples, TRAIN), dtype=torch.float32)
        watched = to(draws_of(self.case, settings.watched, CHOOSE), dtype=torch.float32)
        history = train_layers(policy, train, watched, how, generator=generator_of(TRAIN, self.seed))
        parameters = {_PREFIX + name: value for name, value in policy.state_dict().items()}
        return parameters | {
            name: getattr(history, name) for name in ("objective", "violation", "kept", "scale", "loss")
        }


def literal_start(job: LiteralTraining, result: dict[str, Tensor]) -> Start:
    """The trained parameters by value."""
    return Start(
        job.name, {name.removeprefix(_PREFIX): v for name, v in result.items() if name.startswith(_PREFIX)}
    )


def literal_policy(start: Start, users: int, layers: int | None = None) -> LiteralUSRMNet:
    """The paper's network of trained parameters in double precision; its first layers where so many are asked for."""
    trained = 1 + max(int(name.split(".")[1]) for name in start.parameters)
    policy = LiteralUSRMNet(users, depth=trained)
    policy.load_state_dict(start.parameters)
    policy.layers = policy.layers[:layers]
    return policy.double().eval()


def strays(policy: LiteralUSRMNet, instance: MisoInstance) -> Tensor:
    """`V_b` of the last layer: the mean violation of (10h) to (10k) over users and constraints, `[draw]`."""
    with torch.no_grad():
        program = policy.describe(instance, unroll(policy, instance, len(policy.layers) - 1))
        violation = program.violation(policy.layers[-1](program))
    return torch.stack(list(violation.values())).mean(0).mean(-1)


def learned(starts: Iterable[tuple[str, Start]], users: int) -> dict[str, BeamAllocator]:
    """Policies by their names in tables."""
    make = {
        USRMNET: lambda start: default_policy(start.parameters),
        LITERAL: lambda start: literal_policy(start, users, _LAYERS),
    }
    return {name: make[name](start) for name, start in starts}
