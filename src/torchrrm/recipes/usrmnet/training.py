"""Training of the default network: one set of weights for all numbers of users, antennas, SNRs and blocklengths."""

import math
import random
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.func import functional_call

from torchrrm import learning
from torchrrm.channels import urllc_scenario
from torchrrm.learning import Parameters
from torchrrm.learning.optimisers import gradient_and_value
from torchrrm.policies.usrmnet import USRMNet
from torchrrm.policies.usrmnet.core import Uplink, response, uplink
from torchrrm.problems import MisoInstance, UrllcBeamforming
from torchrrm.problems.beamforming import miso_instance
from torchrrm.recipes.jobs import quiet_run
from torchrrm.records import index
from torchrrm.setups import workbench
from torchrrm.setups.beamforming import BeamSource
from torchrrm.solvers import GramAscent
from torchrrm.solvers.beam_power import restored_share

__all__ = [
    "TRAININGS",
    "Cell",
    "DefaultTraining",
    "TrainingSettings",
    "default_policy",
    "draw_cell",
    "draw_in",
]

_TRAIN = 31_500_000
_RINGS = ((30.0, 200.0), (50.0, 300.0), (120.0, 140.0), (100.0, 200.0), (20.0, 100.0))


@dataclass(frozen=True)
class TrainingSettings:
    """How much the training does.

    Attributes:
        cells: random ones (`draw_cell`), each of one number of users and antennas.
        draws: feasible instances of each, at most.
        steps: gradient steps, each on instances of one cell.
        batch_size: instances of a step.
        learning_rate: of Adam, going to 0 as a cosine.
        floor: what is lost to `GramAscent`, in parts of its objective, below which less is hardly rewarded.
        early: weight of the loss after each layer but the last.
    """

    cells: int = 256
    draws: int = 96
    steps: int = 4500
    batch_size: int = 32
    learning_rate: float = 4e-3
    floor: float = 1e-7
    early: float = 0.3


TRAININGS: dict[str, TrainingSettings] = {
    "smoke": TrainingSettings(cells=4, draws=8, steps=4, batch_size=4),
    "quick": TrainingSettings(),
    "full": TrainingSettings(cells=768, draws=256, steps=24_000, batch_size=48),
}


@dataclass(frozen=True)
class Cell:
    """Where instances are drawn from.

    Attributes:
        users: served at once.
        antennas: of the station.
        ring: distances of the users in m, by area.
        snr_db: of the power limit, on top of the path loss of [He2022USRMNet].
        blocklength: channel uses.
        payload_bits: of each user.
        paths: of each channel, from neighbouring directions to a uniform array; 0 is Rayleigh fading.
        shadowing_db: deviation of a log-normal factor of each user's gain.
        spread: deviation of the logarithms of the users' weights.
    """

    users: int
    antennas: int
    ring: tuple[float, float]
    snr_db: float
    blocklength: int
    payload_bits: float
    paths: int = 0
    shadowing_db: float = 0.0
    spread: float = 0.0


class Labelled(NamedTuple):
    """Feasible instances of one cell in the Gram form, and the objective that `GramAscent` reaches."""

    links: Uplink
    best: Float[Tensor, "*batch"]


def draw_cell(rng: random.Random) -> Cell:
    """A random cell: 3 to 16 users, 16 to 64 antennas, 10 to 25 dB, all terms within what is tested, and beyond."""
    users, ring = rng.randint(3, 16), rng.choice(_RINGS)
    antennas = rng.choice([n for n in (16, 16, 24, 32, 48, 64, 64) if n >= users])
    city = rng.random() < 0.5  # few paths, shadowing, and users with much more than they need
    return Cell(
        users=users,
        antennas=antennas,
        ring=ring,
        snr_db=rng.uniform(15.0, 45.0) if city else rng.uniform(10.0, 25.0),
        blocklength=rng.choice((64, 128, 128, 256, 256, 512)),
        payload_bits=rng.uniform(128.0, 320.0),
        paths=rng.randint(1, 6) if city else 0,
        shadowing_db=rng.uniform(0.0, 16.0) if city else 0.0,
        spread=rng.uniform(0.2, 1.0) if rng.random() < 0.35 else 0.0,
    )


def draw_in(cell: Cell, count: int, *, generator: torch.Generator) -> MisoInstance:
    """Instances of a cell in double precision, feasible or not."""
    source = BeamSource(
        urllc_scenario(*cell.ring), users=cell.users, antennas=cell.antennas, dtype=torch.float64
    )
    channel = source.sample(count, generator=generator)
    if cell.paths > 0:
        gain = channel.abs().square().mean(-1, keepdim=True).sqrt()
        channel = gain * _few_paths(channel.shape, cell.paths, generator)
    shape = channel.shape[:-1]
    shadow = torch.randn(shape, generator=generator, dtype=torch.float64) * cell.shadowing_db / 20
    weight = (torch.randn(shape, generator=generator, dtype=torch.float64) * cell.spread).exp()
    return miso_instance(
        channel * 10 ** shadow[..., None],
        max_power_w=10 ** (cell.snr_db / 10),
        weight=weight / weight.sum(-1, keepdim=True),
        blocklength=float(cell.blocklength),
        payload_bits=cell.payload_bits,
    )


