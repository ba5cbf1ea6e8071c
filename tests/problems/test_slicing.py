import dataclasses
import math

import pytest
import torch
from tests.testing.forms import traced
from tests.testing.slices import batch

from torchrrm import rates
from torchrrm.channels import Nakagami
from torchrrm.problems import KINDS, QoS, SliceAction, SliceBandwidth, slice_instance
from torchrrm.records import index, map_tensors, pad, replace
from torchrrm.solvers import EqualSurplus

NAMES = list(KINDS)


def test_the_six_kinds():
    assert [
        f"{qos}{short}" for qos in ("data-rate", "effective-capacity", "secrecy") for short in ("", "-short")
    ] == NAMES
    assert all(problem.name == name for name, problem in KINDS.items())


def test_rates_are_those_of_the_paper():
    """Eqs. (2), (3), (5), (6) at one point, by hand."""
    record = slice_instance(
        torch.tensor([1e-9], dtype=torch.float64), torch.tensor([1e-11], dtype=torch.float64)
    )
    width = torch.tensor([2e6], dtype=torch.float64)
    c, e = record.cn0_hz.item(), record.eavesdropper_cn0_hz.item()
    assert c == pytest.approx(1e-9 * 10**-0.7 / 10**-20.4)
    shannon = [2e6 * math.log2(1 + x / 2e6) for x in (c, e)]
    loss = [math.sqrt((1 - (1 + x / 2e6) ** -2) / (0.125e-3 * 2e6)) * 2e6 / math.log(2) for x in (c, e)]
    expected = {
        "data-rate": shannon[0],
        "data-rate-short": shannon[0] - 4.2648907939228256 * loss[0],
        "secrecy": shannon[0] - shannon[1],
        "secrecy-short": shannon[0]
        - shannon[1]
        - 4.2648907939228256 * loss[0]
        - 2.3263478740408408 * loss[1],
    }
    for name, value in expected.items():
        assert KINDS[name].rate(record, width).item() == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_compiled_rate_is_the_tensors(name):
    problem, record = KINDS[name], batch(name, count=4)
    width = (10 ** torch.linspace(3, 7, 24, dtype=torch.float64)).reshape(4, 6).requires_grad_()
    compiled, plain = problem.rate(record, width), problem.rate(traced(record), width)
    torch.testing.assert_close(compiled, plain, rtol=1e-9, atol=1e-6)
    (slope,) = torch.autograd.grad(compiled.sum(), width, create_graph=True)
    torch.testing.assert_close(slope, problem.slope(record, width), rtol=1e-8, atol=1e-9)
    (curvature,) = torch.autograd.grad(slope.sum(), width)
    torch.testing.assert_close(curvature, problem.curvature(record, width).detach(), rtol=1e-7, atol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck_of_the_rate(name):
    problem, record = KINDS[name], batch(name, count=1, users=3)
    width = torch.tensor([[0.1, 1.0, 3.0]], dtype=torch.float64, requires_grad=True)
    good = record.cn0_hz > record.eavesdropper_cn0_hz
    assert good.any()
    assert torch.autograd.gradcheck(lambda w: problem.rate(record, w * 1e6) / 1e6, width)
    cn0 = (record.cn0_hz / 1e8).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda c: problem.rate(replace(record, cn0_hz=c * 1e8), width.detach() * 1e6) / 1e6, cn0
    )


