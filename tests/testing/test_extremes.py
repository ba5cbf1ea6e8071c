"""Every registered allocator at the ends of what an instance's numbers may be, and beyond."""

import pytest
import torch
from tests.testing import links
from tests.testing.registered import ALL, Registered

from torchrrm.problems import PowerAction, WeightedSumRate
from torchrrm.records import to
from torchrrm.solvers import MaxPower
from torchrrm.testing import ConformanceError, check_extremes, check_size


def cast(sample, dtype):
    """The sample in a precision."""
    return lambda batch_size, *, generator: to(sample(batch_size, generator=generator), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_extremes(one: Registered, dtype):
    check_extremes(one.make(dtype), one.problem, cast(one.sample, dtype), expected=one.expected)


QUICK = (
    "max-power",
    "one-winner",
    "wmmse",
    "itlinq",
    "greedy-links",
    "branch-and-bound",
    "power-gnn",
    "local-power",
)
OTHERS = {"data-rate/exact", "association/exhaustive", "ergodic-power/dual-bound"}
MANY = [one for one in ALL if one.name in OTHERS | {f"sum-rate/{name}" for name in QUICK}]


@pytest.mark.parametrize("one", MANY, ids=lambda one: one.name)
def test_a_thousand_users(one: Registered):
    with torch.no_grad():
        check_size(one.make(torch.float32), one.problem, one.sample, expected=one.expected)


class Broken:
    """Full power, but for one thing."""

    def __init__(self, alter):
        self.alter = alter

    def __call__(self, instance):
        return self.alter(instance, MaxPower()(instance))


def spreading(instance, action):
    """One instance's channels move the powers of another's."""
    return PowerAction(power_w=action.power_w * (1 - 0 * instance.gain.sum()))


def dividing(instance, action):
    """Divides by weights, which may be 0."""
    share = instance.weight / instance.weight.sum(-1, keepdim=True)
    return PowerAction(power_w=action.power_w * share.clamp(max=1))


def failing(instance, action):
    if not bool(instance.gain.isfinite().all()):
        raise RuntimeError("no number")
    return action


@pytest.mark.parametrize(
    ("alter", "rule"),
    [
        (spreading, "beside gain nan: power_w must not change"),
        (dividing, "weight all zero: power_w must be finite"),
        (failing, "gain nan: an action or a ValueError must come, received RuntimeError"),
    ],
)
def test_broken_allocators_are_caught(alter, rule):
    with pytest.raises(ConformanceError, match=f"^{rule}"):
        check_extremes(Broken(alter), WeightedSumRate(), links.sample, expected=links.LINKS)
