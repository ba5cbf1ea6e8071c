import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchrrm.units import db_to_linear, dbm_to_watt, linear_to_db, watt_to_dbm

LEVEL_DB = st.floats(-200.0, 200.0)


@given(LEVEL_DB)
def test_round_trips_of_floats(level_db):
    assert linear_to_db(db_to_linear(level_db)) == pytest.approx(level_db, abs=1e-10)
    assert watt_to_dbm(dbm_to_watt(level_db)) == pytest.approx(level_db, abs=1e-10)


@given(st.lists(LEVEL_DB, min_size=1, max_size=5))
def test_tensors_agree_with_floats(levels_db):
    tensor = torch.tensor(levels_db, dtype=torch.float64)
    for function in (db_to_linear, dbm_to_watt):
        expected = torch.tensor([function(level) for level in levels_db], dtype=torch.float64)
        torch.testing.assert_close(function(tensor), expected, rtol=1e-13, atol=0.0)
    torch.testing.assert_close(linear_to_db(db_to_linear(tensor)), tensor, rtol=0.0, atol=1e-10)


@given(LEVEL_DB, LEVEL_DB)
def test_decibels_add_where_powers_multiply(first_db, second_db):
    product = db_to_linear(first_db) * db_to_linear(second_db)
    assert linear_to_db(product) == pytest.approx(first_db + second_db, abs=1e-9)


def test_anchors():
    assert dbm_to_watt(23.0) == pytest.approx(0.19952623149688797)
    assert watt_to_dbm(1e-3) == pytest.approx(0.0)
    assert linear_to_db(2.0) == pytest.approx(3.0102999566398120)


def test_zero_power_is_minus_infinity():
    assert linear_to_db(0.0) == -math.inf
    assert watt_to_dbm(torch.tensor(0.0)).item() == -math.inf


def test_gradient_passes_through():
    level_db = torch.tensor([-30.0, 0.0, 17.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(db_to_linear, level_db)
    assert torch.autograd.gradcheck(lambda x: linear_to_db(db_to_linear(x)), level_db)


def test_what_a_float_cannot_hold_is_infinite():
    """As for tensors, and not an error."""
    assert db_to_linear(1e4) == db_to_linear(torch.tensor(1e4)).item() == math.inf
    assert dbm_to_watt(1e4) == math.inf
