"""What users may rely on is listed, told, and what the contract names is among it."""

import importlib
import inspect

import pytest
from tests.public_api import LISTING, ROOMS, public_names

CONTRACT = (
    "records.tensor_record",
    "records.stack",
    "records.pad",
    "records.index",
    "records.to",
    "channels.Scenario",
    "channels.snapshot.load",
    "channels.snapshot.Snapshot",
    "problems.Evaluation",
    "problems.Problem",
    "problems.Allocator",
    "problems.Task",
    "problems.LinkInstance",
    "solvers.IterativeSolver",
    "solvers.Solution",
    "solvers.SOLVERS",
    "policies.Refined",
    "policies.BestOf",
    "policies.Guarded",
    "policies.TimeSharing",
    "policies.OnlineDual",
    "policies.POLICIES",
    "policies.load_pretrained",
    "policies.list_pretrained",
    "deploy.InferenceSession",
    "deploy.export",
    "testing.check_problem",
    "testing.check_solver",
    "testing.check_policy",
)


def test_public_names_are_those_listed():
    listed = LISTING.read_text().split()
    assert public_names() == listed, "python -m tests.public_api writes the listing anew"


def test_the_contract_is_among_them():
    assert not {f"torchrrm.{name}" for name in CONTRACT} - set(public_names())


@pytest.mark.parametrize("room", ROOMS)
def test_what_has_a_docstring_of_its_own_has_one(room):
    """Values are told where they stand."""
    module = importlib.import_module(f"torchrrm.{room}")
    things = {name: getattr(module, name) for name in module.__all__}
    told = {
        name: thing for name, thing in things.items() if inspect.isclass(thing) or inspect.isroutine(thing)
    }
    untold = [name for name, thing in told.items() if not (thing.__doc__ or "").strip()]
    assert (module.__doc__ or "").strip()
    assert not untold
