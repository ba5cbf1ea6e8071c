"""Registries hold everything that goes by a name, and nothing stands beside them without a reason."""

import importlib.resources
import inspect
from typing import Any

import pytest
from tests.testing.registered import ALL
from torch import nn

from torchrrm import policies, solvers
from torchrrm.bench import label_of
from torchrrm.policies import POLICIES, list_pretrained, load_pretrained, load_weights
from torchrrm.setups.registry import SETUPS, names
from torchrrm.solvers import SOLVERS

NO_SOLVERS = {
    "IterativeSolver": "an interface",
    "Solution": "what solvers return",
    "ErgodicBound": "what `ErgodicDualBound` returns",
    "SparseWMMSE": "of lists of neighbours, which no command makes; tests/solvers/test_sparse_wmmse.py",
}
NO_POLICIES = {
    "BestOf": "made of allocators",
    "ConfigurationGNN": "the multipliers of others, no allocator",
    "EachSlot": "made of an allocator",
    "Guarded": "made of allocators",
    "LocalMemory": "a state of `LocalPower`",
    "OnlineDual": "made of an allocator",
    "Policy": "the base class",
    "PreparedSlice": "an instance",
    "ProportionalFair": "made of an allocator",
    "Refined": "made of a policy and a solver",
    "SharingSettings": "settings",
    "SparseHBGNN": "another form of `HBGNN`, made by `SparseHBGNN.of`; tests/policies/test_sparse_hbgnn.py",
    "SparsePowerGNN": "another form of `PowerGNN`, made by `of`; tests/policies/test_sparse_power_gnn.py",
    "TimeSharing": "made of an allocator",
}


def classes(module: Any) -> set[str]:
    return {name for name in module.__all__ if inspect.isclass(getattr(module, name))}


def test_every_solver_is_registered():
    entered = {solver.__name__ for family in SOLVERS.values() for solver in family.values()}
    assert classes(solvers) - entered == NO_SOLVERS.keys()


def test_every_policy_is_registered():
    assert all(name == policy.__name__ for name, policy in POLICIES.items())
    assert classes(policies) - POLICIES.keys() == NO_POLICIES.keys()


def test_every_setup_has_solvers_a_policy_and_a_trivial_rule():
    assert SETUPS.keys() == SOLVERS.keys()
    tried = {one.name for one in ALL}
    for setup in SETUPS.values():
        assert {f"{label_of(setup.problem)}/{name}" for name in setup.solvers} <= tried
        assert any(issubclass(policy, nn.Module) for policy in setup.policies)
        assert any(getattr(make(), "kind", "") == "trivial" for make in setup.solvers.values()), setup.name


@pytest.mark.parametrize("name", list_pretrained())
def test_pretrained_weights_are_listed_told_and_loaded(name):
    assert type(load_pretrained(name)).__name__ in POLICIES
    told = names()
    assert any(name in found for what, found in told.items() if what.startswith("policies of"))
    folder = importlib.resources.files("torchrrm.policies") / "pretrained"
    assert f"`{name}`" in (folder / "README.md").read_text()
    with importlib.resources.as_file(folder / f"{name}.safetensors") as path:
        provenance = load_weights(path).provenance
    assert provenance.get("commit")
    assert "seed" in provenance
    assert provenance.get("recipe") or provenance.get("command")
