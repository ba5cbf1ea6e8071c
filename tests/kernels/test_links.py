"""Parts that kernels of links share."""

import numpy as np
import pytest
import torch

from torchrrm.kernels.links import MOST_RATIO, gain_ceiling, rank, relative
from torchrrm.problems.links import link_instance, relative_gain, saturated_gain
from torchrrm.records import replace


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ratios_above_150_db_saturate_as_in_the_problem(dtype: torch.dtype) -> None:
    """Relative gains of kernels, of torch and of the objective are those of one instance."""
    generator = torch.Generator().manual_seed(0)
    gain = 10 ** (24 * torch.rand(4, 4, generator=generator, dtype=torch.float64)).to(dtype)
    instance = replace(
        link_instance(gain, noise_power_w=0.5),
        max_power_w=torch.tensor([0.1, 1.0, 2.0, torch.nan], dtype=dtype),
        active=torch.tensor([True, True, True, False]),
    )
    wanted = torch.clamp(gain[:3, :3].double() * instance.max_power_w[:3].double() / 0.5, max=MOST_RATIO)
    assert (wanted == MOST_RATIO).any()
    assert (wanted < MOST_RATIO).any()
    limit = instance.max_power_w.numpy()
    _, cross, across, direct = relative(gain.numpy(), 0.5, limit, instance.active.numpy())
    rtol = 1e-6 if dtype is torch.float32 else 1e-14
    np.testing.assert_allclose(cross + np.diag(direct), wanted, rtol=rtol)
    np.testing.assert_allclose(across, cross.T)
    np.testing.assert_allclose(relative_gain(instance)[:3, :3], wanted, rtol=rtol)
    counted = saturated_gain(instance)
    np.testing.assert_allclose(
        counted[:3, :3].double() * instance.max_power_w[:3].double() / 0.5, wanted, rtol=rtol
    )
    assert not counted[3].any()
    assert not counted[:, 3].any()
    ceiling = gain_ceiling(0.5, limit[:3])
    np.testing.assert_allclose(np.minimum(gain.numpy()[:3, :3], ceiling), counted[:3, :3], rtol=rtol)


def test_nan_stays_nan() -> None:
    gain = np.array([[np.nan, np.inf], [1.0, 1.0]])
    _, cross, _, direct = relative(gain, 1.0, np.ones(2), np.ones(2, np.bool_))
    assert np.isnan(direct[0])
    assert cross[0, 1] == MOST_RATIO
