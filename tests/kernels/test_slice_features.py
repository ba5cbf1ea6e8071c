import numpy as np
import pytest
import torch
from tests.testing.slices import sample

from torchrrm.kernels import slice_features
from torchrrm.policies.slice_gnn import FEATURES
from torchrrm.problems import KINDS
from torchrrm.problems.slicing.schedule import arrays
from torchrrm.records import replace, to


def compiled(name, problem, schedule):
    cn0, eavesdropper, _, limit, served, law = arrays(problem, schedule)
    least, surplus = schedule.minimum_bandwidth_hz.double().numpy(), schedule.surplus_hz.double().numpy()
    return slice_features.FEATURES[name](cn0, eavesdropper, limit, served, least, surplus, law)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("kind", KINDS)
def test_both_forms_agree(kind, name, dtype, generator):
    problem = KINDS[kind]
    schedule = problem.schedule(to(sample(60, generator=generator), dtype=dtype))
    # What asks for a gradient is computed by the torch form.
    asking = replace(schedule, cn0_hz=schedule.cn0_hz.clone().requires_grad_())
    wanted = FEATURES[name][1](problem, asking).detach()
    assert wanted.dtype == dtype
    assert wanted.shape[-1] == FEATURES[name][0]
    np.testing.assert_allclose(
        compiled(name, problem, schedule), wanted, atol=1e-5 if dtype is torch.float32 else 1e-9
    )


def test_registries_agree():
    assert FEATURES.keys() == slice_features.FEATURES.keys()


def test_marginal_features_of_nobody_and_of_one_user_are_finite(generator):
    problem = KINDS["effective-capacity-short"]
    instance = sample(4, generator=generator)
    alone = instance.active & (instance.active.cumsum(-1) == 1)
    for active in (torch.zeros_like(alone), alone):
        features = FEATURES["marginal"][1](problem, problem.schedule(replace(instance, active=active)))
        assert torch.isfinite(features).all()


def test_the_first_slope_is_not_lost_to_rounding(generator):
    """In single precision the rate at a thousandth of the share more differs in its last digits only."""
    problem = KINDS["effective-capacity-short"]
    schedule = problem.schedule(sample(60, generator=generator))
    single = FEATURES["marginal"][1](problem, schedule)
    double = FEATURES["marginal"][1](problem, to(schedule, dtype=torch.float64))
    assert (single.double() - double).abs().max() < 1e-5
