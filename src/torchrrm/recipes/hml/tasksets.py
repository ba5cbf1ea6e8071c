"""The tasksets of Table III of [Hao2024], and slices whose features are computed when they are drawn."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.channels import Fading, Nakagami, Rayleigh, Rice, hml_scenario, uma_scenario, umi_scenario
from torchrrm.policies.slice_gnn import FEATURES, PreparedSlice
from torchrrm.problems import QoS, SliceAction, SliceBandwidth, SliceInstance, Task
from torchrrm.records import index, replace, tensor_record
from torchrrm.setups.slicing import SliceSource, SliceTerms
from torchrrm.solvers import ExactSlicing

__all__ = [
    "Blocked",
    "BoundedSlice",
    "OneOf",
    "PooledSource",
    "PreparedSource",
    "TrainingSet",
    "broad_source",
    "cell_source",
    "certified_bound",
    "meta_test_source",
    "pooled_task",
    "prepared_task",
]


@dataclass(frozen=True)
class Blocked:
    """A source whose eavesdropper does not hear some users, as behind a building: each with this probability."""

    source: SliceSource
    probability: float

    def __call__(self, batch_size: int, *, generator: torch.Generator) -> SliceInstance:
        drawn = self.source(batch_size, generator=generator)
        heard = torch.rand(drawn.cn0_hz.shape, generator=generator) >= self.probability
        return replace(drawn, eavesdropper_cn0_hz=drawn.eavesdropper_cn0_hz * heard)


@dataclass(frozen=True)
class PreparedSource:
    """Slices of a source, scheduled and with a policy's features, so that training pays for neither in each step."""

    problem: SliceBandwidth
    source: SliceSource | Blocked
    features: str

    def __call__(self, batch_size: int, *, generator: torch.Generator) -> PreparedSlice:
        schedule = self.problem.schedule(self.source(batch_size, generator=generator))
        return PreparedSlice(**vars(schedule), features=FEATURES[self.features][1](self.problem, schedule))


def cell_source(
    users: int, path_loss_exponent: float, shadowing_db: float, fading: Fading, terms: SliceTerms
) -> SliceSource:
    """Slices of the paper's literal cell."""
    return SliceSource(hml_scenario(path_loss_exponent, shadowing_db, fading), users, terms)


def meta_test_source(users: int = 50, min_rate_bps: float = 10e6, bandwidth_hz: float = 100e6) -> SliceSource:
    """Column T^F and T^E of Table III: exponent 4, 8 dB, Rayleigh; a figure varies one of the others."""
    terms = SliceTerms(bandwidth_hz=bandwidth_hz, min_rate_bps=min_rate_bps)
    return cell_source(users, 4.0, 8.0, Rayleigh(), terms)


def prepared_task(
    problem: SliceBandwidth, source: SliceSource, features: str
) -> Task[PreparedSlice, SliceAction]:
    """The source as a task of prepared slices; the effective capacity averages over the fading, so it gets none."""
    fading = problem.qos is not QoS.EFFECTIVE_CAPACITY
    source = SliceSource(source.channels, source.users, source.terms, fading)
    return Task(problem, PreparedSource(problem, source, features))


@dataclass(frozen=True)
class OneOf:
    """Draws one of `low, low + step, ..., high`, all alike."""

    low: int
    high: int
    step: int = 1

    def __call__(self, generator: torch.Generator) -> int:
        count = (self.high - self.low) // self.step + 1
        return self.low + self.step * int(torch.randint(count, (), generator=generator))


