"""Scores of associations: Eq. (1) to (3) of [Zhang2022HBGNN] by loops, fairness, units, bad input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.testing.association import CELLS, FAIR_CELLS, network, sample, sample_sparse

from torchrrm.problems.association import (
    MACRO_POWER_W,
    SERVED_FROM,
    SMALL_POWER_W,
    UNSERVED,
    AssociationAction,
    CellInstance,
    ProportionalFairAssociation,
    RelaxedAssociation,
    SumRateAssociation,
    cell_instance,
    harden,
    in_reach,
    jain_index,
    load,
    low_rate,
    one_hot,
    relative_snr,
    relaxed_rate,
    served_users,
    station_rate,
    station_sinr,
    user_rate,
)
from torchrrm.problems.association.problems import LEAST_RATE
from torchrrm.problems.base import largest_violation
from torchrrm.records import index, pad, replace, to
from torchrrm.testing import check_problem
from torchrrm.testing.surgery import draw, draw_action

SUM, FAIR = SumRateAssociation(), ProportionalFairAssociation()


def drawn(batch_size: int, seed: int, source=sample) -> tuple[CellInstance, AssociationAction]:
    """Instances in double precision, some users and stations inactive, and random actions."""
    generator = torch.Generator().manual_seed(seed)
    instance = to(draw(source, batch_size, generator), dtype=torch.float64)
    return instance, draw_action(SUM, instance, generator)


def naive_rates(instance: CellInstance, action: AssociationAction) -> np.ndarray:
    """Rates of a single instance in bit/s/Hz, user by user and station by station."""
    gain, noise = instance.gain.numpy(), float(instance.noise_power_w)
    power, station = action.power_w.numpy(), action.station.tolist()
    user, bs = instance.active_user.tolist(), instance.active_bs.tolist()
    rates = np.zeros(len(user))
    for i, j in enumerate(station):
        if not user[i] or j < 0 or not bs[j]:
            continue
        interference = sum(power[m] * gain[i, m] for m in range(len(bs)) if m != j and bs[m])
        sharing = sum(1 for k, s in enumerate(station) if s == j and user[k])
        rates[i] = math.log2(1 + power[j] * gain[i, j] / (noise + interference)) / sharing
    return rates


def assert_close(received: torch.Tensor, wanted: object, rtol: float = 1e-12) -> None:
    torch.testing.assert_close(
        received, torch.as_tensor(wanted, dtype=received.dtype), rtol=rtol, atol=rtol, equal_nan=False
    )


@pytest.mark.parametrize("draws", [sample, sample_sparse])
@pytest.mark.parametrize(("problem", "expected"), [(SUM, CELLS), (FAIR, FAIR_CELLS)])
def test_problems_conform(problem, expected, draws):
    check_problem(problem, draws, expected=expected)


@given(seed=st.integers(0, 10_000))
def test_rates_are_those_of_the_loops(seed):
    instance, action = drawn(2, seed)
    wanted = np.stack([naive_rates(index(instance, i), index(action, i)) for i in range(2)])
    assert_close(user_rate(instance, action), wanted)
    found = SUM.evaluate(instance, action)
    assert_close(found.objective, wanted.sum(-1))
    assert_close(found.utility, wanted)


def test_two_users_and_two_stations_by_hand():
    """The gain is not symmetric: its transpose would give other rates."""
    instance = cell_instance(
        torch.tensor([[6.0, 1.0], [4.0, 2.0]], dtype=torch.float64),
        max_power_w=torch.tensor([1.0, 0.5], dtype=torch.float64),
        noise_power_w=1.0,
    )
    power = torch.tensor([1.0, 0.5], dtype=torch.float64)
    apart = AssociationAction(station=torch.tensor([0, 1]), power_w=power)
    assert_close(user_rate(instance, apart), [math.log2(1 + 6 / 1.5), math.log2(1 + 1 / 5)])
    together = AssociationAction(station=torch.tensor([0, 0]), power_w=power)
    assert_close(user_rate(instance, together), [math.log2(1 + 6 / 1.5) / 2, math.log2(1 + 4 / 2) / 2])
    assert_close(relative_snr(instance), [[6.0, 0.5], [4.0, 1.0]])
    assert_close(station_sinr(instance, power), [[6 / 1.5, 0.5 / 7], [4 / 2, 1 / 5]])
    chosen, count = load(instance, together.station)
    assert chosen.tolist() == [[1, 0], [1, 0]]
    assert count.tolist() == [2, 0]


def test_inactive_users_and_stations_carry_no_load():
    """The action may name a station for them; the shares of active users must not depend on it."""
    instance = replace(
        cell_instance(torch.rand(4, 3) + 0.1, noise_power_w=0.01),
        active_user=torch.tensor([True, False, True, True]),
        active_bs=torch.tensor([True, True, False]),
    )
    station = torch.tensor([0, 0, 0, 2])
    chosen, count = load(instance, station)
    assert chosen.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert count.tolist() == [2, 0, 0]
    rate = user_rate(instance, AssociationAction(station=station, power_w=instance.max_power_w))
    assert_close(rate[0], station_rate(instance, instance.max_power_w)[0, 0] / 2)


def test_probabilities_of_inactive_users_and_stations_carry_no_load():
    instance = replace(
        cell_instance(torch.rand(3, 3) + 0.1, noise_power_w=0.01),
        active_user=torch.tensor([True, False, True]),
        active_bs=torch.tensor([True, True, False]),
    )
    chances = RelaxedAssociation(probability=torch.full((3, 3), 1.0), power_w=instance.max_power_w)
    rate = station_rate(instance, instance.max_power_w)[:, :2].sum(-1) / 2  # two active users at each station
    assert_close(relaxed_rate(instance, chances), [rate[0], 0.0, rate[2]], 1e-6)


def test_a_silent_station_parks_for_nothing():
    instance = cell_instance(torch.rand(5, 3) + 0.1, noise_power_w=0.01)
    power = torch.tensor([SMALL_POWER_W, 0.0, SMALL_POWER_W])
    parked = AssociationAction(station=torch.tensor([0, 2, 1, 1, 1]), power_w=power)
    found = SUM.evaluate(instance, parked)
    assert found.utility[2:].tolist() == [0, 0, 0]
    assert_close(found.objective, station_rate(instance, power)[[0, 1], [0, 2]].sum())
    assert max(float(value.max()) for value in found.violation.values()) <= 0


def test_interference_is_exact_in_single_precision():
    """A signal of 120 dB over the noise: taken off the total, it would leave nothing of noise and interference."""
    gain = torch.tensor([[1e12, 0.25, 0.5]], dtype=torch.float32)
    instance = cell_instance(gain, max_power_w=torch.ones(3), noise_power_w=1.0)
    total = relative_snr(instance).sum(-1)
    assert float(1 + total - gain[0, 0]) == 0.0
    sinr = station_sinr(instance, torch.ones(3))
    torch.testing.assert_close(sinr[0, 0], torch.tensor(1e12 / 1.75), rtol=1e-6, atol=0.0)
    torch.testing.assert_close(sinr[0, 1], torch.tensor(0.25 / 1e12), rtol=1e-6, atol=0.0)


@given(seed=st.integers(0, 10_000))
def test_relaxed_equals_hard_at_ones_and_zeros(seed):
    instance, action = drawn(3, seed)
    relaxed = RelaxedAssociation(
        probability=one_hot(action.station, instance.gain.shape[-1], dtype=torch.float64),
        power_w=action.power_w,
    )
    assert_close(relaxed_rate(instance, relaxed), user_rate(instance, action))
    for problem in (SUM, FAIR):
        assert_close(problem.relaxed(instance, relaxed), problem.evaluate(instance, action).objective)
    hard = harden(relaxed)
    assert torch.equal(hard.station, action.station)
    assert torch.equal(hard.power_w, action.power_w)


@pytest.mark.parametrize("problem", [SUM, FAIR])
def test_gradcheck_of_the_relaxed_objective(problem, generator):
    instance = to(draw(sample, 2, generator), dtype=torch.float64)
    logits = torch.randn(instance.gain.shape, generator=generator, dtype=torch.float64, requires_grad=True)
    share = torch.rand(instance.max_power_w.shape, generator=generator, dtype=torch.float64) * 0.8 + 0.1

    def score(logits, share):
        power = share * instance.max_power_w
        return problem.relaxed(instance, RelaxedAssociation(probability=logits.softmax(-1), power_w=power))

    assert torch.autograd.gradcheck(score, (logits, share.requires_grad_()))


def test_few_probabilities_do_not_fill_a_station():
    """A tenth of a user counts for a tenth of its rate, and not as a whole one."""
    instance = cell_instance(torch.ones(1, 2), max_power_w=torch.ones(2), noise_power_w=1.0)
    chances = RelaxedAssociation(probability=torch.tensor([[0.1, 0.9]]), power_w=torch.tensor([1.0, 0.0]))
    assert_close(relaxed_rate(instance, chances), [0.1], 1e-6)


@given(seed=st.integers(0, 10_000), users=st.integers(1, 40), idle=st.integers(0, 5))
def test_measures_of_fairness(seed, users, idle):
    values = np.random.default_rng(seed)
    own = values.exponential(size=users) * (values.random(users) < 0.8)
    rate = torch.tensor(np.concatenate([own, np.full(idle, 7.0)]))
    active = torch.arange(users + idle) < users
    squares = (own**2).sum()
    assert_close(jain_index(rate, active), own.sum() ** 2 / (users * squares) if squares else 0.0)
    assert_close(low_rate(rate, active), np.percentile(own, 5))
    assert_close(low_rate(rate, active, 0.5), np.median(own))
    assert served_users(rate, active) == (own >= SERVED_FROM).sum()


def test_fairness_of_nobody():
    rate, active = torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool)
    for measure in (jain_index, low_rate, served_users):
        assert measure(rate, active).tolist() == [0.0, 0.0]


@given(seed=st.integers(0, 10_000))
def test_fair_objective_is_the_geometric_mean(seed):
    instance, action = drawn(1, seed)
    rates = naive_rates(index(instance, 0), index(action, 0))[in_reach(instance)[0].numpy()]
    wanted = np.exp(np.log(rates + LEAST_RATE).mean()) - LEAST_RATE if len(rates) else 0.0
    assert_close(FAIR.evaluate(instance, action).objective[0], wanted, 1e-10)


def test_geometric_mean_of_equal_rates_is_the_rate():
    instance = cell_instance(torch.eye(4), max_power_w=torch.ones(4), noise_power_w=1.0)
    action = AssociationAction(station=torch.arange(4), power_w=torch.ones(4))
    assert_close(FAIR.evaluate(instance, action).objective, 1.0, 1e-5)
    stranded = AssociationAction(station=torch.tensor([0, 1, 2, 2]), power_w=torch.ones(4))
    assert FAIR.evaluate(instance, stranded).objective < 0.05
    assert_close(SUM.evaluate(instance, stranded).objective, 2.5, 1e-5)


def test_units(generator):
    instance, action = drawn(4, 3)
    rate = user_rate(instance, action)
    louder = replace(
        instance, noise_power_w=instance.noise_power_w * 1e6, max_power_w=instance.max_power_w * 1e6
    )
    assert_close(user_rate(louder, replace(action, power_w=action.power_w * 1e6)), rate)
    nearer = replace(instance, gain=instance.gain * 1e3, noise_power_w=instance.noise_power_w * 1e3)
    assert_close(user_rate(nearer, action), rate)
    assert torch.equal(user_rate(replace(instance, bandwidth_hz=instance.bandwidth_hz * 7), action), rate)


def test_padding_changes_nothing():
    instance, action = drawn(4, 5)
    wide, padded = pad(instance, user=11, bs=9), pad(action, user=11, bs=9)
    for problem in (SUM, FAIR):
        assert_close(
            problem.evaluate(wide, padded).objective, problem.evaluate(instance, action).objective, 1e-12
        )
    assert user_rate(wide, padded)[:, 7:].eq(0).all()
    assert torch.equal(padded.station[:, 7:], torch.full((4, 4), UNSERVED))


def test_users_out_of_reach_are_unserved_and_violate_nothing():
    gain = torch.tensor([[1.0, 0.5], [0.0, 0.0], [0.0, 2.0]])
    instance = replace(cell_instance(gain), active_bs=torch.tensor([True, False]))
    assert in_reach(instance).tolist() == [True, False, False]
    action = AssociationAction(
        station=torch.tensor([0, UNSERVED, UNSERVED]), power_w=torch.tensor([SMALL_POWER_W, 0.0])
    )
    for problem in (SUM, FAIR):
        found = problem.validate(instance) and problem.evaluate(instance, action)
        assert max(float(value.max()) for value in found.violation.values()) <= 0
        assert found.utility[1:].tolist() == [0, 0]
        assert found.objective > 0


@pytest.mark.parametrize(
    ("station", "broken"), [(UNSERVED, True), (1, True), (3, True), (7, True), (0, False)]
)
def test_who_is_in_reach_must_have_an_active_station(station, broken):
    instance = replace(cell_instance(torch.ones(2, 3)), active_bs=torch.tensor([True, False, True]))
    action = AssociationAction(
        station=torch.tensor([station, 2]), power_w=torch.tensor([0.1, 0.0, 0.1]) * SMALL_POWER_W
    )
    found = SUM.evaluate(instance, action)
    assert found.violation["station"].tolist() == [float(broken), 0.0]
    assert (found.utility[0] == 0) == broken


def test_powers_are_limited():
    instance = cell_instance(torch.ones(1, 3), max_power_w=torch.tensor([1.0, 2.0, 4.0]))
    action = AssociationAction(station=torch.tensor([0]), power_w=torch.tensor([1.5, 2.0, -1.0]))
    found = SUM.evaluate(instance, action).violation
    assert_close(found["power"], [0.5, 0.0, -1.25], 1e-6)
    assert_close(found["sign"], [-1.5, -1.0, 0.25], 1e-6)


@pytest.mark.parametrize("users", [0, 3])
def test_nobody_to_serve(users):
    instance = cell_instance(torch.ones(2, users, 4))
    instance = replace(instance, active_user=torch.zeros(2, users, dtype=torch.bool))
    action = AssociationAction(
        station=torch.full((2, users), UNSERVED), power_w=torch.full((2, 4), SMALL_POWER_W)
    )
    for problem in (SUM, FAIR):
        found = problem.evaluate(problem.validate(instance), action)
        assert found.objective.tolist() == [0.0, 0.0]
        assert max(float(value.max()) for value in found.violation.values() if value.numel()) <= 0


def test_terms_of_the_paper():
    macro = torch.tensor([True, False, False])
    instance = cell_instance(torch.ones(2, 4, 3), macro=macro)
    assert instance.max_power_w[1].tolist() == pytest.approx([MACRO_POWER_W, SMALL_POWER_W, SMALL_POWER_W])
    assert pytest.approx(100.0) == MACRO_POWER_W
    assert pytest.approx(0.1) == SMALL_POWER_W
    assert 10 * math.log10(instance.noise_power_w[0].item() * 1e3) == pytest.approx(-101, abs=0.02)
    with pytest.raises(ValueError, match=r"^macro: must be left out where max_power_w is given"):
        cell_instance(torch.ones(4, 3), macro=macro, max_power_w=torch.ones(3))


def changed(**fields):
    return lambda i: replace(i, **{name: change(getattr(i, name)) for name, change in fields.items()})


def first(value):
    def put(tensor):
        tensor = tensor.clone()
        tensor[0, ..., 0] = value
        return tensor

    return put


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            changed(gain=first(math.nan)),
            r"gain: must be finite and not negative, received nan at \[0, 0, 0\]",
        ),
        (changed(gain=first(-1.0)), r"gain: must be finite and not negative, received -1.0 at \[0, 0, 0\]"),
        (changed(gain=first(math.inf)), "gain: must be finite and not negative, received inf"),
        (
            changed(max_power_w=first(0.0)),
            r"max_power_w: must be positive and finite, received 0.0 at \[0, 0\]",
        ),
        (changed(noise_power_w=torch.zeros_like), "noise_power_w: must be positive and finite, received 0.0"),
        (changed(bandwidth_hz=torch.neg), "bandwidth_hz: must be positive and finite, received -20000000.0"),
        (changed(gain=lambda g: g[..., :0]), r"gain: expected at least one bs, got shape \[2, 7, 0\]"),
        (changed(gain=lambda g: g[0, 0]), r"gain: expected shape \[\*batch, user, bs\], got \[5\]"),
        (changed(gain=lambda g: g.mT), r"max_power_w: expected shape \[2, 7\], got \[2, 5\]"),
        (changed(active_bs=lambda a: a[:, 1:]), r"active_bs: expected shape \[2, 5\], got \[2, 4\]"),
        (changed(max_power_w=lambda p: p[0]), r"max_power_w: expected shape \[2, 5\], got \[5\]"),
        (changed(noise_power_w=lambda n: n[:1]), r"noise_power_w: expected shape \[2\], got \[1\]"),
    ],
)
@pytest.mark.parametrize("problem", [SUM, FAIR])
def test_bad_input_is_refused_in_one_line(problem, change, message, generator):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        problem.validate(change(sample(2, generator=generator)))
    assert "\n" not in str(caught.value)


def test_what_is_inactive_may_hold_anything(generator):
    instance = sample(2, generator=generator)
    odd = changed(gain=first(math.nan))(instance)
    user, bs = instance.active_user.clone(), instance.active_bs.clone()
    user[0, 0], bs[0, 0] = False, False
    assert SUM.validate(replace(odd, active_bs=bs)) is not None
    instance = replace(instance, active_user=user, active_bs=bs)
    odd = changed(max_power_w=first(-1.0), gain=lambda g: g.masked_fill(~user[..., None], math.nan))(instance)
    action = draw_action(SUM, instance, generator)
    for problem in (SUM, FAIR):
        wanted = problem.evaluate(instance, action)
        found = problem.evaluate(problem.validate(odd), action)
        assert torch.equal(found.objective, wanted.objective)
        assert torch.equal(found.violation["power"], wanted.violation["power"])


def test_more_stations_than_users_and_the_reverse(generator):
    for users, stations in ((1, 9), (9, 1)):
        instance = network(3, users, stations, generator=generator)
        action = draw_action(SUM, instance, generator)
        assert SUM.validate(instance) is instance
        assert SUM.evaluate(instance, action).utility.shape == (3, users)


def test_a_network_without_users_violates_nothing() -> None:
    instance = cell_instance(torch.rand(2, 0, 3))
    action = AssociationAction(station=torch.zeros(2, 0, dtype=torch.long), power_w=instance.max_power_w)
    evaluation = SumRateAssociation().evaluate(instance, action)
    assert evaluation.objective.tolist() == [0.0, 0.0]
    assert largest_violation(evaluation).tolist() == [0.0, 0.0]
