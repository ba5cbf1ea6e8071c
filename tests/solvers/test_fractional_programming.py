import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from tests.solvers import link_oracles as oracles
from tests.testing.forms import traced
from tests.testing.links import LINKS, sample

from torchrrm.problems import LinkInstance, PowerAction, WeightedSumRate, link_instance
from torchrrm.records import index, replace, to
from torchrrm.solvers import WMMSE, FPLinQ, FractionalProgramming
from torchrrm.solvers.relative_links import relative_links
from torchrrm.solvers.wmmse import Amplitudes
from torchrrm.testing import check_solver

PROBLEM = WeightedSumRate()


def draw(count: int, seed: int = 0) -> LinkInstance:
    generator = torch.Generator().manual_seed(seed)
    instance = to(sample(count, generator=generator), dtype=torch.float64)
    return replace(instance, active=torch.rand(count, 6, generator=generator) < 0.8)


def closed_form(gain: np.ndarray, weight: np.ndarray, steps: int) -> np.ndarray:
    """Power fractions by the closed form of the quadratic transform, the three updates as printed."""
    links = len(gain)
    x = np.array([1.0 if gain[k, k] > 0 else 0.0 for k in range(links)])
    for _ in range(steps):
        gamma, y, new = np.zeros(links), np.zeros(links), np.zeros(links)
        for k in range(links):
            noise = 1 + sum(gain[k, j] * x[j] for j in range(links) if j != k)
            gamma[k] = gain[k, k] * x[k] / noise
            y[k] = np.sqrt(weight[k] * (1 + gamma[k]) * gain[k, k] * x[k]) / (noise + gain[k, k] * x[k])
        for k in range(links):
            price = sum(y[j] ** 2 * gain[j, k] for j in range(links))
            worth = y[k] ** 2 * weight[k] * (1 + gamma[k]) * gain[k, k]
            new[k] = min(1.0, worth / price**2) if price > 0 else 0.0
        x = new
    return x


def test_the_closed_form_is_wmmse() -> None:
    instance = draw(6)
    for i in range(6):
        one = index(instance, i)
        gain, weight = oracles.relative(one), one.weight.numpy()
        for steps in (1, 2, 5, 50):
            found = closed_form(gain, weight, steps)
            wanted = oracles.wmmse(gain, weight, one.active.double().numpy(), steps)[-1]
            assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)
            ours = WMMSE(steps, safeguard=False)(one).power_w / one.max_power_w
            assert found == pytest.approx(ours.numpy(), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("solver", [FractionalProgramming(20), FractionalProgramming(30, 1e-6, 5), FPLinQ()])
def test_conforms(solver: FractionalProgramming | FPLinQ) -> None:
    check_solver(solver, PROBLEM, sample, expected=replace(LINKS, extremes=False))


def test_a_step_maximises_the_surrogate() -> None:
    instance, solver = draw(4, seed=1), FractionalProgramming(inner_steps=3000)
    links = relative_links(instance)
    amplitude = torch.rand(4, 1, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    amplitude = amplitude * instance.active[:, None]
    reached = solver.step(links, Amplitudes(amplitude=amplitude)).amplitude
    for i in range(4):
        gain, weight, v = (
            oracles.relative(index(instance, i)),
            instance.weight[i].numpy(),
            amplitude[i, 0].numpy(),
        )
        own = gain.diagonal()
        cross = gain - np.diag(own)
        y = np.sqrt(own) * v / (1 + cross @ v**2)

        def surrogate(x: np.ndarray, y=y, own=own, cross=cross, weight=weight) -> float:
            inside = 1 + 2 * y * np.sqrt(own) * x - y**2 * (1 + cross @ x**2)
            return -float(weight @ np.log(inside)) if (inside > 0).all() else 1e9

        best = minimize(surrogate, v, bounds=[(0, 1)] * 6, method="L-BFGS-B", options={"ftol": 1e-14})
        assert surrogate(reached[i, 0].numpy()) == pytest.approx(best.fun, rel=1e-5)
        objective = weight @ oracles.rates(gain, v**2) * np.log(2)
        assert -surrogate(v) == pytest.approx(objective, rel=1e-12)  # it touches the objective


def test_the_objective_never_falls() -> None:
    instance, solver = draw(40, seed=2), FractionalProgramming()
    links, scores = relative_links(instance), []
    state = solver.init(links)
    for _ in range(40):
        power = PowerAction(power_w=state.amplitude.squeeze(-2).square() * instance.max_power_w)
        scores.append(PROBLEM.evaluate(instance, power).objective)
        state = solver.step(links, state)
    assert (torch.stack(scores).diff(dim=0) >= -1e-12 * scores[-1]).all()
    ratio = PROBLEM.evaluate(instance, solver(instance)).objective / scores[0]
    assert ratio.nan_to_num(1.0).mean() > 1.2


def test_ends_where_the_exact_inner_problem_and_wmmse_end() -> None:
    instance = draw(60, seed=3)
    solvers = FractionalProgramming(50), FractionalProgramming(50, inner_steps=40), WMMSE(2000)
    score = [PROBLEM.evaluate(instance, solver(instance)).objective.mean() for solver in solvers]
    assert score[0] > 0.995 * score[1]
    assert score[0] > 0.99 * score[2]


def test_gradients() -> None:
    instance = traced(draw(4, seed=4))
    FractionalProgramming(3)(instance).power_w.sum().backward()
    assert instance.gain.grad is not None
    assert torch.isfinite(instance.gain.grad).all()


def test_scheduling_is_on_or_off() -> None:
    instance = draw(100, seed=5)
    power, relaxed = FPLinQ()(instance).power_w, WMMSE()(instance).power_w
    on = power > 0
    assert torch.equal(power[on], instance.max_power_w[on])
    active = instance.active.any(-1)
    assert on[active].any(-1).all()
    clear = (relaxed > 0.5 * instance.max_power_w) & instance.active
    assert torch.equal(on[clear.any(-1)], clear[clear.any(-1)])
    full = PROBLEM.evaluate(instance, PowerAction(power_w=instance.max_power_w)).objective
    assert PROBLEM.evaluate(instance, PowerAction(power_w=power)).objective.mean() > 1.2 * full.mean()


def test_the_highest_is_on_where_none_passes_the_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = link_instance(torch.tensor([[9.0, 5.0], [5.0, 10.0]]), noise_power_w=1.0, max_power_w=2.0)
    solver = FPLinQ()
    monkeypatch.setattr(solver, "relaxed", lambda _: PowerAction(power_w=torch.tensor([0.2, 0.3])))
    assert solver(pair).power_w.tolist() == [0.0, 2.0]


def test_arguments() -> None:
    with pytest.raises(ValueError, match="inner_steps: must be at least 1, received 0"):
        FractionalProgramming(inner_steps=0)
    with pytest.raises(ValueError, match="tol: must not be negative, received -1"):
        FractionalProgramming(tol=-1)
    with pytest.raises(ValueError, match="threshold: must be above 0 and at most 1, received 0"):
        FPLinQ(threshold=0)
