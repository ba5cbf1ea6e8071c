"""What surrounds a network in a control loop, without a network: against the problems in torch."""

from typing import Any

import numpy as np
import pytest
import torch
from tests.testing.links import some
from tests.testing.slices import batch

from torchrrm.deploy.links import PowerService
from torchrrm.deploy.slicing import SliceService
from torchrrm.problems import KINDS, LinkInstance, PowerAction, WeightedSumRate
from torchrrm.problems.links import relative_gain
from torchrrm.records import replace, to
from torchrrm.solvers import EqualSurplus


def links() -> LinkInstance:
    """Links of different limits in double precision, some of them not active."""
    instance = to(some(5, 4, generator=torch.Generator().manual_seed(0)), dtype=torch.float64)
    return replace(instance, active=torch.rand(5, 4, generator=torch.Generator().manual_seed(1)) < 0.7)


def arrays(instance: Any) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in vars(instance).items()}


def test_links_are_related_to_the_noise_as_in_the_problem() -> None:
    instance = links()
    shape, prepared = PowerService({"condition": None}).prepare(**arrays(instance))
    assert shape == (5,)
    torch.testing.assert_close(torch.from_numpy(prepared.relative_gain), relative_gain(instance))
    limit = torch.where(instance.active, instance.max_power_w, 0.0)
    assert torch.equal(torch.from_numpy(prepared.max_power_w), limit)


@pytest.mark.parametrize("condition", ["weight", "priority", "demand"])
def test_a_condition_is_read_from_its_own_argument(condition: str) -> None:
    given = {"weight": 2.0, "priority": 3.0, "demand_bps_hz": 4.0}
    terms = {"gain": np.eye(2), "noise_power_w": 1.0, "max_power_w": 1.0}
    _, prepared = PowerService({"condition": condition}).prepare(**terms, **given)
    expected = given["demand_bps_hz" if condition == "demand" else condition]
    assert prepared.condition.tolist() == [[expected, expected]]


def test_violations_of_powers_are_those_of_the_worst_link() -> None:
    instance = replace(links(), active=torch.ones(5, 4, dtype=torch.bool))
    service = PowerService({"condition": None})
    share = torch.rand(5, 4, generator=torch.Generator().manual_seed(2)).double() * 3 - 1
    power = share * instance.max_power_w
    found = service.violation(service.prepare(**arrays(instance))[1], {"power_w": power.numpy()})
    wanted = WeightedSumRate().evaluate(instance, PowerAction(power_w=power)).violation
    for name in ("power", "sign"):
        torch.testing.assert_close(torch.from_numpy(found[name]), wanted[name].amax(-1))


@pytest.mark.parametrize("name", ["noise_power_w", "max_power_w"])
def test_terms_of_zero_are_refused(name: str) -> None:
    terms: dict[str, Any] = {"gain": np.eye(2), "noise_power_w": 1.0, "max_power_w": 1.0, name: 0.0}
    with pytest.raises(ValueError, match=f"^{name}: must be positive and finite, received 0.0"):
        PowerService({"condition": None}).prepare(**terms)


def test_the_safe_rule_of_slices_is_equal_surplus() -> None:
    problem, instance = KINDS["data-rate"], batch("data-rate")
    exponent, loss, leakage, gain, weight = problem.law
    law = (exponent, loss, leakage, gain.tolist(), weight.tolist())
    service = SliceService({"law": law, "secrecy": False, "features": "raw"})
    _, prepared = service.prepare(**arrays(instance))
    expected = EqualSurplus(problem)(instance).bandwidth_hz
    torch.testing.assert_close(torch.from_numpy(service.safe(prepared)["bandwidth_hz"]), expected)
