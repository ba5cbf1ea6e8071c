"""The suites catch what is broken, and name it."""

import dataclasses
from typing import Any

import pytest
import torch
from tests.testing.slices import SLICE, sample
from torch import nn

from torchrrm.policies import SliceGNN
from torchrrm.problems import KINDS, Evaluation, SliceAction
from torchrrm.records import map_tensors, replace
from torchrrm.solvers import EqualSurplus, ExactSlicing
from torchrrm.testing import ConformanceError, Expected, check_policy, check_problem, check_solver

PROBLEM = KINDS["data-rate"]


def changed(action, function):
    return SliceAction(bandwidth_hz=function(action.bandwidth_hz))


class Altered:
    """Equal surplus with something done to it."""

    def __init__(self, alter):
        self.alter, self.base = alter, EqualSurplus(PROBLEM)

    def __call__(self, instance):
        return self.alter(instance, self.base(instance))


def ignoring_padding(instance, action):
    everybody = replace(instance, active=torch.ones_like(instance.active))
    return EqualSurplus(PROBLEM)(everybody)


def counting_padding(instance, action):
    """Divides the surplus by all users, then hands it to the active ones."""
    schedule = PROBLEM.schedule(instance)
    width = schedule.minimum_bandwidth_hz + schedule.surplus_hz[..., None] / instance.active.shape[-1]
    return SliceAction(bandwidth_hz=width * schedule.active)


def reading_inactive(instance, action):
    """Spends less, the better the channels of users who are not there."""
    ratio = instance.cn0_hz.amin(-1, keepdim=True) / instance.cn0_hz.sum(-1, keepdim=True)
    slack = action.bandwidth_hz - PROBLEM.schedule(instance).minimum_bandwidth_hz
    return changed(action, lambda width: width - slack * ratio)


def sorting(instance, action):
    return changed(action, lambda width: width.sort(-1, descending=True).values * instance.active)


def first_takes_all(instance, action):
    schedule = PROBLEM.schedule(instance)
    first = schedule.active & (schedule.active.cumsum(-1) == 1)
    return SliceAction(bandwidth_hz=schedule.minimum_bandwidth_hz + first * schedule.surplus_hz[..., None])


def over_limit(instance, action):
    return changed(action, lambda width: width * 1.001)


def too_little(instance, action):
    return changed(action, lambda width: width * 0.0)


def negative(instance, action):
    spare = 2 * action.bandwidth_hz * (torch.arange(action.bandwidth_hz.shape[-1]) == 0)
    return changed(action, lambda width: width - spare)


def random(instance, action):
    return changed(action, lambda width: width * (1 - 1e-3 * torch.rand(width.shape)))


def overwriting(instance, action):
    instance.cn0_hz.mul_(1.01)
    return action


def in_double(instance, action):
    return changed(action, torch.Tensor.double)


def summed(instance, action):
    return changed(action, lambda width: width.sum(-1))


def of_whole_batch(instance, action):
    """Measures channels by the best of the whole batch."""
    slack = action.bandwidth_hz - PROBLEM.schedule(instance).minimum_bandwidth_hz
    share = instance.cn0_hz / instance.cn0_hz.max()
    return changed(action, lambda width: width - slack * share)


def without_guard(instance, action):
    """Divides by the number of scheduled users, which may be zero."""
    count = PROBLEM.schedule(instance).active.sum(-1, keepdim=True)
    return changed(action, lambda width: width * count / count)


@pytest.mark.parametrize(
    ("alter", "rule"),
    [
        (ignoring_padding, "form: bandwidth_hz of inactive user must be 0"),
        (counting_padding, "padding: bandwidth_hz must not change"),
        (reading_inactive, "inactive: bandwidth_hz must not change"),
        (sorting, "feasibility: violation 'min_rate' must be at most 1e-05"),
        (first_takes_all, "permutation: bandwidth_hz must not change"),
        (over_limit, "feasibility: violation 'bandwidth' must be at most 1e-06"),
        (too_little, "feasibility: violation 'min_rate' must be at most 1e-05"),
        (negative, "feasibility: violation 'min_rate'|feasibility: violation 'sign'"),
        (random, "determinism: bandwidth_hz must not change"),
        (overwriting, "purity: cn0_hz must be left as it is"),
        (in_double, "form: bandwidth_hz must be torch.float32, received torch.float64"),
        (summed, r"form: bandwidth_hz must have shape \[6, 7\], received \[6\]"),
        (of_whole_batch, "batch of one by one: bandwidth_hz must not change"),
        (without_guard, "(one user|nobody active): bandwidth_hz must be finite, received"),
    ],
)
def test_broken_solvers_are_caught(alter, rule):
    with pytest.raises(ConformanceError, match=f"^({rule})"):
        check_solver(Altered(alter), PROBLEM, sample, expected=SLICE)