@dataclass(frozen=True)
class TrainingSet:
    """Column T^S and T^Q of Table III, a distribution over tasks; calling it with a generator draws one.

    Attributes:
        problem: of every task; the paper's is the secrecy rate in long blocks.
        features: of the policy that is to be trained.
        users: drawn for each task.
        min_rate_mbps: drawn for each task, in Mbit/s.
        bandwidth_mhz: drawn for each task, in MHz.
    """

    problem: SliceBandwidth
    features: str
    users: OneOf = OneOf(10, 30)
    min_rate_mbps: OneOf = OneOf(10, 10)
    bandwidth_mhz: OneOf = OneOf(100, 100)

    def __call__(self, generator: torch.Generator) -> Task[PreparedSlice, SliceAction]:
        terms = SliceTerms(
            bandwidth_hz=1e6 * self.bandwidth_mhz(generator), min_rate_bps=1e6 * self.min_rate_mbps(generator)
        )
        exponent, shadowing_db = OneOf(2, 3)(generator), OneOf(3, 5)(generator)
        source = cell_source(
            int(self.users(generator)), exponent, shadowing_db, _table_fading(generator), terms
        )
        return prepared_task(self.problem, source, self.features)


def _table_fading(generator: torch.Generator) -> Fading:
    """Rice with `s` in 1..5 at `sigma = 1`, or Nakagami with `m` in 2..6, either with probability one half."""
    if bool(torch.rand((), generator=generator) < 0.5):
        return Rice.from_amplitude(float(OneOf(1, 5)(generator)))
    return Nakagami(float(OneOf(2, 6)(generator)))


@tensor_record
class BoundedSlice(PreparedSlice):
    """A prepared slice with the certified bound on its sum rate in bit/s."""

    upper_bound_bps: Float[Tensor, "*batch"]


@dataclass(frozen=True)
class PooledSource:
    """Serves ready-made batches at random: bounds and features are then paid for once and not in each step."""

    batches: tuple[BoundedSlice, ...]

    def __call__(self, batch_size: int, *, generator: torch.Generator) -> BoundedSlice:
        batch = self.batches[int(torch.randint(len(self.batches), (), generator=generator))]
        return index(batch, slice(batch_size))


def broad_source(problem: SliceBandwidth, generator: torch.Generator) -> Blocked:
    """Slices of a cell far wider than Table III, for policies that shall serve any.

    A power-law cell (exponent 2 to 4, 3 to 8 dB, any fading law), an urban micro or an urban macro cell; 5 to 50
    users of 1 to 10 Mbit/s on 10 to 100 MHz; in half of the cells some or all users are out of the
    eavesdropper's reach.
    """
    terms = SliceTerms(
        bandwidth_hz=1e6 * OneOf(10, 100)(generator), min_rate_bps=1e6 * OneOf(1, 10)(generator)
    )
    shape = float(OneOf(1, 6)(generator))
    law = (Rayleigh(), Rice.from_amplitude(min(shape, 5.0)), Nakagami(shape))[OneOf(0, 2)(generator)]
    power_law = hml_scenario(OneOf(2, 4)(generator), OneOf(3, 8)(generator), law)
    cells = (power_law, power_law, umi_scenario(fading=law), uma_scenario(fading=law))
    fading = problem.qos is not QoS.EFFECTIVE_CAPACITY
    source = SliceSource(cells[OneOf(0, 3)(generator)], OneOf(5, 50)(generator), terms, fading)
    return Blocked(source, max(0, OneOf(-4, 4)(generator)) / 4)


def certified_bound(problem: SliceBandwidth, drawn: SliceInstance) -> Float[Tensor, "*batch"]:
    """Upper bound on the sum rate of each slice in bit/s."""
    bound = ExactSlicing(problem).solve(drawn).upper_bound
    if bound is None:
        raise ValueError(f"problem: must have a certified bound, received {problem.name}")
    return bound


def pooled_task(
    problem: SliceBandwidth, features: str, batches: int, batch_size: int, generator: torch.Generator
) -> Task[BoundedSlice, SliceAction]:
    """A task of one kind of service over broad cells, from a pool of `batches`, each of one cell."""
    pool = []
    for _ in range(batches):
        drawn = PreparedSource(problem, broad_source(problem, generator), features)(
            batch_size, generator=generator
        )
        pool.append(BoundedSlice(**vars(drawn), upper_bound_bps=certified_bound(problem, drawn)))
    return Task(problem, PooledSource(tuple(pool)))
