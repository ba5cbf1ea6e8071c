"""No feasible point is above a certified bound, and none refutes a claim of infeasibility: some rounds of each."""

import numpy as np
import pytest
from tests.falsify.bounds import BOUNDS
from tests.falsify.harness import Outcome, generator_of


@pytest.mark.parametrize("name", BOUNDS)
def test_no_counterexample_is_found(name: str) -> None:
    for seed in range(2 if "effective-capacity" in name else 4):
        outcome = BOUNDS[name](generator_of(name, seed))
        assert outcome.tried > 0
        assert not outcome.failures, f"seed {seed}: {outcome.failures[0]}"


def test_an_objective_above_its_bound_is_a_failure() -> None:
    outcome = Outcome()
    outcome.below(
        np.array([1.0, 1.0 + 5e-10, 0.0, -np.inf, 2e-9]), np.array([1.0, 1.0, 0.0, -1.0, 3e-9]), "kept"
    )
    assert outcome.failures == []
    above = np.array([1.0 + 2e-9, 1e-30, 0.0, 0.5, 1.0])
    outcome.below(above, np.array([1.0, 0.0, -1e-30, -np.inf, np.nan]), "lost")
    assert len(outcome.failures) == 5