def test_broken_solvers_are_broken_in_one_place():
    check_solver(Altered(lambda instance, action: action), PROBLEM, sample, expected=SLICE)


class Boasting(ExactSlicing):
    """A solver whose solution is altered."""

    alter = staticmethod(lambda solution: solution)

    def solve(self, instance):
        return self.alter(super().solve(instance))


@pytest.mark.parametrize(
    ("alter", "rule"),
    [
        (
            lambda s: dataclasses.replace(s, upper_bound=s.upper_bound * 0.99),
            "bound: upper_bound must not be below",
        ),
        (
            lambda s: dataclasses.replace(s, upper_bound=s.upper_bound * torch.nan),
            "bound: upper_bound must not be below",
        ),
        (
            lambda s: dataclasses.replace(s, upper_bound=s.upper_bound[..., None]),
            "bound: upper_bound must have shape",
        ),
        (lambda s: dataclasses.replace(s, converged=s.iterations), "solution: converged must have shape"),
        (
            lambda s: dataclasses.replace(s, iterations=s.iterations.sum()),
            "solution: iterations must have shape",
        ),
    ],
)
def test_broken_solutions_are_caught(alter, rule, monkeypatch):
    solver = Boasting(PROBLEM)
    monkeypatch.setattr(solver, "alter", alter)
    with pytest.raises(ConformanceError, match=f"^{rule}"):
        check_solver(solver, PROBLEM, sample, expected=SLICE)


def test_what_solve_returns_must_be_a_solution(monkeypatch):
    solver = Boasting(PROBLEM)
    monkeypatch.setattr(solver, "alter", lambda solution: vars(solution))
    monkeypatch.setattr(Boasting, "__call__", EqualSurplus(PROBLEM).__call__)
    with pytest.raises(ConformanceError, match=r"^solution: solve must return a Solution, received dict"):
        check_solver(solver, PROBLEM, sample, expected=SLICE)


class Misjudging:
    """The problem with something done to its evaluation."""

    def __init__(self, alter):
        self.alter = alter

    def evaluate(self, instance, action: SliceAction) -> Evaluation:
        return self.alter(instance, action, PROBLEM.evaluate(instance, action))


def rescored(function):
    def alter(instance, action, evaluation):
        utility = function(instance, action, evaluation.utility)
        return Evaluation(utility.sum(-1), utility, evaluation.violation)

    return alter


def violating(name, function):
    def alter(instance, action, evaluation):
        return dataclasses.replace(
            evaluation, violation={**evaluation.violation, name: function(instance, evaluation)}
        )

    return alter


class WrongSlope(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, *gradients):
        return 1.01 * gradients[0]


def mean_of_batch(instance, evaluation):
    bandwidth = evaluation.violation["bandwidth"]
    return bandwidth.mean().expand_as(bandwidth)


@pytest.mark.parametrize(
    ("alter", "rule"),
    [
        (
            rescored(lambda i, a, utility: WrongSlope.apply(utility)),
            "gradient: evaluate must have right gradients",
        ),
        (rescored(lambda i, a, utility: utility.detach()), "gradient: the objective must be differentiable"),
        (
            rescored(lambda i, a, utility: utility + ~i.active),
            "nobody active: objective must be 0, received 7",
        ),
        (
            rescored(lambda i, a, utility: utility.cumsum(-1) * i.active),
            "permutation: objective must not change",
        ),
        (rescored(lambda i, a, utility: utility / i.active.shape[-1]), "padding: objective must not change"),
        (rescored(lambda i, a, utility: utility * torch.rand(())), "determinism: objective must not change"),
        (rescored(lambda i, a, utility: utility.double()), "form: objective must be torch.float32"),
        (
            rescored(lambda i, a, utility: utility / i.active.sum(-1, keepdim=True)),
            "(one user|nobody active): objective must be finite",
        ),
        (
            lambda i, a, e: dataclasses.replace(e, objective=2 * e.objective),
            "sum: objective, as the sum of the utilities,",
        ),
        (
            lambda i, a, e: dataclasses.replace(e, objective=e.utility),
            r"form: objective must have shape \[6\]",
        ),
        (
            violating("min_rate", lambda i, e: ~i.active + e.violation["min_rate"]),
            "inactive: violation 'min_rate' must be 0 outside active",
        ),
        (violating("bandwidth", mean_of_batch), "batch: violation 'bandwidth'"),
        (
            violating("bandwidth", lambda i, e: torch.zeros(1)),
            "form: violation 'bandwidth' must begin with shape",
        ),
        (lambda i, a, e: dataclasses.replace(e, violation=()), "form: violation must map names to tensors"),
    ],
)
def test_broken_problems_are_caught(alter, rule):
    with pytest.raises(ConformanceError, match=f"^({rule})"):
        check_problem(Misjudging(alter), sample)


