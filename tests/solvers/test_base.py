import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.records import tensor_record
from torchrrm.solvers import IterativeSolver
from torchrrm.solvers.base import rounded_up


@tensor_record
class Number:
    value: Float[Tensor, "*batch"]


@tensor_record
class Guess:
    root: Float[Tensor, "*batch"]
    history: Float[Tensor, "*batch 2"]


class SquareRoot(IterativeSolver[Number, Number, Guess]):
    """Heron's rule."""

    def __init__(self, max_steps: int = 60, tolerance: float = 1e-12):
        self.max_steps = max_steps
        self.tolerance = tolerance

    def init(self, instance: Number) -> Guess:
        return Guess(
            root=torch.ones_like(instance.value), history=torch.zeros(*instance.value.shape, 2).double()
        )

    def step(self, instance: Number, state: Guess) -> Guess:
        history = torch.stack([state.history[..., 1], state.root], -1)
        return Guess(root=0.5 * (state.root + instance.value / state.root), history=history)

    def residual(self, instance: Number, old: Guess, new: Guess) -> Tensor:
        return (new.root - old.root).abs() / new.root

    def action(self, instance: Number, state: Guess) -> Number:
        return Number(value=state.root)


VALUES = torch.tensor([[1.0, 2.0, 1e8], [0.5, 9.0, 1e-4]], dtype=torch.float64)


def test_runs_each_instance_to_convergence():
    solution = SquareRoot().solve(Number(value=VALUES))
    torch.testing.assert_close(solution.action.value, VALUES.sqrt(), rtol=1e-12, atol=0.0)
    assert solution.converged.all()
    assert solution.upper_bound is None
    assert solution.iterations[0, 0] == 1  # its first step moves nothing
    assert solution.iterations[0, 2] > solution.iterations[0, 1] > 1


def test_a_converged_instance_keeps_its_state_in_a_batch():
    together, alone = SquareRoot().solve(Number(value=VALUES)), SquareRoot().solve(Number(value=VALUES[0, 1]))
    assert torch.equal(together.action.value[0, 1], alone.action.value)
    assert together.iterations[0, 1] == alone.iterations
    state, _, _ = SquareRoot().iterate(Number(value=VALUES))
    assert state.history.shape == (2, 3, 2)


class Restless(SquareRoot):
    """Rests for one step at 1 and then moves on for ever; 5 takes many steps to come to rest."""

    def step(self, instance: Number, state: Guess) -> Guess:
        restless = torch.where(state.root == 1.0, 1.0 + 1e-13, state.root + 1.0)
        moved = torch.where(instance.value == 1.0, restless, 0.5 * (state.root + 5.0))
        return Guess(root=moved, history=state.history)


def test_an_instance_that_came_to_rest_stays_there():
    """Its next step would be a long one; the other instance is still on its way."""
    solution = Restless().solve(Number(value=torch.tensor([1.0, 5.0], dtype=torch.float64)))
    assert solution.action.value[0] == 1.0 + 1e-13
    assert solution.iterations[0] == 1
    assert solution.iterations[1] > 10
    assert solution.converged.all()


def test_stops_at_the_step_limit_and_says_so():
    solution = SquareRoot(max_steps=3).solve(Number(value=VALUES))
    assert not solution.converged[0, 2]
    assert solution.converged[0, 0]
    assert (solution.iterations <= 3).all()
    assert solution.iterations.max() == 3


def test_unrolled_steps_carry_gradients():
    value = VALUES.clone().requires_grad_()
    SquareRoot()(Number(value=value)).value.sum().backward()
    assert value.grad is not None
    torch.testing.assert_close(value.grad, 0.5 / VALUES.sqrt(), rtol=1e-6, atol=0.0)


def test_needs_a_step():
    with pytest.raises(ValueError, match="max_steps: must be at least 1, received 0"):
        SquareRoot(max_steps=0).solve(Number(value=VALUES))


def test_bounds_are_rounded_up():
    exact = torch.tensor([1 / 3, -1 / 3, 1.0, 0.0, -torch.inf, 1e300], dtype=torch.float64)
    rounded = rounded_up(exact, torch.float32)
    assert rounded.dtype == torch.float32
    assert (rounded.double() >= exact).all()
    assert (rounded.double() - exact)[:4].max() < 1e-7
    assert rounded[2:].tolist() == [1.0, 0.0, -torch.inf, torch.inf]
    assert torch.equal(rounded_up(exact, torch.float64), exact)
