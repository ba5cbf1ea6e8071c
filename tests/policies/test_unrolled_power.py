import pytest
import torch
from tests.testing.links import sample

from torchrrm.policies import POLICIES, UnrolledPower
from torchrrm.policies.unrolled_power import qos_power_program
from torchrrm.problems import PowerAction, QosSumRate, WeightedSumRate
from torchrrm.problems.base import largest_violation
from torchrrm.records import index, pad, replace, to
from torchrrm.solvers import MinimumPower

RATE = 0.1


@pytest.fixture
def instance(generator):
    drawn = to(sample(12, generator=generator), dtype=torch.float64)
    return index(drawn, QosSumRate(RATE).feasible(drawn))


def policy(**arguments):
    torch.manual_seed(0)
    return UnrolledPower(RATE, **arguments).double()


def test_the_first_powers_keep_every_rate_with_room(instance):
    made = policy()
    state = made.begin(instance)
    rate = WeightedSumRate().rate(instance, state.safe * instance.max_power_w)
    assert (rate >= RATE - 1e-9).all()
    torch.testing.assert_close(state.safe.amax(-1), torch.ones_like(state.safe[:, 0]))
    least = MinimumPower(RATE)(instance).power_w / instance.max_power_w
    torch.testing.assert_close(state.least.exp(), least)


def test_the_description_is_the_problem(instance):
    made = policy()
    state = made.begin(instance)
    program = qos_power_program(instance, RATE, state)
    x = state.level - 0.3
    power_w = torch.exp(x[..., 0]) * instance.max_power_w
    score = QosSumRate(RATE).evaluate(instance, PowerAction(power_w=power_w))
    torch.testing.assert_close(program.objective(x), -score.objective / instance.weight.sum(-1))
    torch.testing.assert_close(program.coupled(x)["min_rate"], RATE * score.violation["min_rate"])
    given = torch.autograd.functional.jacobian(lambda x: program.objective(x).sum(), x)
    torch.testing.assert_close(program.gradient(x), given)
    assert (program.gradient(x).abs().sum((-2, -1)) < 3).all()  # slopes by logarithms are bounded


def test_restored_powers_keep_every_rate_and_others_are_left_alone(generator):
    drawn = to(sample(60, generator=generator), dtype=torch.float64)
    made = policy()
    links = index(drawn, made.problem.feasible(drawn))
    level = torch.randn(links.max_power_w.shape, generator=generator, dtype=torch.float64)
    share = torch.exp(-3 * level.abs())
    found = made.restored(links, share, made.begin(links).safe)
    before, after = (
        largest_violation(made.problem.evaluate(links, PowerAction(power_w=each * links.max_power_w)))
        for each in (share, found)
    )
    assert 0.2 < (before > 0).double().mean() < 0.95
    assert after.max() < 1e-9
    torch.testing.assert_close(found[before <= 0], share[before <= 0])


def test_where_the_rates_cannot_be_reached_it_is_minimum_power(instance):
    torch.manual_seed(0)
    made = UnrolledPower(4.0).double()
    assert not made.problem.feasible(instance).any()
    with torch.no_grad():
        torch.testing.assert_close(made(instance).power_w, MinimumPower(4.0)(instance).power_w)


def test_nobody_asking_for_anything_is_served(instance):
    torch.manual_seed(0)
    with torch.no_grad():
        power_w = UnrolledPower(0.0).double()(instance).power_w
    assert ((power_w > 0) & (power_w <= instance.max_power_w)).all()


def test_padding_and_pauses_change_nothing(instance):
    made = policy()
    active = instance.active.clone()
    active[:, 2] = False
    paused = replace(instance, active=active)
    with torch.no_grad():
        wanted = made(paused).power_w
        found = made(pad(paused, rx=8, tx=8)).power_w
    torch.testing.assert_close(found[:, :6], wanted)
    assert not wanted[:, 2].any()
    assert not found[:, 6:].any()


def test_bad_arguments_are_told():
    with pytest.raises(ValueError, match="depth: must be at least 1, received 0"):
        UnrolledPower(depth=0)
    with pytest.raises(ValueError, match="min_rate_bps_hz"):
        UnrolledPower(-1.0)
    assert POLICIES["UnrolledPower"] is UnrolledPower