@pytest.mark.parametrize("name", NAMES)
def test_minimum_bandwidth_of_both_forms(name):
    problem, record = KINDS[name], batch(name, count=10 if "capacity" in name else 60)
    compiled, plain = problem.minimum_bandwidth(record), problem.minimum_bandwidth(traced(record)).detach()
    assert torch.equal(torch.isfinite(compiled), torch.isfinite(plain))
    found = torch.isfinite(compiled)
    torch.testing.assert_close(compiled[found], plain[found], rtol=1e-8, atol=0.0)
    rate = problem.rate(record, torch.where(found, compiled, 1.0))
    torch.testing.assert_close(rate[found], record.min_rate_bps[found], rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("name", ["data-rate-short", "secrecy-short"])
def test_weak_users_whose_rate_has_a_valley_and_a_peak(name):
    """Some bit/s at 47 to 58 dBHz: the torch form, too, finds the range in which the rate is positive."""
    cn0 = torch.logspace(math.log10(5e4), math.log10(6.5e5), 200, dtype=torch.float64)
    base = batch(name, count=1, users=200)
    record = replace(
        index(base, 0),
        cn0_hz=cn0,
        eavesdropper_cn0_hz=1e-6 * cn0,
        min_rate_bps=torch.full_like(cn0, 9.0),
        bandwidth_hz=torch.tensor(1e8, dtype=torch.float64),
        active=torch.ones(200, dtype=torch.bool),
    )
    compiled, plain = (
        KINDS[name].minimum_bandwidth(record),
        KINDS[name].minimum_bandwidth(traced(record)).detach(),
    )
    assert torch.equal(torch.isfinite(compiled), torch.isfinite(plain))
    assert 20 < torch.isfinite(plain).sum() < 190


@pytest.mark.parametrize("name", NAMES)
def test_gradient_of_the_minimum_bandwidth(name):
    """By the implicit function theorem, against differences."""
    problem, record = KINDS[name], batch(name, count=1, users=4, seed=3)
    scale = torch.ones(1, 4, dtype=torch.float64)

    def least(factor):
        width = problem.minimum_bandwidth(replace(record, cn0_hz=record.cn0_hz * factor))
        return torch.where(torch.isfinite(width), width, 0.0).sum() / 1e4

    leaf = scale.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(least(leaf), leaf)
    for i in range(4):
        step = torch.zeros_like(scale)
        step[0, i] = 1e-5
        expected = (least(scale + step) - least(scale - step)).item() / 2e-5
        assert gradient[0, i].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_schedule_serves_the_cheapest(name):
    problem, record = KINDS[name], batch(name, count=50)
    least, schedule = problem.minimum_bandwidth(record), problem.schedule(record)
    served = schedule.active
    assert not (served & ~record.active).any()
    assert torch.equal(schedule.minimum_bandwidth_hz, torch.where(served, least, 0.0))
    torch.testing.assert_close(
        schedule.surplus_hz, record.bandwidth_hz - schedule.minimum_bandwidth_hz.sum(-1), rtol=0.0, atol=1e-6
    )
    assert (schedule.surplus_hz >= 0).all()
    dearest = schedule.minimum_bandwidth_hz.amax(-1)
    cheapest = torch.where(served, math.inf, least).amin(-1)
    assert (cheapest >= dearest).all()
    assert (cheapest > schedule.surplus_hz).all()  # one more would not fit
    assert problem.schedule(schedule) is schedule
    assert torch.equal(problem.feasible(record), (served == record.active).all(-1))


@pytest.mark.parametrize("name", NAMES)
def test_evaluation(name):
    problem, record = KINDS[name], batch(name, count=20)
    schedule, action = problem.schedule(record), EqualSurplus(problem)(record)
    result = problem.evaluate(record, action)
    assert torch.equal(result.objective, result.utility.sum(-1))
    rate = problem.rate(schedule, action.bandwidth_hz)
    torch.testing.assert_close(result.utility, torch.where(schedule.active, rate.clamp(min=0), 0.0))
    assert (result.violation["bandwidth"] <= 1e-12).all()
    assert (result.violation["min_rate"] <= 1e-9).all()
    nothing = problem.evaluate(record, SliceAction(bandwidth_hz=torch.zeros_like(action.bandwidth_hz)))
    assert not nothing.objective.any()
    assert torch.equal(nothing.violation["min_rate"], schedule.active.double())
    double = problem.evaluate(record, SliceAction(bandwidth_hz=2 * action.bandwidth_hz))
    some = schedule.active.any(-1)
    torch.testing.assert_close(double.violation["bandwidth"][some], torch.ones(int(some.sum())).double())
    negative = problem.evaluate(record, SliceAction(bandwidth_hz=-action.bandwidth_hz))
    assert (negative.violation["sign"].amax(-1) > 0)[some].all()


@pytest.mark.parametrize("name", NAMES)
def test_bandwidth_outside_the_schedule_adds_nothing(name):
    """A slice of a band that serves some users only; the others, and idle ones, get bandwidth too."""
    problem, record = KINDS[name], batch(name, count=10)
    record = replace(record, bandwidth_hz=record.bandwidth_hz / 20)
    schedule = problem.schedule(record)
    action = EqualSurplus(problem)(record)
    wasted = SliceAction(bandwidth_hz=torch.where(schedule.active, action.bandwidth_hz, 1e6))
    assert (~schedule.active & record.active).any()
    assert torch.equal(problem.evaluate(record, wasted).objective, problem.evaluate(record, action).objective)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("-short")])
def test_short_blocks_of_little_bandwidth_count_as_nothing(name):
    """The normal approximation is negative there; the sign is kept in `rate` only."""
    problem = KINDS[name]
    record = replace(batch(name, count=10), min_rate_bps=torch.zeros(10, 6, dtype=torch.float64))
    width = torch.full((10, 6), 10.0, dtype=torch.float64)
    rate = problem.rate(record, width)
    assert (rate < 0).any()
    assert torch.equal(problem.utility(record, width), rate.clamp(min=0))
    score = problem.evaluate(record, SliceAction(bandwidth_hz=width))
    assert torch.equal(score.utility, torch.where(problem.schedule(record).active, rate.clamp(min=0), 0.0))


