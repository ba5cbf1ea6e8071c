"""The schedule by quickselect equals the one by sorting, ties and users out of reach included."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from torchrrm.kernels.bandwidth import schedule

WIDTH = st.one_of(st.integers(0, 5).map(float), st.floats(0, 5), st.just(math.inf))


@settings(max_examples=500)
@given(st.lists(WIDTH, min_size=1, max_size=12), st.floats(0.1, 20))
def test_schedule_equals_that_by_sorting(widths: list[float], limit: float) -> None:
    width = np.array(widths)
    served, used = np.zeros(len(width), bool), 0.0
    for i in np.argsort(width, kind="stable"):
        if not used + width[i] <= limit:
            break
        served[i] = True
        used += width[i]
    ours, surplus = schedule(width, limit)
    if abs(limit - used) > 1e-9:  # at the very limit the order of summation decides
        np.testing.assert_array_equal(ours, served)
    np.testing.assert_allclose(surplus, limit - used, atol=1e-9)


def test_nan_is_never_scheduled() -> None:
    served, _ = schedule(np.array([math.nan, 1.0]), 5.0)
    assert served.tolist() == [False, True]
