"""CONTRIBUTING.md tried: a problem with a solver, a policy and a setup, which this file writes in under 80 lines."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from torchrrm import bench
from torchrrm.problems import Evaluation
from torchrrm.records import tensor_record
from torchrrm.setups import workbench
from torchrrm.solvers import Solution
from torchrrm.testing import check_policy, check_problem, check_solver


@tensor_record
class Carrier:
    """Users of one carrier: the rate of each with all of the time, and how much it counts."""

    rate_bps_hz: Float[Tensor, "*batch user"]
    weight: Float[Tensor, "*batch user"]
    active: Bool[Tensor, "*batch user"]


@tensor_record
class Shares:
    share: Float[Tensor, "*batch user"]


@dataclass(frozen=True)
class FairTime:
    """maximise sum_k w_k ln(1 + x_k r_k) over shares of the time x >= 0 that sum to at most 1."""

    name: ClassVar[str] = "fair-time"

    def evaluate(self, instance: Carrier, action: Shares) -> Evaluation:
        share = torch.where(instance.active, action.share, 0.0)
        utility = torch.where(
            instance.active, instance.weight * torch.log1p(share * instance.rate_bps_hz), 0.0
        )
        return Evaluation(utility.sum(-1), utility, {"time": share.sum(-1) - 1, "sign": -share})


class WaterFilling:
    """Bisection for the level at which the shares `(w / level - 1 / r)^+` fill the time: the optimum."""

    def __call__(self, instance: Carrier) -> Shares:
        served = instance.active & (instance.rate_bps_hz > 0) & (instance.weight > 0)
        rate, weight = (torch.where(served, v.double(), 1.0) for v in (instance.rate_bps_hz, instance.weight))
        low, share = torch.zeros_like(rate[..., :1]), torch.zeros_like(rate)
        high = torch.where(served, weight * rate, 0.0).sum(-1, keepdim=True)
        for _ in range(200):
            level = (low + high) / 2
            share = torch.where(served, (weight / level.clamp_min(1e-300) - 1 / rate).clamp(0, 1), 0.0)
            over = share.sum(-1, keepdim=True) > 1
            low, high = torch.where(over, level, low), torch.where(over, high, level)
        return Shares(share=(share / share.sum(-1, keepdim=True).clamp_min(1)).to(instance.rate_bps_hz.dtype))

    def solve(self, instance: Carrier) -> Solution[Shares]:
        action, done = self(instance), instance.active.any(-1)
        best = FairTime().evaluate(instance, action).objective
        return Solution(action, torch.ones_like(done), done.long(), best * (1 + 1e-5))


class EqualTime(nn.Module):
    """A softmax over what is known of each user; with no training, nearly equal shares."""

    kind = "policy"
    arguments: ClassVar[dict[str, Any]] = {}

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.zeros(2))

    def forward(self, instance: Carrier) -> Shares:
        known = torch.log1p(torch.stack((instance.rate_bps_hz, instance.weight), -1))
        score = torch.where(instance.active, (known * self.slope).sum(-1), -1e9)
        return Shares(share=torch.where(instance.active, score.softmax(-1), 0.0))


@dataclass(frozen=True)
class CarrierSetup:
    problem: FairTime = field(default_factory=FairTime)
    priced: ClassVar[tuple[str, ...]] = ()

    def certify(self, drawn: Carrier) -> bench.Bound:
        return bench.certified(self.problem, drawn, WaterFilling())

    def references(self) -> dict[str, Any]:
        return {}

    def measures(self, drawn: Carrier, action: Shares) -> dict[str, Any]:
        return {}


def sample(batch_size: int, *, generator: torch.Generator) -> Carrier:
    rate, weight = 5 * torch.rand(2, batch_size, 6, generator=generator) + 0.1
    return Carrier(rate_bps_hz=rate, weight=weight, active=torch.ones(batch_size, 6, dtype=torch.bool))


def test_it_conforms():
    check_problem(FairTime(), sample)
    check_solver(WaterFilling(), FairTime(), sample)
    check_policy(EqualTime(), FairTime(), sample)


def test_it_is_scored_and_judged(generator):
    drawn, allocators = sample(20, generator=generator), {"best": WaterFilling(), "equal": EqualTime().eval()}
    scored = bench.score(FairTime(), drawn, allocators, setting="toy", bound=WaterFilling())
    setup: Any = CarrierSetup()
    for best, equal in (scored, workbench.judge(setup, drawn, allocators, "toy")):
        assert best.bound_kind == "certified"
        assert (best.optimality or 0) > 0.9999 > (equal.optimality or 1)
        assert best.violation_rate == equal.violation_rate == 0


def test_in_under_80_lines():
    """But for blank lines, imports and docstrings."""
    lines = [line.strip() for line in Path(__file__).read_text().splitlines()]
    counted = [line for line in lines if line and not line.startswith(("import ", "from ", '"""'))]
    assert len(counted) < 80, len(counted)
