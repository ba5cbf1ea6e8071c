import math
from typing import Any

import cvxpy
import numpy as np
import pytest
import torch

from torchrrm.policies.unrolled import (
    at_least,
    at_most,
    half_space,
    onto_budget,
    onto_level,
    sum_at_most,
)


def points(generator, *shape):
    return 2 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_half_space_is_the_closed_form(generator):
    x, normal = points(generator, 3, 4, 2), points(generator, 3, 4, 2)
    limit = torch.tensor([-1.0, 0.0, 100.0], dtype=torch.float64)
    found = half_space(normal, limit)(x)
    for each in range(3):
        a, b = normal[each].flatten(), x[each].flatten()
        excess = max(float(a @ b - limit[each]), 0.0)
        wanted = b - excess * a / (a @ a)
        torch.testing.assert_close(found[each].flatten(), wanted)
    assert torch.equal(found[2], x[2])


def test_differentiated_and_given_slopes_agree(generator):
    x = points(generator, 5, 3, 2)

    def ball(x):
        return x.square().sum((-2, -1))

    torch.testing.assert_close(onto_level(ball, 1.0)(x), onto_level(ball, 1.0, lambda x: 2 * x)(x))


def test_a_curved_level_is_approached_and_not_reached(generator):
    x = points(generator, 5, 3, 2)

    def ball(x):
        return x.square().sum((-2, -1))

    outside = ball(x) > 1
    first = onto_level(ball, 1.0)(x)
    # Eq. (5) by hand: x + (1 - h) / |2 x|^2 2 x.
    by_hand = x * (1 + (1 - ball(x)) / (2 * ball(x)))[:, None, None]
    torch.testing.assert_close(first[outside], by_hand[outside])
    assert (ball(first)[outside] > 1).all()
    for _ in range(20):
        x = onto_level(ball, 1.0)(x)
    torch.testing.assert_close(ball(x)[outside], torch.ones_like(ball(x)[outside]))


def test_bounds_move_one_variable_of_every_user(generator):
    x = points(generator, 4, 3, 2)
    lower = torch.rand(4, 3, generator=generator, dtype=torch.float64)
    found = at_least(1, lower)(x)
    assert torch.equal(found[..., 0], x[..., 0])
    assert torch.equal(found[..., 1], torch.maximum(x[..., 1], lower))
    assert torch.equal(at_most(0, 0.25)(x)[..., 0], x[..., 0].clamp(max=0.25))


def test_sum_is_the_half_space_of_those_who_are_active(generator):
    x = points(generator, 6, 4, 2) + 1
    active = torch.rand(6, 4, generator=generator) < 0.7
    normal = torch.stack([torch.zeros(6, 4), active.double()], dim=-1).double()
    limit = torch.full((6,), 0.5, dtype=torch.float64)
    torch.testing.assert_close(sum_at_most(1, limit, active)(x), half_space(normal, limit)(x))


def test_budget_is_the_quadratic_program(generator):
    x = points(generator, 8, 5, 1)
    active = torch.ones(8, 5, dtype=torch.bool)
    active[:4, 3] = False
    found = onto_budget(0, 1.5, active)(x)[..., 0]
    for each in range(8):
        power = cvxpy.Variable(5, nonneg=True)
        here = np.flatnonzero(active[each].numpy())
        away = cvxpy.sum_squares(power[here] - x[each, here, 0].numpy())
        limits: list[Any] = [cvxpy.sum(power) <= 1.5]
        cvxpy.Problem(cvxpy.Minimize(away), limits).solve(solver="CLARABEL")
        assert power.value is not None
        np.testing.assert_allclose(found[each, here].numpy(), power.value[here], atol=1e-6)
    assert not found[~active].any()


def test_the_printed_order_leaves_the_power_limit():
    """(10f), then (10g): to raise a negative power to 0 exceeds the sum again; the joint projection does not."""
    x = torch.tensor([[[2.0], [-1.5]]])
    active = torch.ones(1, 2, dtype=torch.bool)
    printed = at_least(0, 0.0)(sum_at_most(0, 0.2, active)(x))
    assert printed.sum() > 0.2 + 1
    assert math.isclose(float(onto_budget(0, 0.2, active)(x).sum()), 0.2, rel_tol=1e-6)


@pytest.mark.parametrize("make", [at_least, at_most])
def test_gradients_pass(make, generator):
    x = points(generator, 2, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(make(1, 0.1), (x,))
