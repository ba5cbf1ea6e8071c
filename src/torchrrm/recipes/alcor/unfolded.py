"""Training of the policy that unfolds greedy admission: when to stop."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.func import functional_call

from torchrrm import learning
from torchrrm.learning import Parameters
from torchrrm.learning.optimisers import gradient_and_value
from torchrrm.policies.unfolded_power import UnfoldedPower, stop_features, stop_price, stop_probability
from torchrrm.problems import LinkInstance
from torchrrm.recipes.alcor.cases import rayleigh
from torchrrm.recipes.jobs import quiet_run
from torchrrm.records import index, replace, tensor_record
from torchrrm.setups import workbench
from torchrrm.setups.links import draw_links
from torchrrm.solvers.greedy_links import admission_rates, admit, best_pairs
from torchrrm.solvers.relative_links import relative_links

__all__ = ["UnfoldedSettings", "UnfoldedTraining", "looped_weights"]

_TRAIN = 24_000_000
_CHUNK = 5_000_000  # gains of candidates by members that are looked at at once


@dataclass(frozen=True)
class UnfoldedSettings:
    """How much the training does.

    Attributes:
        instances: of each number of links, half of them with weights of a control loop; as `(links, instances)`.
        steps: gradient steps, each on one number of links.
        batch_size: instances of a step.
        learning_rate: of Adam, going to 0 as a cosine.
        prices: least and largest; drawn log-uniformly for each instance of a step.
    """

    instances: tuple[tuple[int, int], ...] = ((5, 2000), (10, 2000), (20, 2000), (50, 1000), (100, 300))
    steps: int = 12_000
    batch_size: int = 256
    learning_rate: float = 1e-2
    prices: tuple[float, float] = (3e-5, 3e-2)


@tensor_record
class Searches:
    """What the layers of the policy find, and what stopping after each of them gives.

    Attributes:
        feature: `stop_features` at a price of 1.
        promising: as in `Pairs`.
        worth: weighted sum rate of admission to the best pairs up to each anchor, in parts of that of all anchors.
    """

    feature: Float[Tensor, "*batch stop feature"]
    promising: Bool[Tensor, "*batch anchor"]
    worth: Float[Tensor, "*batch anchor"]


def looped_weights(shape: torch.Size, *, generator: torch.Generator) -> Tensor:
    """Weights `1 + mu` as control loops have them: for a third of the links `mu` is exponential, of mean 1."""
    asks = torch.rand(shape, generator=generator) < 1 / 3
    return 1.0 + asks * torch.empty(shape).exponential_(generator=generator)


@dataclass(frozen=True)
class UnfoldedTraining:
    """`UnfoldedPower` on Rayleigh channels at 15 dB, from 5 to 100 links, unsupervised.

    What stopping after any layer gives is found beforehand, so that the expected rate of a policy that draws its
    stops, less the price of its layers, is known exactly, with its gradient: nothing is sampled but instances.
    """

    seed: int = 0
    settings: UnfoldedSettings = UnfoldedSettings()

    @property
    def name(self) -> str:
        return f"unfolded-{self.seed}"

    def __call__(self) -> dict[str, Tensor]:
        settings, generator = self.settings, torch.Generator().manual_seed(_TRAIN + self.seed)
        policy = self.policy()
        found = [_search(policy, links, count, generator) for links, count in settings.instances]
        least, largest = (math.log(price) for price in settings.prices)

        def gradient(parameters: Parameters, generator: torch.Generator) -> tuple[Parameters, Tensor]:
            among = found[int(torch.randint(len(found), (), generator=generator))]
            chosen = torch.randint(len(among.worth), (settings.batch_size,), generator=generator)
            price = torch.empty(settings.batch_size).uniform_(least, largest, generator=generator).exp()
            batch = index(among, chosen)
            return gradient_and_value(lambda theta: _loss(policy, theta, batch, price), parameters)

        how = learning.DescentSettings(
            steps=settings.steps, learning_rate=settings.learning_rate, schedule="cosine"
        )
        learning.descend(policy.stop, gradient, how, generator=generator, run=quiet_run())
        return learning.parameters_of(policy)

    def policy(self) -> UnfoldedPower:
        """A policy with random parameters."""
        return workbench.seeded(UnfoldedPower, self.seed)

    def trained(self, parameters: dict[str, Tensor]) -> UnfoldedPower:
        """The policy of what the job returned."""
        policy = self.policy()
        policy.load_state_dict(parameters)
        return policy


def _loss(policy: UnfoldedPower, parameters: Parameters, batch: Searches, price: Tensor) -> Tensor:
    """What the stops lose, in parts of the rate, and the price of the layers, in parts of the price."""
    column = stop_price(price)[:, None, None].expand_as(batch.feature[..., :1])
    level = functional_call(policy.stop, parameters, (torch.cat([batch.feature[..., :-1], column], -1),))
    probability = stop_probability(level.squeeze(-1), batch.promising)
    layers = torch.arange(probability.shape[-1], dtype=price.dtype)
    lost = (probability * (1.0 - batch.worth + price[:, None] * layers)).sum(-1)
    return (lost / price.sqrt()).mean()


@torch.no_grad()
def _search(policy: UnfoldedPower, links: int, count: int, generator: torch.Generator) -> Searches:
    """All layers on random instances of a number of links, half of them with weights of a control loop."""
    source = rayleigh(links)
    drawn = draw_links(source, count, generator=generator)
    weight = looped_weights(drawn.weight.shape, generator=generator)
    weight[::2] = 1.0
    drawn = replace(drawn, weight=weight)
    size = max(1, _CHUNK // (links**2 * min(links, policy.breadth)))
    parts = [_all_layers(policy, index(drawn, slice(i, i + size))) for i in range(0, count, size)]
    fields = {name: torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])}
    return Searches(**fields)


def _all_layers(policy: UnfoldedPower, drawn: LinkInstance) -> Searches:
    links = relative_links(drawn)
    pairs = best_pairs(links, policy.breadth)
    rate = admission_rates(links, admit(links, pairs.member))
    score = torch.where(pairs.fresh & pairs.promising, pairs.value, -torch.inf)
    reached = []
    for anchor in range(1, score.shape[-1] + 1):
        best = score[:, :anchor].topk(min(policy.starts, anchor), dim=-1).indices
        reached.append(rate.gather(-1, best).amax(-1))
    worth = torch.stack(reached, dim=-1)
    count = drawn.active.sum(-1).to(worth.dtype)
    return Searches(
        feature=stop_features(pairs, count, torch.ones_like(count)),
        promising=pairs.promising,
        worth=worth / worth[:, -1:],
    )