def test_objectives_other_than_sums_are_declared():
    def smallest(instance, action, evaluation):
        return dataclasses.replace(evaluation, objective=evaluation.utility.amax(-1))

    with pytest.raises(ConformanceError, match=r"^sum: "):
        check_problem(Misjudging(smallest), sample)
    check_problem(Misjudging(smallest), sample, expected=Expected(utility_sums=False))


def test_actions_without_a_declared_type_must_be_drawn_by_the_caller():
    class Untyped:
        def evaluate(self, instance, action):
            return PROBLEM.evaluate(instance, action)

    def equal(instance, *, generator):
        return EqualSurplus(PROBLEM)(instance)

    with pytest.raises(ConformanceError, match=r"^action: evaluate must annotate its action"):
        check_problem(Untyped(), sample)
    check_problem(Untyped(), sample, draw_action=equal)


class OwnPolicy(nn.Module):
    """A network of its own, right unless something is done to it."""

    def __init__(self, kind: str = "data-rate"):
        super().__init__()
        self.kind = kind
        self.inner = SliceGNN(kind)
        self.spare = nn.Parameter(torch.zeros(1))

    @property
    def arguments(self) -> Any:
        return {"kind": self.kind}

    def forward(self, instance):
        action = self.inner(instance)
        return changed(action, lambda width: width + 0 * self.spare)


class Unreached(OwnPolicy):
    def forward(self, instance):
        return self.inner(instance)


class Constant(OwnPolicy):
    def forward(self, instance):
        return map_tensors(torch.Tensor.detach, super().forward(instance))


class Speechless(OwnPolicy):
    @property
    def arguments(self):
        return None


class Unmakeable(OwnPolicy):
    @property
    def arguments(self):
        return {"kind": "none"}


class Unserialisable(OwnPolicy):
    @property
    def arguments(self):
        return {"kind": object()}


class Forgetful(OwnPolicy):
    def __init__(self, kind: str = "secrecy"):
        super().__init__(kind)

    @property
    def arguments(self):
        return {}


class Hiding(OwnPolicy):
    """Keeps weights where `state_dict` does not see them."""

    def __init__(self, kind: str = "data-rate"):
        super().__init__(kind)
        self.hidden = torch.rand(1)

    def forward(self, instance):
        prepared = self.inner.prepare(instance)
        return super().forward(replace(prepared, features=prepared.features * (self.hidden + 1)))


class Unguarded(OwnPolicy):
    """The gradient of a softmax over nobody."""

    def forward(self, instance):
        served = instance.active.any(-1, keepdim=True)
        action = super().forward(instance)
        return changed(action, lambda width: torch.where(served, width / self.spare.exp() / served, 0.0))


@pytest.mark.parametrize(
    ("policy", "rule"),
    [
        (Unreached, "gradient: the objective must depend on spare"),
        (Constant, "gradient: the objective must be differentiable"),
        (Unguarded, "gradient, nobody active: the gradient of .* must be finite"),
        (Speechless, "arguments: Speechless must expose"),
        (Unmakeable, "arguments: Unmakeable must be made anew from .*kind"),
        (Unserialisable, "arguments: Unserialisable must be made anew from"),
        (Hiding, "weights: bandwidth_hz of the loaded policy must not change"),
    ],
)
def test_broken_policies_are_caught(policy, rule):
    torch.manual_seed(0)
    with pytest.raises(ConformanceError, match=f"^{rule}"):
        check_policy(policy(), PROBLEM, sample, expected=SLICE)


def test_arguments_that_forget_something_are_caught():
    torch.manual_seed(0)
    policy = Forgetful("data-rate")
    with pytest.raises(ConformanceError, match=r"^(arguments|weights): "):
        check_policy(policy, PROBLEM, sample, expected=SLICE)


def test_right_policies_pass_and_are_left_as_they_are():
    torch.manual_seed(0)
    policy = OwnPolicy().train()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    check_policy(policy, PROBLEM, sample, expected=SLICE)
    assert policy.training
    assert all(parameter.grad is None for parameter in policy.parameters())
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())


def test_a_policy_is_a_module():
    with pytest.raises(
        ConformanceError, match=r"^form: a policy must be an nn.Module, received EqualSurplus"
    ):
        check_policy(EqualSurplus(PROBLEM), PROBLEM, sample)  # pyright: ignore[reportArgumentType]


def test_messages_are_of_one_line():
    with pytest.raises(ConformanceError) as caught:
        check_solver(Altered(over_limit), PROBLEM, sample)
    assert "\n" not in str(caught.value)
