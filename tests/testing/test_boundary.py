"""Every registered allocator and problem refuses what is no instance, in one line."""

from typing import Any

import pytest
import torch
from tests.testing import links
from tests.testing.registered import ALL, Registered

from torchrrm.bench import kind_of
from torchrrm.policies import PowerGNN, load_pretrained
from torchrrm.problems import (
    ErgodicPower,
    LinkInstance,
    PowerAction,
    WeightedSumRate,
    ergodic_instance,
    link_instance,
)
from torchrrm.records import index, replace, to
from torchrrm.solvers import WMMSE, MaxPower
from torchrrm.testing import ConformanceError, check_boundary
from torchrrm.testing.surgery import draw


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_boundary(one: Registered, dtype):
    def cast(batch_size, *, generator):
        return to(one.sample(batch_size, generator=generator), dtype=dtype)

    check_boundary(one.make(dtype), one.problem, cast)


SOLVERS = [
    one
    for one in ALL
    if not isinstance(one.make(torch.float32), torch.nn.Module)
    and kind_of(one.make(torch.float32)) == "solver"
]


def attempt(solver, instance):
    """The message of a `ValueError`, or the action."""
    try:
        return "", solver(instance)
    except ValueError as error:
        return str(error), None


@pytest.mark.parametrize("one", SOLVERS, ids=lambda one: one.name)
def test_negative_numbers_are_refused_or_not_read(one: Registered, generator):
    """Each field's name in one line, or the action of the instance as it was."""
    solver, instance = one.make(torch.float32), draw(one.sample, 2, generator)
    actions = {"batch": solver(instance), "one": solver(index(instance, 0))}
    for name in (name for name, value in vars(instance).items() if value.is_floating_point()):
        broken = replace(instance, **{name: -getattr(instance, name)})
        for size, given in (("batch", broken), ("one", index(broken, 0))):
            told, received = attempt(solver, given)
            if received is None:
                assert told.startswith(f"{name}: must be finite and not negative, received -")
                assert "\n" not in told
            else:
                for field, value in vars(actions[size]).items():
                    assert torch.equal(getattr(received, field), value), (name, size, field)


POLICIES = [one for one in ALL if isinstance(one.make(torch.float32), torch.nn.Module)]


@pytest.mark.parametrize("learning", [False, True], ids=["serving", "learning"])
@pytest.mark.parametrize("weights", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("one", POLICIES, ids=lambda one: one.name)
def test_policies_take_both_precisions(one: Registered, weights, learning, generator):
    """An action in the precision of the instance, as good as that of weights in that precision."""
    given = torch.float64 if weights == torch.float32 else torch.float32
    instance = to(draw(one.sample, 3, generator), dtype=given)
    with torch.set_grad_enabled(learning):
        action = one.make(weights)(instance)
        own = one.make(given)(instance)
    for value in vars(action).values():
        if value.is_floating_point() or value.is_complex():
            assert value.dtype.to_real() == given
    scores = [one.problem.evaluate(instance, choice).objective.detach() for choice in (action, own)]
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-4, atol=0)


SLOT: Any = link_instance(torch.eye(3))
ACTION: Any = MaxPower()(SLOT)
TENSOR: Any = torch.eye(3)
SLOTS: Any = ergodic_instance(torch.eye(3).expand(4, 3, 3))
ONE, MANY = r"LinkInstance \(links in one slot\)", r"ErgodicInstance \(links over many slots\)"


@pytest.mark.parametrize(
    ("call", "expected", "received"),
    [
        (lambda: load_pretrained("metagnn")(SLOT), MANY, ONE),
        (lambda: load_pretrained("state-augmented")(SLOT), MANY, ONE),
        (lambda: ErgodicPower().evaluate(SLOT, ACTION), MANY, ONE),
        (lambda: WMMSE()(SLOTS), ONE, MANY),
        (lambda: MaxPower()(SLOTS), ONE, MANY),
        (lambda: PowerGNN()(SLOTS), ONE, MANY),
        (lambda: WMMSE()(TENSOR), ONE, "Tensor"),
    ],
)
def test_wrong_records_are_named(call: Any, expected: str, received: str):
    with pytest.raises(ValueError, match=f"^instance: expected {expected}, got {received}$"):
        call()


class Trusting:
    """Full power of anything that has limits."""

    def __call__(self, instance):
        return PowerAction(power_w=torch.where(instance.active, instance.max_power_w, 0.0))


class Complaining(Trusting):
    """Refuses everything malformed with the same words."""

    def __call__(self, instance):
        try:
            WMMSE()(instance)
        except ValueError:
            raise ValueError("instance: is not one") from None
        return super().__call__(instance)


@pytest.mark.parametrize(
    ("allocator", "rule"),
    [
        (Trusting(), "boundary: allocator, another record: must be a ValueError, received AttributeError"),
        (Complaining(), "boundary: allocator, another record: must be refused by name in one line"),
    ],
)
def test_allocators_that_trust_are_caught(allocator, rule):
    with pytest.raises(ConformanceError, match=f"^{rule}"):
        check_boundary(allocator, WeightedSumRate(), links.sample)


def test_no_memory_beyond_the_gains_is_read():
    """Powers of more links than there are transmitters came from there."""
    with pytest.raises(ValueError, match=r"^gain: expected a square matrix \[rx, tx\], got \[5, 4\]$"):
        link_instance(torch.rand(5, 4), noise_power_w=0.1, max_power_w=1.0)
    square = link_instance(torch.rand(4, 4), noise_power_w=0.1, max_power_w=1.0)
    fields = {**vars(square), "gain": torch.rand(5, 4)}
    with pytest.raises(ValueError, match=r"^gain: expected a square matrix \[rx, tx\], got \[5, 4\]$"):
        WMMSE()(LinkInstance(**fields))
