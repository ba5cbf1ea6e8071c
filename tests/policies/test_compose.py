"""Composed allocators, on links."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.testing.links import LINKS, sample
from torch import Tensor, nn

from torchrrm.policies import BestOf, Guarded, PowerGNN, Refined
from torchrrm.problems import LinkInstance, PowerAction, QosSumRate, WeightedSumRate
from torchrrm.problems.links import relative_gain
from torchrrm.records import index, replace, to
from torchrrm.solvers import WMMSE
from torchrrm.testing import check_solver

PROBLEM = WeightedSumRate()


def full_power(instance: LinkInstance) -> PowerAction:
    return PowerAction(power_w=torch.where(instance.active, instance.max_power_w, 0.0))


def silence(instance: LinkInstance) -> PowerAction:
    return PowerAction(power_w=torch.zeros_like(instance.max_power_w))


class Broken(nn.Module):
    """NaN in the first of each two instances, twice the limit in a third of the others, full power else."""

    def forward(self, instance: LinkInstance) -> PowerAction:
        power = full_power(instance).power_w.clone()
        power[::2] = torch.nan
        power[1::6] *= 2.0
        return PowerAction(power_w=power)


class FromPriority(nn.Module):
    """The priority itself, as a fraction of the limit; 0 without one."""

    def forward(self, instance: LinkInstance, priority: Tensor | None = None) -> PowerAction:
        share = torch.zeros_like(instance.weight) if priority is None else priority
        return PowerAction(power_w=torch.where(instance.active, share * instance.max_power_w, 0.0))


def draw(count: int, seed: int = 0) -> LinkInstance:
    generator = torch.Generator().manual_seed(seed)
    instance = to(sample(count, generator=generator), dtype=torch.float64)
    active = torch.rand(instance.active.shape, generator=generator) > 0.2
    active[..., 0] = True
    return replace(instance, active=active)


def net(condition: Any = "weight", seed: int = 0) -> PowerGNN:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PowerGNN(condition, widths=(16, 16))


class AnyPrecision(nn.Module):
    """A policy of fixed weights for the suite of solvers, which asks for either precision."""

    def __init__(self, policy: nn.Module):
        super().__init__()
        self.single, self.double_ = copy.deepcopy(policy).float(), copy.deepcopy(policy).double()

    @torch.no_grad()
    def forward(self, instance: LinkInstance) -> PowerAction:
        return (self.double_ if instance.gain.dtype is torch.float64 else self.single)(instance)


@pytest.mark.parametrize(
    "allocator",
    [
        AnyPrecision(Refined(net(), WMMSE(), 5)),
        Refined(full_power, WMMSE(), 0),
        BestOf([full_power, WMMSE(3, init="quarter"), silence], PROBLEM),
        Guarded(full_power, silence, PROBLEM),
        Guarded(Refined(full_power, WMMSE(), 3), silence, QosSumRate(100.0)),
    ],
)
def test_conforms(allocator: nn.Module) -> None:
    check_solver(allocator, PROBLEM, sample, expected=LINKS)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(0, 8))
def test_refined_is_never_below_its_policy(seed: int, steps: int) -> None:
    instance, policy = draw(4, seed), net(seed=seed).double()
    refined = Refined(policy, WMMSE(), steps)
    before = PROBLEM.evaluate(instance, policy(instance)).objective
    unrolled = refined(instance)
    with torch.no_grad():
        compiled = refined(instance)
    assert unrolled.power_w.requires_grad
    assert not compiled.power_w.requires_grad
    assert (PROBLEM.evaluate(instance, compiled).objective >= before * (1 - 1e-14)).all()
    fractions = (compiled.power_w - unrolled.power_w) / instance.max_power_w
    assert fractions.abs().max() < 1e-9


def test_more_steps_are_better() -> None:
    instance = draw(30)
    values = [
        PROBLEM.evaluate(instance, Refined(full_power, WMMSE(), n)(instance)).objective for n in (0, 3, 30)
    ]
    assert (values[0] <= values[1]).all()
    assert (values[1] <= values[2]).all()
    torch.testing.assert_close(
        Refined(full_power, WMMSE(), 30)(instance).power_w, WMMSE(30, safeguard=False)(instance).power_w
    )


@pytest.mark.parametrize("nobody", [False, True])
def test_a_refined_policy_trains(nobody: bool) -> None:
    instance, refined = draw(4), Refined(net().double(), WMMSE(), 6)
    if nobody:
        instance = replace(instance, active=torch.zeros_like(instance.active))
    assert set(dict(refined.named_parameters())) == {f"policy.{name}" for name, _ in net().named_parameters()}
    PROBLEM.evaluate(instance, refined(instance)).objective.sum().backward()
    gradients = [parameter.grad for parameter in refined.parameters()]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
    assert any(bool(gradient.any()) for gradient in gradients if gradient is not None) != nobody


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_best_of_is_never_below_its_members(seed: int) -> None:
    instance = draw(12, seed)
    members = [WMMSE(2, init="random", seed=seed + i) for i in range(4)]
    values = torch.stack([PROBLEM.evaluate(instance, member(instance)).objective for member in members])
    action, chosen = BestOf(members, PROBLEM).decide(instance)
    torch.testing.assert_close(PROBLEM.evaluate(instance, action).objective, values.amax(0))
    assert torch.equal(chosen, values.argmax(0))
    alone, of = BestOf(members, PROBLEM).decide(index(instance, 3))
    assert torch.equal(alone.power_w, action.power_w[3])
    assert of == chosen[3]


def test_best_of_prefers_what_violates_least() -> None:
    instance = draw(12)

    def above(factor: float) -> Any:
        return lambda links: PowerAction(power_w=factor * full_power(links).power_w)

    best = BestOf([above(3.0), above(2.0), Broken()], PROBLEM)
    chosen = best.decide(instance)[1]
    assert chosen.tolist() == [1, 1, 1, 2, 1, 2] * 2
    assert BestOf([above(1 + 1e-7), silence], PROBLEM).decide(instance)[1].tolist() == [0] * 12
    assert BestOf([above(1 + 1e-3), silence], PROBLEM).decide(instance)[1].tolist() == [1] * 12
    assert BestOf([full_power, full_power], PROBLEM).decide(instance)[1].tolist() == [0] * 12


def test_guarded_replaces_what_fails() -> None:
    instance, guarded = draw(12), Guarded(Broken(), WMMSE(), PROBLEM)
    action, replaced = guarded.decide(instance)
    assert replaced.tolist() == [True, True, True, False, True, False] * 2
    assert (guarded.calls, guarded.replaced) == (12, 8)
    assert torch.equal(action.power_w[replaced], WMMSE()(instance).power_w[replaced])
    assert torch.equal(action.power_w[~replaced], full_power(instance).power_w[~replaced])
    assert torch.equal(guarded(instance).power_w, action.power_w)
    assert (guarded.calls, guarded.replaced) == (24, 16)
    single, was = Guarded(full_power, silence, PROBLEM).decide(index(instance, 0))
    assert torch.equal(single.power_w, full_power(index(instance, 0)).power_w)
    assert was.shape == ()
    assert not was


def test_parameters_reach_the_parts() -> None:
    policy = net()
    for composed in (
        Refined(policy, WMMSE(), 1),
        BestOf([policy, silence], PROBLEM),
        Guarded(policy, silence, PROBLEM),
    ):
        assert composed.kind == "policy"
        assert {id(p) for p in composed.parameters()} == {id(p) for p in policy.parameters()}
    assert Refined(full_power, WMMSE(), 1).kind == "solver"
    assert BestOf([silence], PROBLEM).kind == "solver"
    copied = copy.deepcopy(BestOf([policy], PROBLEM)).double()
    assert copied(draw(2)).power_w.dtype is torch.float64  # the member is the registered copy


def test_priorities_are_passed_on() -> None:
    instance = draw(5)
    priority = torch.rand(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = FromPriority()(instance, priority=priority).power_w
    assert wanted.any()
    for composed in (
        Refined(FromPriority(), WMMSE(), 0),
        BestOf([FromPriority(), silence], PROBLEM),
        Guarded(FromPriority(), silence, PROBLEM),
        Guarded(Broken(), Guarded(FromPriority(), silence, PROBLEM), PROBLEM),
    ):
        received = composed(instance, priority=priority).power_w
        torch.testing.assert_close(received[0], wanted[0])


@pytest.mark.parametrize("condition", ["weight", "priority"])
def test_core_is_the_allocator(condition: Any) -> None:
    instance, refined = draw(6), Refined(net(condition).double(), WMMSE(), 4)
    priority = torch.rand(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ratio, limit, active = relative_gain(instance), instance.max_power_w, instance.active
    if condition == "weight":
        core = refined.core(ratio, instance.weight, limit, active)
    else:
        core = refined.core(ratio, priority, limit, active, instance.weight)
    torch.testing.assert_close(core.power_w, refined(instance, priority=priority).power_w)


def test_exports(tmp_path: Any) -> None:
    pytest.importorskip("onnxruntime")
    from torchrrm.deploy import export
    from torchrrm.deploy.session import open_runtime

    refined = Refined(net("priority"), WMMSE(), 3)
    runtime = open_runtime(export(refined, tmp_path / "refined.onnx").read_bytes(), threads=1)
    instance = to(draw(3), dtype=torch.float32)
    inputs = [
        relative_gain(instance),
        instance.weight,
        instance.max_power_w,
        instance.active,
        instance.weight,
    ]
    feed = {port.name: value.numpy() for port, value in zip(runtime.get_inputs(), inputs, strict=False)}
    wanted = refined(instance, priority=instance.weight).power_w.detach()
    received = torch.from_numpy(runtime.run(None, feed)[0])
    torch.testing.assert_close(received, wanted, rtol=1e-5, atol=1e-7)


def test_arguments() -> None:
    with pytest.raises(ValueError, match="solver: must have `refine`, received function"):
        Refined(full_power, full_power, 3)  # pyright: ignore
    with pytest.raises(ValueError, match="steps: must not be negative, received -1"):
        Refined(full_power, WMMSE(), -1)
    with pytest.raises(ValueError, match="allocators: must be one or more, received none"):
        BestOf([], PROBLEM)
    with pytest.raises(AttributeError, match="has no attribute 'core'"):
        _ = Refined(full_power, WMMSE(), 3).core
