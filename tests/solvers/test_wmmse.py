import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.solvers import link_oracles as oracles
from tests.testing.forms import traced
from tests.testing.links import LINKS, sample

from torchrrm.problems import LinkInstance, PowerAction, WeightedSumRate, link_instance
from torchrrm.records import index, replace, to
from torchrrm.solvers import WMMSE
from torchrrm.solvers.relative_links import relative_links
from torchrrm.solvers.wmmse import start_amplitudes
from torchrrm.testing import check_solver

PROBLEM = WeightedSumRate()


def draw(count: int, seed: int = 0, idle: float = 0.2) -> LinkInstance:
    generator = torch.Generator().manual_seed(seed)
    instance = to(sample(count, generator=generator), dtype=torch.float64)
    active = torch.rand(instance.active.shape, generator=generator) >= idle
    active[..., 0] = True
    return replace(instance, active=active)


def fractions(instance: LinkInstance, action: PowerAction) -> np.ndarray:
    return (action.power_w / instance.max_power_w).detach().numpy()


@pytest.mark.parametrize(
    "solver",
    [WMMSE(), WMMSE(30, starts=4), WMMSE(init="quarter"), WMMSE(init="random"), WMMSE(500, tol=1e-7)],
)
def test_conforms(solver: WMMSE) -> None:
    check_solver(solver, PROBLEM, sample, expected=LINKS)


@pytest.mark.parametrize("solver", [WMMSE(), WMMSE(30, starts=4)])
def test_the_torch_form_conforms(solver: WMMSE) -> None:
    check_solver(lambda instance: solver(traced(instance)), PROBLEM, sample, expected=LINKS)


@pytest.mark.parametrize(("init", "first"), [("max", 1.0), ("quarter", 0.25)])
def test_equals_the_printed_updates(init: Any, first: float) -> None:
    instance, solver = draw(10), WMMSE(60, init=init, safeguard=False)
    kernel, batched = solver(instance), solver(traced(instance))
    for i in range(10):
        one = index(instance, i)
        gain, start = oracles.relative(one), np.full(6, first) * one.active.numpy()
        wanted = oracles.wmmse(gain, one.weight.numpy(), start, 60)[-1]
        for action in (index(kernel, i), solver(one), index(batched, i)):
            assert fractions(one, action) == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_the_objective_never_falls() -> None:
    instance = draw(40, seed=1)
    objective = [
        PROBLEM.evaluate(instance, WMMSE(steps, init="random")(instance)).objective for steps in range(1, 60)
    ]
    links, solver = relative_links(instance), WMMSE()
    state, torch_form = solver.init(links), []
    for _ in range(60):
        state = solver.step(links, state)
        power = PowerAction(power_w=state.amplitude.squeeze(-2).square() * instance.max_power_w)
        torch_form.append(PROBLEM.evaluate(instance, power).objective)
    for values in (torch.stack(objective), torch.stack(torch_form)):
        assert (values.diff(dim=0) >= -1e-12 * values[1:]).all()


def test_converges_to_a_stationary_point() -> None:
    instance = draw(10, seed=2)
    solution = WMMSE(20_000, tol=1e-13)(instance), WMMSE(20_000, tol=1e-13).solve(instance)
    assert torch.equal(solution[0].power_w, solution[1].action.power_w)
    assert solution[1].converged.all()
    assert (solution[1].iterations < 20_000).all()
    power = solution[0].power_w.requires_grad_()
    PROBLEM.evaluate(instance, PowerAction(power_w=power)).objective.sum().backward()
    assert power.grad is not None
    slope = power.grad * instance.max_power_w  # of the objective over the power's fraction
    fraction = power.detach() / instance.max_power_w
    inside = (fraction > 1e-3) & (fraction < 1 - 1e-9)
    assert inside.any()
    assert slope[inside].abs().max() < 1e-4
    assert (slope[fraction >= 1 - 1e-9] > -1e-9).all()


def test_tolerance_in_both_forms() -> None:
    instance, solver = draw(8, seed=3), WMMSE(2000, tol=1e-9, starts=2)
    compiled, batched = solver.solve(instance), solver.solve(traced(instance))
    assert compiled.converged.all()
    assert batched.converged.all()
    assert fractions(instance, compiled.action) == pytest.approx(
        fractions(instance, batched.action), abs=1e-5
    )
    assert not WMMSE(100).solve(instance).converged.any()
    assert (WMMSE(7).solve(traced(instance)).iterations == 7).all()


