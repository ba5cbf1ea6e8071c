import itertools
import math

import pytest
import torch
from tests.testing.forms import traced
from tests.testing.links import LINKS, sample, weighted_rayleigh

from torchrrm.kernels import link_greedy
from torchrrm.kernels.links import relative
from torchrrm.problems import LinkInstance, PowerAction, WeightedSumRate, link_instance
from torchrrm.records import index, replace, to
from torchrrm.solvers import WMMSE, GreedyLinks
from torchrrm.solvers.greedy_links import admit, best_pairs
from torchrrm.solvers.relative_links import relative_links
from torchrrm.testing import check_solver

PROBLEM = WeightedSumRate()


def rate(instance: LinkInstance, action: PowerAction) -> torch.Tensor:
    return PROBLEM.evaluate(instance, action).objective


def on_and_off(instance: LinkInstance) -> torch.Tensor:
    """The best rate of all on/off powers, of at most a dozen links."""
    links = instance.active.shape[-1]
    sets = torch.tensor(list(itertools.product((0.0, 1.0), repeat=links)), dtype=torch.float64)
    return torch.stack(
        [rate(instance, PowerAction(power_w=on * instance.max_power_w * instance.active)) for on in sets]
    ).amax(0)


SOLVERS = [GreedyLinks(), GreedyLinks(1, 1, 0), GreedyLinks(2, 3, 5)]


@pytest.mark.parametrize("solver", SOLVERS)
def test_conforms(solver: GreedyLinks) -> None:
    check_solver(solver, PROBLEM, sample, expected=LINKS)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_torch_form_conforms(solver: GreedyLinks) -> None:
    check_solver(lambda instance: solver(traced(instance)), PROBLEM, sample, expected=LINKS)


@pytest.mark.parametrize("links", [1, 2, 7, 20, 60])
@pytest.mark.parametrize("solver", SOLVERS)
def test_both_forms_agree(solver: GreedyLinks, links: int) -> None:
    instance = weighted_rayleigh(max(2, 120 // links), links, seed=links)
    compiled, batched = solver(instance).power_w, solver(traced(instance)).power_w.detach()
    torch.testing.assert_close(compiled, batched, rtol=1e-9, atol=1e-9)
    assert torch.equal(solver(index(instance, 0)).power_w, compiled[0])
    single = to(instance, dtype=torch.float32)
    scores = [rate(single, solver(form(single))).detach() for form in (lambda one: one, traced)]
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-4, atol=0)


def test_close_to_the_best_on_and_off_powers() -> None:
    instance = weighted_rayleigh(60, 9, seed=1)
    best, plain = on_and_off(instance), rate(instance, GreedyLinks(1, 1, 0)(instance))
    found = rate(instance, GreedyLinks(4, 16, 0)(instance))
    assert (found <= best + 1e-9).all()
    assert found.mean() > 0.999 * best.mean()
    assert plain.mean() < found.mean()
    assert (rate(instance, GreedyLinks()(instance)) >= found - 1e-9).all()


def test_greedy_admission_from_nobody() -> None:
    instance = weighted_rayleigh(20, 8, seed=2)
    power = GreedyLinks(1, 1, 0)(instance).power_w
    for i in range(20):
        one = index(instance, i)
        on, best = torch.zeros(8, dtype=torch.float64), 0.0
        while True:
            scores = [
                float(
                    rate(
                        one,
                        PowerAction(
                            power_w=(on + (on == 0) * unit).clamp(max=1) * one.max_power_w * one.active
                        ),
                    )
                )
                for unit in torch.eye(8, dtype=torch.float64)
            ]
            if max(scores) <= best * (1 + 1e-6):
                break
            best = max(scores)
            on[scores.index(best)] = 1.0
        torch.testing.assert_close(power[i], on * one.max_power_w * one.active)


def test_a_pair_is_found_that_the_strongest_link_hides() -> None:
    gain = torch.tensor([[100.0, 50.0, 50.0], [50.0, 60.0, 0.0], [50.0, 0.0, 60.0]])
    instance = link_instance(gain, noise_power_w=1.0, max_power_w=1.0)
    assert GreedyLinks(1, 1)(instance).power_w.tolist() == [1.0, 0.0, 0.0]
    assert GreedyLinks(1, 3)(instance).power_w.tolist() == [0.0, 1.0, 1.0]


def test_a_transposed_gain_is_noticed() -> None:
    generator = torch.Generator().manual_seed(5)
    gain = torch.empty(100, 8, 8, dtype=torch.float64).exponential_(generator=generator) ** 3
    instance, wrong = (
        link_instance(each, noise_power_w=0.01, max_power_w=1.0) for each in (gain, gain.mT.contiguous())
    )
    for form in (lambda problem: problem, traced):
        right, transposed = GreedyLinks()(form(instance)), GreedyLinks()(form(wrong))
        assert rate(instance, transposed).mean() < 0.97 * rate(instance, right).mean()


def test_better_than_wmmse_where_all_hear_each_other() -> None:
    instance = weighted_rayleigh(60, 20, seed=3, idle=0.0)
    assert (
        rate(instance, GreedyLinks()(instance)).mean() > rate(instance, WMMSE(40, starts=16)(instance)).mean()
    )


def test_in_relative_units_as_control_loops_call_it() -> None:
    one = index(weighted_rayleigh(1, 12, seed=4, idle=0.0), 0)
    arrays = one.gain.numpy(), 1.0, one.max_power_w.numpy(), one.active.numpy()
    _, cross, across, direct = relative(*arrays)
    amplitude = torch.empty(12, dtype=torch.float64)
    link_greedy.run(cross, across, direct, one.weight.numpy(), 16, 4, 10, amplitude.numpy())
    torch.testing.assert_close(amplitude.square() * one.max_power_w, GreedyLinks()(one).power_w)


def test_pairs_and_admission() -> None:
    instance = weighted_rayleigh(30, 6, seed=6)
    links = relative_links(instance)
    pairs = best_pairs(links, 6)
    assert (pairs.alone.diff(dim=-1) <= 0).all()
    assert (pairs.member.sum(-1) <= 2).all()
    chosen = pairs.promising & pairs.fresh
    power = PowerAction(power_w=pairs.member[:, 0] * instance.max_power_w)
    expected = rate(instance, power) * math.log(2)
    torch.testing.assert_close(pairs.value[:, 0][chosen[:, 0]], expected[chosen[:, 0]])
    on = admit(links, pairs.member)
    assert (on >= pairs.member).all()
    assert not (on & ~instance.active[:, None]).any()


def test_the_polish_has_gradients() -> None:
    leaf = traced(weighted_rayleigh(5, 8, seed=7))
    rate(leaf, GreedyLinks()(leaf)).sum().backward()
    assert leaf.gain.grad is not None
    assert torch.isfinite(leaf.gain.grad).all()


def test_weights_of_zero_and_shapes() -> None:
    instance = weighted_rayleigh(4, 5, seed=8)
    silent = GreedyLinks()(replace(instance, weight=torch.zeros_like(instance.weight)))
    assert torch.isfinite(silent.power_w).all()
    assert GreedyLinks().solve(instance).converged.shape == (4,)


@pytest.mark.parametrize(("name", "value"), [("starts", 0), ("breadth", 0), ("steps", -1)])
def test_arguments(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name}: must be at least {value + 1}, received {value}"):
        GreedyLinks(**{name: value})
