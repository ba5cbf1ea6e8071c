"""Parts that kernels of links share."""

import numpy as np
import pytest

from torchrrm.kernels.links import rank


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ([3.0, 1.0, 2.0], [0, 2, 1]),
        ([1.0, 1.0, 2.0], [1, 2, 0]),
        ([np.nan, 1.0, np.nan, np.inf, -np.inf], [2, 1, 3, 0, 4]),
        ([], []),
    ],
)
def test_places_are_taken_once(value: list[float], place: list[int]) -> None:
    assert rank(np.array(value)).tolist() == place