def test_a_transposed_gain_is_noticed() -> None:
    generator = torch.Generator().manual_seed(5)
    gain = torch.empty(100, 8, 8, dtype=torch.float64).exponential_(generator=generator) ** 3
    instance = link_instance(gain, noise_power_w=0.01, max_power_w=1.0)
    wrong = link_instance(gain.mT, noise_power_w=0.01, max_power_w=1.0)
    for form in (lambda problem: problem, traced):
        right, transposed = WMMSE()(form(instance)), WMMSE()(form(wrong))
        scores = [PROBLEM.evaluate(instance, action).objective.mean() for action in (right, transposed)]
        assert scores[1] < 0.97 * scores[0]
    pair = link_instance(torch.tensor([[100.0, 8.0], [0.0, 0.5]]), noise_power_w=1.0, max_power_w=1.0)
    assert WMMSE(500)(pair).power_w.tolist() == pytest.approx(
        [1.0, 0.0], abs=1e-3
    )  # 2 disturbs 1, not vice versa


@pytest.mark.parametrize("first", ["max", "quarter", "random"])
def test_more_starts_are_never_worse(first: Any) -> None:
    instance = draw(60, seed=6)
    scores = [
        PROBLEM.evaluate(instance, WMMSE(50, starts=n, init=first, safeguard=False)(instance)).objective
        for n in (1, 4, 16)
    ]
    for few, many in itertools.pairwise(scores):
        assert (many >= few).all()
    assert scores[2].mean() > 1.01 * scores[0].mean()
    batched = WMMSE(50, starts=4, init=first, safeguard=False)(traced(instance))
    torch.testing.assert_close(PROBLEM.evaluate(instance, batched).objective, scores[1], rtol=1e-9, atol=0)


def test_random_starts_are_of_a_seed() -> None:
    table = start_amplitudes(8, 3, "random", 1)
    assert np.array_equal(start_amplitudes(5, 3, "random", 1), table[:5])
    assert not np.array_equal(start_amplitudes(8, 3, "random", 2), table)
    instance = draw(20)
    one, other = (WMMSE(1, init="random", seed=seed)(instance).power_w for seed in (1, 2))
    assert not torch.equal(one, other)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(0, 20))