def test_users_without_a_minimum_do_not_make_a_slice_infeasible():
    """The second user is overheard by a better channel, so that it is never scheduled."""
    problem = KINDS["secrecy"]
    gain, heard = torch.tensor([1e-9, 1e-11]), torch.tensor([1e-11, 1e-9])
    for least, feasible in (([1e6, 0.0], True), ([1e6, 1e6], False)):
        record = slice_instance(gain, heard, min_rate_bps=torch.tensor(least))
        assert problem.schedule(record).active.tolist() == [True, False]
        assert bool(problem.feasible(record)) == feasible


def test_what_violates_by_a_part_violates_nothing_of_the_eased_slice():
    problem, record = KINDS["data-rate"], batch("data-rate", count=10)
    violation = torch.linspace(0.01, 0.1, 10, dtype=torch.float64)
    width = EqualSurplus(problem)(record).bandwidth_hz * (1 + violation[:, None])
    score = problem.evaluate(record, SliceAction(bandwidth_hz=width))
    assert (score.violation["bandwidth"] > 0.009)[problem.schedule(record).active.any(-1)].all()
    eased = problem.eased(record, violation)
    torch.testing.assert_close(eased.bandwidth_hz, record.bandwidth_hz * (1 + violation))
    torch.testing.assert_close(eased.min_rate_bps, record.min_rate_bps * (1 - violation)[:, None])


@pytest.mark.parametrize("name", NAMES)
def test_equivariance_and_padding(name):
    problem, record = KINDS[name], batch(name, count=10)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    turned = map_tensors(lambda x: x[..., order] if x.ndim == 2 else x, record)
    assert torch.equal(problem.minimum_bandwidth(turned), problem.minimum_bandwidth(record)[:, order])
    assert torch.equal(problem.schedule(turned).active, problem.schedule(record).active[:, order])
    padded = problem.schedule(pad(record, user=9))
    assert torch.equal(padded.active[:, :6], problem.schedule(record).active)
    assert not padded.active[:, 6:].any()
    torch.testing.assert_close(padded.surplus_hz, problem.schedule(record).surplus_hz, rtol=1e-12, atol=1e-6)


def test_vmap_over_a_batch():
    problem, record = KINDS["secrecy-short"], batch("secrecy-short", count=5)
    width = torch.full((5, 6), 1e6, dtype=torch.float64)
    mapped = torch.func.vmap(problem.rate)(record, width)
    torch.testing.assert_close(mapped, problem.rate(record, width), rtol=1e-10, atol=1e-6)


def test_fading_is_a_parameter():
    record, width = batch("effective-capacity", count=2), torch.full((2, 6), 1e6, dtype=torch.float64)
    steadier = SliceBandwidth(QoS.EFFECTIVE_CAPACITY, fading=Nakagami(6.0))
    rayleigh, nakagami = KINDS["effective-capacity"].rate(record, width), steadier.rate(record, width)
    mean = rates.shannon_rate(width, record.cn0_hz)
    assert (rayleigh < nakagami).all()
    assert (nakagami < mean).all()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("cn0_hz", math.nan, "cn0_hz: must be finite and not negative, received nan at \\[2, 3\\]"),
        ("cn0_hz", -1.0, "cn0_hz: must be finite and not negative, received -1.0 at \\[2, 3\\]"),
        (
            "eavesdropper_cn0_hz",
            math.inf,
            "eavesdropper_cn0_hz: must be finite and not negative, received inf",
        ),
        ("min_rate_bps", -3.0, "min_rate_bps: must be finite and not negative, received -3.0"),
    ],
)
def test_validate_names_field_rule_and_value(field, value, message):
    record = batch("data-rate", count=4)
    tensor = getattr(record, field).clone()
    tensor[2, 3] = value
    with pytest.raises(ValueError, match=message):
        KINDS["data-rate"].validate(replace(record, **{field: tensor}))


def test_validate_checks_shapes_and_the_slice():
    problem, record = KINDS["data-rate"], batch("data-rate", count=4)
    assert problem.validate(record) is record
    with pytest.raises(ValueError, match=r"active: expected shape \[4, 6\], got \[4, 5\]"):
        problem.validate(replace(record, active=record.active[:, :5]))
    with pytest.raises(ValueError, match=r"bandwidth_hz: expected shape \[4\], got \[4, 1\]"):
        problem.validate(replace(record, bandwidth_hz=record.bandwidth_hz[:, None]))
    with pytest.raises(ValueError, match=r"bandwidth_hz: must be positive and finite, received 0\.0"):
        problem.validate(replace(record, bandwidth_hz=torch.zeros_like(record.bandwidth_hz)))
    with pytest.raises(ValueError, match="cn0_hz: expected at least one user"):
        problem.validate(map_tensors(lambda x: x[..., :0] if x.ndim == 2 else x, record))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("error_probability", 0.7),
        ("information_leakage", 0.0),
        ("block_duration_s", 0.0),
        ("qos_exponent_per_bit", -1.0),
    ],
)
def test_settings_are_checked(setting, value):
    with pytest.raises(ValueError, match=f"{setting}: must .* received {value}"):
        dataclasses.replace(KINDS["secrecy-short"], **{setting: value})
