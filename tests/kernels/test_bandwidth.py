"""Minimum bandwidth and schedule against bisection and against all subsets."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kernels import cases

from torchrrm.kernels.bandwidth import minimum_bandwidth, schedule, schedule_batch, shannon_bandwidth
from torchrrm.kernels.link_rates import curves
from torchrrm.problems import KINDS

DRAWS = {"usual": cases.usual, "extreme": cases.extreme}


def rate_at(width, case, law):
    return curves(width, case.cn0, case.eavesdropper, law)[0]


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("name", KINDS)
def test_rate_at_it_is_the_minimum_and_less_is_not_enough(name, draw):
    law = KINDS[name].law
    case = DRAWS[draw](np.random.default_rng(0), 400, "secrecy" in name)
    least = minimum_bandwidth(*case, law)
    found = np.isfinite(least)
    assert found.sum() > 40
    assert (least[found] <= case.limit).all()
    rate = rate_at(np.where(found, least, 0.0), case, law)
    assert np.abs(rate / case.min_rate - 1)[found].max() <= 1e-9
    below = rate_at(np.where(found, least * (1 - 1e-6), 0.0), case, law)
    assert (below < case.min_rate)[found].all()


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("name", KINDS)
def test_first_crossing_of_a_dense_scan(name, draw):
    """Nothing reachable is called out of reach, and no earlier crossing is missed."""
    law = KINDS[name].law
    case = DRAWS[draw](np.random.default_rng(1), 120, "secrecy" in name)
    least = minimum_bandwidth(*case, law)
    for i in range(case.cn0.size):
        width = np.geomspace(1e-9 * case.limit, case.limit, 300)
        many = np.ones_like(width)
        rate = curves(width, case.cn0[i] * many, case.eavesdropper[i] * many, law)[0]
        enough = np.flatnonzero(rate >= case.min_rate[i])
        if not case.active[i] or case.cn0[i] <= case.eavesdropper[i]:
            assert least[i] == math.inf
        elif enough.size:
            assert least[i] <= width[enough[0]] * (1 + 1e-12)
            assert least[i] > (width[enough[0] - 1] if enough[0] else 0.0)
        else:
            assert least[i] == math.inf or least[i] > width[-2] or rate.max() > 0.99 * case.min_rate[i]


@pytest.mark.parametrize("name", ["data-rate-short", "secrecy-short", "effective-capacity-short"])
def test_weak_users_whose_rate_peaks_before_the_limit(name):
    """Users of 47 to 58 dBHz at some bit/s: the rate falls below zero, rises to a peak, and falls again."""
    law = KINDS[name].law
    cn0 = np.geomspace(5e4, 6.5e5, 300)
    case = cases.Slice(cn0, np.zeros(300), np.full(300, 10.0), 1e8, np.ones(300, np.bool_))
    least = minimum_bandwidth(*case, law)
    grid = np.geomspace(1.0, 1e8, 2000)
    for i in range(300):
        reachable = curves(grid, np.full(2000, cn0[i]), np.zeros(2000), law)[0].max() >= 10.0
        assert np.isfinite(least[i]) or not reachable
    assert 20 < np.isfinite(least).sum() < 280


@given(st.floats(-3.0, 9.0), st.floats(-12.0, -1e-4))
def test_shannon_bandwidth_by_its_definition(log_rate, log_load):
    rate = 10**log_rate
    cn0 = rate * math.log(2) / 10**log_load
    width = shannon_bandwidth(rate, cn0)
    assert width * math.log1p(cn0 / width) / math.log(2) == pytest.approx(rate, rel=1e-10)


@pytest.mark.parametrize("name", KINDS)
def test_edges(name):
    law = KINDS[name].law
    cn0 = np.array([1e8, 1e8, 1e8, 1e8, 0.0, np.nan, 1e8])
    listened = 1.0 if "secrecy" in name else 0.0
    eavesdropper = listened * np.array([0.0, 2e8, 1e8, 0.0, 0.0, 0.0, 0.0])
    min_rate = np.array([0.0, 1e3, 1e3, 1e3, 1e3, 1e3, 1e12])
    active = np.array([True, True, True, False, True, True, True])
    least = minimum_bandwidth(cn0, eavesdropper, min_rate, 1e6, active, law)
    assert least[0] == 0.0  # asks for nothing
    assert (least[3:] == math.inf).all()  # inactive, no channel, no number, out of reach
    assert np.isfinite(least[1:3]).all() == (listened == 0.0)


def test_numbers_that_are_none_schedule_nobody():
    law = KINDS["data-rate"].law
    ones, active = np.ones(3), np.ones(3, np.bool_)
    for cn0, rate, limit in ((np.nan, 1e3, 1e6), (1e8, np.nan, 1e6), (1e8, 1e3, np.nan)):
        for name in KINDS:
            law = KINDS[name].law
            case = (cn0 * ones, 0 * ones, rate * ones, limit, active)
            least = minimum_bandwidth(*case, law)
            served, _ = schedule(least, limit)
            assert not served.any(), (name, cn0, rate, limit)


@given(st.lists(st.floats(0.0, 10.0) | st.just(math.inf), min_size=1, max_size=8), st.floats(0.1, 20.0))
def test_no_larger_set_fits(widths, limit):
    width = np.array(widths)
    served, surplus = schedule(width, limit)
    chosen = width[served]
    assert chosen.sum() <= limit * (1 + 1e-12)
    assert surplus == pytest.approx(limit - chosen.sum(), abs=1e-9)
    most = max(
        len(subset)
        for size in range(len(widths) + 1)
        for subset in itertools.combinations(widths, size)
        if sum(subset) <= limit * (1 - 1e-12) or not subset
    )
    assert served.sum() >= most
    if served.any() and not served.all():
        assert width[served].max() <= width[~served].min()


@pytest.mark.parametrize("name", KINDS)
def test_batch_is_row_by_row(name):
    rng = np.random.default_rng(2)
    law = KINDS[name].law
    rows = [cases.usual(rng, 6, "secrecy" in name) for _ in range(10)]
    stacked = cases.Slice(*(np.stack(column) for column in zip(*rows, strict=True)))
    served, width, surplus = schedule_batch(*stacked, law)
    for i, row in enumerate(rows):
        least = minimum_bandwidth(*row, law)
        expected, left = schedule(least, row.limit)
        assert (served[i] == expected).all()
        assert (width[i] == np.where(expected, least, 0.0)).all()
        assert surplus[i] == left
