"""The tasksets of Table III of [Hao2024], and slices whose features are computed when they are drawn."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from torchrrm.channels import Fading, Nakagami, Rayleigh, Rice, hml_scenario
from torchrrm.policies.slice_gnn import FEATURES, PreparedSlice
from torchrrm.problems import QoS, SliceAction, SliceBandwidth, Task
from torchrrm.recipes.slices import SliceSource, SliceTerms

__all__ = ["Draw", "PreparedSource", "TrainingSet", "cell_source", "one_of", "prepared_task", "test_source"]

Draw = Callable[[torch.Generator], float]


@dataclass(frozen=True)
class PreparedSource:
    """Slices of a source, scheduled and with a policy's features, so that training pays for neither in each step."""

    problem: SliceBandwidth
    source: SliceSource
    features: str

    def __call__(self, batch_size: int, *, generator: torch.Generator) -> PreparedSlice:
        schedule = self.problem.schedule(self.source(batch_size, generator=generator))
        return PreparedSlice(**vars(schedule), features=FEATURES[self.features][1](self.problem, schedule))


def cell_source(
    users: int, path_loss_exponent: float, shadowing_db: float, fading: Fading, terms: SliceTerms
) -> SliceSource:
    """Slices of the paper's literal cell."""
    return SliceSource(hml_scenario(path_loss_exponent, shadowing_db, fading), users, terms)


def test_source(users: int = 50, min_rate_bps: float = 10e6, bandwidth_hz: float = 100e6) -> SliceSource:
    """Column T^F and T^E of Table III: exponent 4, 8 dB, Rayleigh; 50 users, 10 Mbit/s and 100 MHz unless a figure varies them."""
    terms = SliceTerms(bandwidth_hz=bandwidth_hz, min_rate_bps=min_rate_bps)
    return cell_source(users, 4.0, 8.0, Rayleigh(), terms)


def prepared_task(
    problem: SliceBandwidth, source: SliceSource, features: str
) -> Task[PreparedSlice, SliceAction]:
    """The source as a task of prepared slices; the effective capacity averages over the fading, so it gets none."""
    fading = problem.qos is not QoS.EFFECTIVE_CAPACITY
    source = SliceSource(source.channels, source.users, source.terms, fading)
    return Task(problem, PreparedSource(problem, source, features))


def one_of(low: int, high: int, step: int = 1) -> Draw:
    """Draws one of `low, low + step, ..., high`."""
    count = (high - low) // step + 1
    return lambda generator: low + step * int(torch.randint(count, (), generator=generator))


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
    users: Draw
    min_rate_mbps: Draw
    bandwidth_mhz: Draw

    def __call__(self, generator: torch.Generator) -> Task[PreparedSlice, SliceAction]:
        terms = SliceTerms(
            bandwidth_hz=1e6 * self.bandwidth_mhz(generator), min_rate_bps=1e6 * self.min_rate_mbps(generator)
        )
        exponent, shadowing_db = one_of(2, 3)(generator), one_of(3, 5)(generator)
        source = cell_source(
            int(self.users(generator)), exponent, shadowing_db, _table_fading(generator), terms
        )
        return prepared_task(self.problem, source, self.features)


def _table_fading(generator: torch.Generator) -> Fading:
    """Rice with `s` in 1..5 at `sigma = 1`, or Nakagami with `m` in 2..6, either with probability one half."""
    if bool(torch.rand((), generator=generator) < 0.5):
        return Rice.from_amplitude(float(one_of(1, 5)(generator)))
    return Nakagami(float(one_of(2, 6)(generator)))


def bounded(value: Tensor, bound: Tensor) -> Tensor:
    """Value over bound, 1 where the bound is 0: nobody could be scheduled."""
    return torch.where(bound > 0, value / torch.clamp(bound, min=1.0), torch.ones_like(value))