def test_refining_is_never_worse(seed: int, steps: int) -> None:
    instance = draw(5, seed=seed)
    share = torch.rand(5, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    action = PowerAction(power_w=share * instance.max_power_w * instance.active)
    before = PROBLEM.evaluate(instance, action).objective
    kernel, batched = (
        WMMSE().refine(instance, action, steps),
        WMMSE().refine(traced(instance), action, steps),
    )
    assert (PROBLEM.evaluate(instance, kernel).objective >= before * (1 - 1e-14)).all()
    assert fractions(instance, kernel) == pytest.approx(fractions(instance, batched), abs=1e-9)
    alone = WMMSE().refine(index(instance, 0), index(action, 0), steps)
    assert torch.equal(alone.power_w, kernel.power_w[0])


def test_refining_continues_where_solving_ends() -> None:
    instance = draw(5, seed=8)
    solver = WMMSE(50, safeguard=False)
    halfway = WMMSE(20, safeguard=False)(instance)
    torch.testing.assert_close(solver.refine(instance, halfway, 30).power_w, solver(instance).power_w)
    above = PowerAction(power_w=3 * instance.max_power_w)
    torch.testing.assert_close(solver.refine(instance, above).power_w, solver(instance).power_w)
    nothing = PowerAction(power_w=torch.zeros_like(instance.max_power_w))
    assert not WMMSE().refine(instance, nothing).power_w.any()
    assert not WMMSE().refine(traced(instance), nothing).power_w.any()


def test_gradients_of_unrolled_steps() -> None:
    instance = draw(4, seed=9)
    gain = (instance.gain / 1e-10).requires_grad_()

    def objective(gain: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        problem = replace(instance, gain=gain * 1e-10, weight=weight)
        return PROBLEM.evaluate(instance, WMMSE(3, init="quarter")(problem)).objective

    assert torch.autograd.gradcheck(objective, (gain, instance.weight.clone().requires_grad_()))
    for silenced in (torch.zeros_like(instance.max_power_w), instance.max_power_w * (torch.arange(6) % 2)):
        power = silenced.clone().requires_grad_()
        leaf = traced(instance)
        refined = WMMSE().refine(leaf, PowerAction(power_w=power), 20).power_w
        (PROBLEM.evaluate(instance, PowerAction(power_w=refined)).objective.sum() + refined.sum()).backward()
        assert power.grad is not None
        assert leaf.gain.grad is not None
        assert torch.isfinite(power.grad).all()
        assert torch.isfinite(leaf.gain.grad).all()


def test_maps_over_a_batch() -> None:
    instance = draw(5, seed=10)
    mapped = torch.func.vmap(WMMSE(20, starts=2))(instance)
    torch.testing.assert_close(mapped.power_w, WMMSE(20, starts=2)(instance).power_w)


def test_single_precision_agrees() -> None:
    instance = to(draw(50, seed=12), dtype=torch.float32)
    compiled, batched = WMMSE(100)(instance), WMMSE(100)(traced(instance))
    scores = [PROBLEM.evaluate(instance, action).objective.detach() for action in (compiled, batched)]
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-5, atol=0)
    short = WMMSE(20)(instance), WMMSE(20)(traced(instance))
    assert fractions(instance, short[0]) == pytest.approx(fractions(instance, short[1]), abs=1e-5)


def test_units_do_not_matter() -> None:
    instance = draw(20, seed=13)
    solver, first = WMMSE(50, starts=3), WMMSE(50, starts=3)(instance).power_w
    quieter = replace(instance, gain=instance.gain / 1024, noise_power_w=instance.noise_power_w / 1024)
    torch.testing.assert_close(solver(quieter).power_w, first, rtol=1e-9, atol=0)
    dearer = replace(instance, weight=instance.weight * 1024)
    torch.testing.assert_close(solver(dearer).power_w, first, rtol=1e-9, atol=0)
    stronger = replace(instance, gain=instance.gain / 8, max_power_w=instance.max_power_w * 8)
    torch.testing.assert_close(solver(stronger).power_w, 8 * first, rtol=1e-9, atol=0)


def test_strided_and_expanded_tensors() -> None:
    instance = draw(5, seed=11, idle=0)
    same = replace(instance, gain=instance.gain[:1].expand(5, 6, 6), weight=instance.weight[:1].expand(5, 6))
    for problem in (same, replace(instance, gain=instance.gain.mT)):
        copy = LinkInstance(**{name: value.clone() for name, value in vars(problem).items()})
        assert torch.equal(WMMSE()(problem).power_w, WMMSE()(copy).power_w)


@pytest.mark.parametrize(
    ("field", "cut", "message"),
    [
        ("weight", lambda weight: weight[:, :5], r"expected shape \[3, 6\], got \[3, 5\]"),
        ("active", lambda active: active[:2], r"expected shape \[3, 6\], got \[2, 6\]"),
        ("gain", lambda gain: gain[0, :5, :4], r"expected a square matrix \[rx, tx\], got \[5, 4\]"),
    ],
)
def test_shapes_are_checked_before_a_kernel_reads(field: str, cut: Any, message: str) -> None:
    instance = draw(3)
    wrong: dict[str, Any] = {field: cut(getattr(instance, field))}
    with pytest.raises(ValueError, match=f"^{field}: {message}$"):
        WMMSE()(replace(instance, **wrong))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_refused(dtype) -> None:
    message = f"^gain: expected torch.float32 or torch.float64, got {dtype}$"
    with pytest.raises(ValueError, match=message):
        WMMSE()(to(draw(2), dtype=dtype))


@pytest.mark.parametrize("cut", [lambda power: power[:, :5], lambda power: power[:2], lambda power: power.mT])
def test_powers_to_refine_are_those_of_the_instance(cut: Any) -> None:
    instance = draw(3)
    with pytest.raises(ValueError, match=r"^power_w: "):
        WMMSE().refine(instance, PowerAction(power_w=cut(instance.max_power_w)), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_steps": 0}, "max_steps: must be at least 1, received 0"),
        ({"starts": 0}, "starts: must be at least 1, received 0"),
        ({"tol": -1.0}, "tol: must not be negative, received -1.0"),
        ({"init": "min"}, "init: must be 'max', 'quarter' or 'random', received 'min'"),
    ],
)
def test_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WMMSE(**arguments)
    with pytest.raises(ValueError, match="steps: must not be negative, received -1"):
        WMMSE().refine(draw(1), WMMSE()(draw(1)), -1)