def _few_paths(
    shape: torch.Size, paths: int, generator: torch.Generator
) -> Complex[Tensor, "*batch user ant"]:
    """Channels of mean gain 1 over a uniform linear array of half wavelengths, paths within some 10 degrees."""
    users, antennas = shape[:-1], shape[-1]
    real: dict[str, Any] = {"generator": generator, "dtype": torch.float64}
    centre = (torch.rand((*users, 1), **real) - 0.5) * (2 * math.pi / 3)
    sine = torch.sin(centre + 0.15 * torch.randn((*users, paths), **real))
    phase = math.pi * sine[..., None] * torch.arange(antennas, dtype=torch.float64)
    amplitude = torch.complex(torch.randn((*users, paths), **real), torch.randn((*users, paths), **real))
    channel = (amplitude[..., None] * torch.polar(torch.ones_like(phase), phase)).sum(-2)
    return channel / channel.abs().square().mean(-1, keepdim=True).sqrt()


def _labelled(seed: int, draws: int) -> Labelled | None:
    """Feasible instances of the random cell of a seed; none if fewer than a tenth are."""
    cell, generator = draw_cell(random.Random(seed)), torch.Generator().manual_seed(seed)
    instance = draw_in(cell, draws, generator=generator)
    solved = GramAscent().solve(instance)
    kept = solved.converged.nonzero()[:, 0]
    if len(kept) < max(2, draws // 10):
        return None
    links = uplink(instance)
    best = UrllcBeamforming().evaluate(instance, solved.action).objective / instance.weight.mean(-1)
    return Labelled(index(links, kept), best[kept])


class _Shares(nn.Module):
    """The policy's shares after each layer, restored to the minimum rates."""

    def __init__(self, policy: USRMNet):
        super().__init__()
        self.policy = policy

    def forward(self, links: Uplink) -> list[Tensor]:
        wish, found = self.policy.begin(links), []
        for layer in self.policy.layers:
            program = self.policy.describe(links, wish)
            wish = self.policy.advance(links, wish, layer(program))
            found.append(restored_share(links.gram, wish.wanted, links.target)[0])
        return found


def _rate(links: Uplink, share: Tensor) -> Float[Tensor, "*batch"]:
    """Weighted sum rate in nats, weights relative to their mean."""
    _, _, error = response(links.gram, share)
    dispersion = torch.sqrt((1 - error.square()).clamp_min(1e-12))
    return (links.weight * (-torch.log(error) - links.back_off * dispersion)).sum(-1)


@dataclass(frozen=True)
class DefaultTraining:
    """`USRMNet` on random cells of all kinds, by what it loses to `GramAscent`.

    The loss is the mean logarithm of `1 - objective / objective of GramAscent`, after the restoration to the minimum
    rates, whose derivative is exact: thus each regime counts by its factors, the easy ones too, where equal power
    loses 1e-5, and no multipliers are needed. All layers learn together, the earlier ones by the same loss with a
    smaller weight. Training layer by layer, as Algorithm 2 of [He2022USRMNet], is for the paper's network
    (`LiteralTraining`). Instances that are infeasible are left out.
    """

    seed: int = 0
    settings: TrainingSettings = TRAININGS["quick"]

    @property
    def name(self) -> str:
        return f"default-{self.seed}"

    def __call__(self) -> dict[str, Tensor]:
        settings, first = self.settings, _TRAIN + 100_000 * self.seed
        found = [_labelled(first + i, settings.draws) for i in range(settings.cells)]
        drawn = [labelled for labelled in found if labelled is not None]
        policy = workbench.seeded(USRMNet, self.seed)
        trainee = _Shares(policy)

        def gradient(parameters: Parameters, generator: torch.Generator) -> tuple[Parameters, Tensor]:
            among = drawn[int(torch.randint(len(drawn), (), generator=generator))]
            chosen = torch.randint(len(among.best), (settings.batch_size,), generator=generator)
            batch = Labelled(index(among.links, chosen), among.best[chosen])
            return gradient_and_value(lambda theta: self._loss(trainee, theta, batch), parameters)

        how = learning.DescentSettings(
            steps=settings.steps, learning_rate=settings.learning_rate, schedule="cosine", clip_norm=5.0
        )
        generator = torch.Generator().manual_seed(first)
        learning.descend(trainee, gradient, how, generator=generator, run=quiet_run())
        return learning.parameters_of(policy)

    def _loss(self, trainee: _Shares, parameters: Parameters, batch: Labelled) -> Tensor:
        shares = cast(list[Tensor], functional_call(trainee, parameters, (batch.links,)))
        losses = [self._lost(batch, share) for share in shares]
        return losses[-1] + self.settings.early * sum(losses[:-1])

    def _lost(self, batch: Labelled, share: Tensor) -> Tensor:
        lost = (1 - _rate(batch.links, share) / batch.best).clamp_min(0)
        return torch.log(lost + self.settings.floor).mean()


def default_policy(parameters: dict[str, Tensor]) -> USRMNet:
    """The policy of what the job returned."""
    policy = USRMNet(depth=len(parameters) // 4, hidden=parameters["layers.0.step.inner"].shape[1])
    policy.load_state_dict(parameters)
    return policy.eval()
