"""Scores of beams for short packets: the Gram form, duality, units, bad input."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.testing.beams import BEAMS, complex_normal, loaded, sample
from torch import Tensor

from torchrrm.problems import (
    BeamAction,
    MisoInstance,
    UrllcBeamforming,
    miso_instance,
    mmse_action,
    to_downlink,
)
from torchrrm.problems.beamforming import (
    downlink_sinr,
    dual_sinr,
    least_rate_nats,
    least_sinr,
    mmse_beams,
    mmse_sinr,
    power_slope,
    relative_gram,
)
from torchrrm.rates import packet_back_off, packet_rate
from torchrrm.records import index, pad, replace, to
from torchrrm.testing import check_problem
from torchrrm.testing.surgery import take

PROBLEM = UrllcBeamforming()


def assert_equal(received: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(received, wanted, rtol=1e-10, atol=1e-10)


def random_instance(users: int, antennas: int, seed: int) -> MisoInstance:
    """A single one in double precision, everything different."""
    generator = torch.Generator().manual_seed(seed)
    instance = miso_instance(complex_normal(users, antennas, generator=generator, dtype=torch.float64))
    noise = 0.5 + torch.rand(users, generator=generator, dtype=torch.float64)
    weight = 0.5 + torch.rand(users, generator=generator, dtype=torch.float64)
    return replace(instance, noise_power_w=noise, weight=weight)


def random_power(instance: MisoInstance, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(instance.active.shape, generator=generator, dtype=torch.float64) * instance.active
    return draw / draw.sum(-1, keepdim=True) * instance.max_power_w[..., None]


def naive_beams(instance: MisoInstance, power: np.ndarray) -> np.ndarray:
    """Eq. (9) in the space of antennas, user by user."""
    scaled = instance.channel.numpy() / np.sqrt(instance.noise_power_w.numpy())[:, None]
    covariance = np.eye(scaled.shape[1], dtype=complex)
    for k in range(len(power)):
        covariance = covariance + power[k] * np.outer(scaled[k], scaled[k].conj())
    beams = [np.linalg.inv(covariance) @ scaled[k] for k in range(len(power))]
    return np.array([beam / np.linalg.norm(beam) for beam in beams])


def naive_uplink(instance: MisoInstance, power: np.ndarray, beam: np.ndarray) -> np.ndarray:
    """Eq. (8), user by user."""
    scaled = instance.channel.numpy() / np.sqrt(instance.noise_power_w.numpy())[:, None]
    users = range(len(power))
    sinr = []
    for k in users:
        heard = 1 + sum(power[j] * abs(np.vdot(scaled[j], beam[k])) ** 2 for j in users if j != k)
        sinr.append(power[k] * abs(np.vdot(scaled[k], beam[k])) ** 2 / heard)
    return np.array(sinr)


def naive_downlink(instance: MisoInstance, power: np.ndarray, beam: np.ndarray) -> np.ndarray:
    """User by user: `|h_k^H w_l|^2 p_l` of the others and noise."""
    channel, noise = instance.channel.numpy(), instance.noise_power_w.numpy()
    users = range(len(power))
    sinr = []
    for k in users:
        heard = noise[k] + sum(power[j] * abs(np.vdot(channel[k], beam[j])) ** 2 for j in users if j != k)
        sinr.append(power[k] * abs(np.vdot(channel[k], beam[k])) ** 2 / heard)
    return np.array(sinr)


@pytest.mark.parametrize("unit", ["nat", "bit"])
def test_conforms(unit):
    check_problem(UrllcBeamforming(unit=unit), sample, expected=BEAMS)


@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 99))
def test_gram_form_is_that_of_the_antennas(users, antennas, seed):
    """Eqs. (8) and (9), also with more users than antennas."""
    instance = random_instance(users, antennas, seed)
    power_w = random_power(instance, seed)
    beam = naive_beams(instance, power_w.numpy())
    expected = torch.from_numpy(naive_uplink(instance, power_w.numpy(), beam))
    assert_equal(mmse_beams(instance, power_w), torch.from_numpy(beam))
    share = power_w / instance.max_power_w
    assert_equal(mmse_sinr(relative_gram(instance), share), expected)
    assert_equal(dual_sinr(instance, mmse_action(instance, power_w)), expected)


@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 99), st.booleans())
def test_downlink_has_the_rates_and_the_power_of_the_uplink(users, antennas, seed, best):
    """With any beams, not only the best."""
    instance = random_instance(users, antennas, seed)
    action = mmse_action(instance, random_power(instance, seed))
    if not best:
        beam = complex_normal(
            users, antennas, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )
        action = replace(action, beam=beam / torch.linalg.vector_norm(beam, dim=-1, keepdim=True))
    sent = to_downlink(instance, action)
    assert (sent.power_w > 0).all()
    assert_equal(sent.power_w.sum(), action.power_w.sum())
    sinr = naive_downlink(instance, sent.power_w.numpy(), action.beam.numpy())
    assert_equal(downlink_sinr(instance, sent), torch.from_numpy(sinr))
    back_off = packet_back_off(instance.error_probability, instance.blocklength)
    rate = packet_rate(torch.from_numpy(sinr), back_off)
    assert_equal(rate, PROBLEM.rate(instance, action))


def test_users_without_power_are_sent_nothing():
    instance = random_instance(4, 6, 0)
    power_w = random_power(instance, 0) * torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    paused = replace(instance, active=torch.tensor([True, True, True, False]))
    action = mmse_action(paused, power_w)
    sent = to_downlink(paused, action)
    assert sent.power_w[1] == 0
    assert sent.power_w[3] == 0
    assert_equal(downlink_sinr(paused, sent), dual_sinr(paused, action))


def test_best_beams_are_the_best(generator):
    instance = random_instance(4, 6, 3)
    best = mmse_action(instance, random_power(instance, 3))
    sinr = dual_sinr(instance, best)
    for _ in range(20):
        beam = best.beam + 0.1 * complex_normal(4, 6, generator=generator, dtype=torch.float64)
        beam = beam / torch.linalg.vector_norm(beam, dim=-1, keepdim=True)
        assert (dual_sinr(instance, replace(best, beam=beam)) < sinr).all()


def test_a_beam_reaches_by_the_conjugate():
    """`h^H w`: the matched beam is the channel, not its conjugate."""
    channel = torch.tensor([[1.0, 1.0j]], dtype=torch.complex128)
    instance = miso_instance(channel, max_power_w=1.0)
    power_w, beam = torch.ones(1, dtype=torch.float64), channel / math.sqrt(2)
    matched = dual_sinr(instance, BeamAction(power_w=power_w, beam=beam))
    torch.testing.assert_close(matched, torch.tensor([2.0], dtype=torch.float64))
    wrong = dual_sinr(instance, BeamAction(power_w=power_w, beam=beam.conj()))
    torch.testing.assert_close(wrong, torch.zeros(1, dtype=torch.float64), atol=1e-12, rtol=0.0)


def test_slope_is_the_jacobian():
    instance = random_instance(5, 6, 1)
    gram, share = relative_gram(instance), random_power(instance, 1) / instance.max_power_w
    jacobian = torch.autograd.functional.jacobian(lambda q: torch.log1p(mmse_sinr(gram, q)), share)
    assert_equal(power_slope(gram, share), jacobian)


def test_gradients(generator):
    instance = miso_instance(loaded(2, 3, 4, generator=generator))

    def score(power_w: Tensor, channel: Tensor) -> tuple[Tensor, Tensor]:
        moved = replace(instance, channel=channel)
        evaluation = PROBLEM.evaluate(moved, mmse_action(moved, power_w))
        return evaluation.objective, evaluation.violation["min_rate"]

    power_w = random_power(instance, 0).requires_grad_()
    assert torch.autograd.gradcheck(score, (power_w, instance.channel.clone().requires_grad_()))


def test_gradient_at_power_zero_is_finite():
    instance = random_instance(3, 4, 0)
    power_w = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
    PROBLEM.evaluate(instance, mmse_action(instance, power_w)).objective.backward()
    assert power_w.grad is not None
    assert torch.isfinite(power_w.grad).all()


def test_best_beams_are_equivariant_and_ignore_padding(generator):
    instance = to(sample(4, generator=generator), dtype=torch.float64)
    power_w = random_power(instance, 0)
    action = mmse_action(instance, power_w)
    order = {"user": torch.randperm(5, generator=generator)}
    moved = mmse_action(take(instance, order), power_w[:, order["user"]])
    assert_equal(moved.beam, take(action, order).beam)
    padded = mmse_action(pad(instance, user=8), torch.nn.functional.pad(power_w, (0, 3)))
    assert_equal(padded.beam[:, :5], action.beam)
    assert not padded.beam[:, 5:].any()
    more = mmse_action(pad(instance, ant=11), power_w)
    assert_equal(more.beam[..., :8], action.beam)


def test_units_scale():
    """Powers and noise in another unit, or channels and noise, are the same problem."""
    instance = random_instance(4, 6, 2)
    power_w = random_power(instance, 2)
    value = PROBLEM.evaluate(instance, mmse_action(instance, power_w))
    milli = replace(
        instance, noise_power_w=instance.noise_power_w * 1e3, max_power_w=instance.max_power_w * 1e3
    )
    weaker = replace(instance, noise_power_w=instance.noise_power_w * 1e-12, channel=instance.channel * 1e-6)
    for moved, power in ((milli, power_w * 1e3), (weaker, power_w)):
        received = PROBLEM.evaluate(moved, mmse_action(moved, power))
        assert_equal(received.objective, value.objective)
        for name, violation in value.violation.items():
            assert_equal(received.violation[name], violation)


def test_single_precision_survives_physical_units(generator):
    instance = sample(50, generator=generator)
    power_w = (instance.max_power_w[:, None] / 5).expand(50, 5)
    single = PROBLEM.evaluate(instance, mmse_action(instance, power_w)).objective
    exact = to(instance, dtype=torch.float64)
    double = PROBLEM.evaluate(exact, mmse_action(exact, power_w.double())).objective
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=0.0)


def test_bits_are_nats_but_for_a_factor():
    instance = random_instance(4, 6, 5)
    action = mmse_action(instance, random_power(instance, 5))
    nats, bits = (UrllcBeamforming(unit=unit).evaluate(instance, action) for unit in ("nat", "bit"))
    torch.testing.assert_close(bits.objective * math.log(2), nats.objective)
    torch.testing.assert_close(bits.utility * math.log(2), nats.utility)
    torch.testing.assert_close(bits.violation["min_rate"], nats.violation["min_rate"])
    asked = least_rate_nats(instance)
    torch.testing.assert_close(asked, torch.full_like(asked, 2 * math.log(2)))  # 256 bits in 128 uses


def test_violations_say_what_is_wrong():
    instance = random_instance(3, 4, 6)
    action = mmse_action(instance, random_power(instance, 6))
    least = least_sinr(instance)
    missing = PROBLEM.evaluate(instance, action).violation["min_rate"] > 0
    assert torch.equal(missing, dual_sinr(instance, action) < least)
    silent = replace(action, power_w=torch.zeros(3, dtype=torch.float64))
    assert (PROBLEM.evaluate(instance, silent).violation["min_rate"] == 1).all()
    louder = PROBLEM.evaluate(instance, replace(action, power_w=action.power_w * 1.5)).violation
    assert louder["power"].item() == pytest.approx(0.5)
    negative = PROBLEM.evaluate(instance, replace(action, power_w=-action.power_w)).violation
    assert (negative["sign"] > 0).all()
    longer = PROBLEM.evaluate(instance, replace(action, beam=action.beam * 2)).violation
    torch.testing.assert_close(longer["beam"], torch.full((3,), 3.0, dtype=torch.float64))
    free = replace(instance, payload_bits=torch.zeros(3, dtype=torch.float64))
    assert not PROBLEM.evaluate(free, silent).violation["min_rate"].any()


def test_dependent_and_missing_channels_are_scored():
    """More users than antennas, two alike, one of channel 0."""
    instance = random_instance(5, 3, 7)
    channel = instance.channel.clone()
    channel[1], channel[2] = channel[0], 0
    instance = replace(instance, channel=channel)
    action = mmse_action(instance, random_power(instance, 7))
    assert not action.beam[2].any()
    evaluation = PROBLEM.evaluate(instance, action)
    assert torch.isfinite(evaluation.objective)
    assert evaluation.violation["min_rate"][2] == 1
    assert torch.isfinite(to_downlink(instance, action).power_w).all()


GOOD = miso_instance(torch.ones(2, 3, dtype=torch.complex64))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "channel",
            torch.ones(2, 3),
            r"channel: expected torch.complex64 or torch.complex128, got torch.float32",
        ),
        ("channel", torch.ones(2, 0, dtype=torch.complex64), r"channel: expected at least one ant"),
        (
            "channel",
            torch.tensor([[1, 1, 1], [1, complex(0, math.nan), 1]]),
            r"channel: must be finite, received nan at \[1, 1\]",
        ),
        (
            "noise_power_w",
            torch.tensor([1.0, 0.0]),
            r"noise_power_w: must be positive and finite, received 0",
        ),
        ("noise_power_w", torch.tensor(1.0), r"noise_power_w: expected shape \[2\], got \[\]"),
        ("max_power_w", torch.tensor(math.inf), r"max_power_w: must be positive and finite, received inf"),
        ("max_power_w", torch.ones(2), r"max_power_w: expected shape \[\], got \[2\]"),
        ("weight", torch.tensor([1.0, -2.0]), r"weight: must be finite and not negative, received -2"),
        ("blocklength", torch.tensor(0.0), r"blocklength: must be positive and finite, received 0"),
        ("error_probability", torch.tensor(0.6), r"error_probability: must be below 0.5, received 0.6"),
        ("error_probability", torch.tensor(0.0), r"error_probability: must be positive and finite"),
        ("payload_bits", torch.tensor([math.nan, 1.0]), r"payload_bits: must be finite and not negative"),
        ("active", torch.zeros(2, dtype=torch.bool), r"active: must hold at least one active user"),
        ("active", torch.ones(3, dtype=torch.bool), r"active: expected shape \[2\], got \[3\]"),
    ],
)
def test_bad_input_is_one_clear_line(field, value, message):
    assert PROBLEM.validate(GOOD) is GOOD
    with pytest.raises(ValueError, match=message) as error:
        PROBLEM.validate(replace(GOOD, **{field: value}))
    assert "\n" not in str(error.value)


def test_nobody_reads_what_inactive_users_hold(generator):
    instance = replace(sample(2, generator=generator), active=torch.tensor([[True] * 4 + [False]] * 2))
    noise = instance.noise_power_w.clone()
    noise[:, 4] = 0
    assert PROBLEM.validate(replace(instance, noise_power_w=noise))
    one = index(instance, 0)
    assert not relative_gram(one)[4].any()
    assert least_sinr(one)[4] == 0


def test_unknown_units_are_refused():
    with pytest.raises(ValueError, match="unit: must be 'nat' or 'bit', received 'byte'"):
        UrllcBeamforming(unit="byte")  # pyright: ignore[reportArgumentType]
