import copy
from typing import Any

import pytest
import torch
from tests.testing.forms import traced
from tests.testing.links import LINKS, sample, weighted_rayleigh

from torchrrm.kernels import unfolded
from torchrrm.kernels.links import relative
from torchrrm.policies import POLICIES, UnfoldedPower
from torchrrm.policies.unfolded_power import stop_features, stop_probability
from torchrrm.problems import LinkInstance, WeightedSumRate
from torchrrm.records import index, pad, replace, to
from torchrrm.solvers import GreedyLinks
from torchrrm.solvers.greedy_links import best_pairs
from torchrrm.solvers.relative_links import relative_links
from torchrrm.testing import check_policy, check_solver

PROBLEM = WeightedSumRate()


def policy(seed: int = 0, **arguments: Any) -> UnfoldedPower:
    """One that stops after one layer, or after several, depending on the instance."""
    torch.manual_seed(seed)
    made = UnfoldedPower(**arguments).double()
    with torch.no_grad():
        made.stop.layers[2].bias -= 0.2  # pyright: ignore[reportArgumentType, reportOperatorIssue]
    return made


def layers(made: UnfoldedPower, instance: LinkInstance) -> torch.Tensor:
    """How many layers are taken."""
    links = relative_links(instance)
    pairs = best_pairs(links, made.breadth)
    count = instance.active.sum(-1).to(pairs.value.dtype)
    with torch.no_grad():
        more = made.stop(stop_features(pairs, count, torch.full_like(count, made.price))).squeeze(-1) <= 0
    return (pairs.promising[..., 1:] & more).cumprod(-1).sum(-1) + 1


@pytest.mark.parametrize("arguments", [{}, {"hidden": 3, "starts": 1, "steps": 0, "price": 1e-2}])
def test_conforms(arguments: dict[str, Any]) -> None:
    check_policy(policy(**arguments).float(), PROBLEM, sample, expected=LINKS)


@torch.no_grad()
def test_the_compiled_form_conforms() -> None:
    made = policy().float()
    check_solver(lambda instance: made(instance), PROBLEM, sample, expected=LINKS)


@pytest.mark.parametrize("links", [1, 2, 5, 20, 60, 200])
def test_both_forms_agree_for_any_number_of_links(links: int) -> None:
    instance = weighted_rayleigh(max(2, 200 // links), links, seed=links)
    for seed in range(3):
        made = policy(seed)
        learned = made(instance).power_w.detach()
        with torch.no_grad():
            compiled = made(instance).power_w
            alone = made(index(instance, 0)).power_w
        torch.testing.assert_close(compiled, learned, rtol=1e-9, atol=1e-9)
        assert torch.equal(alone, compiled[0])
        assert (compiled >= 0).all()
        assert (compiled <= instance.max_power_w).all()


@torch.no_grad()
def test_single_precision_agrees() -> None:
    instance, made = to(weighted_rayleigh(100, 20, seed=1), dtype=torch.float32), policy().float()
    compiled = PROBLEM.evaluate(instance, made(instance)).objective
    batched = PROBLEM.evaluate(instance, made(traced(instance))).objective
    assert ((compiled - batched).abs() <= 1e-5 * compiled).float().mean() > 0.97


@torch.no_grad()
def test_stopping_never_or_at_once_is_greedy_admission() -> None:
    instance = weighted_rayleigh(40, 12, seed=2)
    made = policy(starts=3)
    for shift, breadth in ((-1e3, 32), (1e3, 1)):
        made.stop.layers[2].bias.fill_(shift)  # pyright: ignore[reportCallIssue]
        assert torch.equal(made(instance).power_w, GreedyLinks(3, breadth)(instance).power_w)


@torch.no_grad()
def test_padding_changes_no_layer() -> None:
    instance, made = weighted_rayleigh(50, 10, seed=3), policy()
    assert layers(made, instance).unique().numel() > 1
    longer = pad(instance, rx=15, tx=15)
    assert torch.equal(layers(made, longer), layers(made, instance))
    assert torch.equal(made(longer).power_w[:, :10], made(instance).power_w)


def test_stop_probabilities() -> None:
    instance, made = weighted_rayleigh(30, 8, seed=4), policy()
    pairs = best_pairs(relative_links(instance), 8)
    count = instance.active.sum(-1).to(pairs.value.dtype)
    level = made.stop(stop_features(pairs, count, torch.full_like(count, 1e-3))).squeeze(-1)
    probability = stop_probability(level, pairs.promising)
    torch.testing.assert_close(probability.sum(-1), torch.ones_like(count))
    certain = stop_probability(level * 1e4, pairs.promising)
    taken = layers(made, instance)
    assert (certain.argmax(-1) + 1 == taken).all()
    assert (probability[~pairs.promising] < 1e-9).all()


def test_gradients_point_to_better_stops() -> None:
    instance, made = weighted_rayleigh(400, 20, seed=5, idle=0.0), policy()
    PROBLEM.evaluate(instance, made(instance)).objective.mean().backward()
    for parameter in made.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
    leaf = traced(index(instance, slice(0, 4)))
    PROBLEM.evaluate(leaf, made(leaf)).objective.sum().backward()
    assert leaf.gain.grad is not None
    assert torch.isfinite(leaf.gain.grad).all()


@torch.no_grad()
def test_reads_weights_and_who_is_active() -> None:
    instance, made = weighted_rayleigh(1, 6, seed=6, idle=0.0), policy()
    one = index(instance, 0)
    heavy = torch.full((6,), 1e-3, dtype=torch.float64)
    heavy[4] = 1e3
    assert made(replace(one, weight=heavy)).power_w[4] == one.max_power_w[4]
    nobody = made(replace(one, active=torch.zeros(6, dtype=torch.bool)))
    assert not nobody.power_w.any()


@torch.no_grad()
def test_in_relative_units_as_control_loops_call_it() -> None:
    one, made = index(weighted_rayleigh(1, 12, seed=7, idle=0.0), 0), policy()
    arrays = one.gain.numpy(), 1.0, one.max_power_w.numpy(), one.active.numpy()
    _, cross, across, direct = relative(*arrays)
    amplitude = torch.empty(12, dtype=torch.float64)
    unfolded.run(cross, across, direct, one.weight.numpy(), made.arrays, 1e-3, 32, 4, 10, amplitude.numpy())
    torch.testing.assert_close(amplitude.square() * one.max_power_w, made(one).power_w)


@torch.no_grad()
def test_the_kernel_sees_parameters_that_change() -> None:
    made = policy()
    made(index(weighted_rayleigh(1, 5), 0))
    for changed in (made, copy.deepcopy(made), made.float(), copy.deepcopy(made).double()):
        for parameter in changed.parameters():
            parameter.add_(1.0)
        for value, parameter in zip(changed.arrays, changed.stop.parameters(), strict=True):
            assert torch.equal(torch.from_numpy(value), parameter)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"starts": 0}, "starts: must be at least 1, received 0"),
        ({"breadth": 0}, "breadth: must be at least 1, received 0"),
        ({"steps": -1}, "steps: must be at least 0, received -1"),
        ({"price": 0.0}, "price: must be positive and finite, received 0.0"),
    ],
)
def test_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UnfoldedPower(**arguments)
    assert POLICIES["UnfoldedPower"] is UnfoldedPower
