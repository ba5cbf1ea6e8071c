"""Every bundled policy in every use, and every controller over every solver."""

from pathlib import Path

import pytest
from tests.exports import Exports
from tests.matrix.checks import CONTROLLERS, USES, under
from tests.matrix.subjects import Files, Subject, allocators, subjects

from torchrrm import policies
from torchrrm.deploy.contract import export_obstacle
from torchrrm.policies import Policy, list_pretrained
from torchrrm.setups.registry import names

HERE = Files(Path(), Exports(Path()))
"""In place of the files, where tests are listed."""
POLICIES = [(on.problem, on.name) for on in subjects(HERE)]


def _is_policy(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Policy) and kind is not Policy


@pytest.fixture(scope="session")
def files(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Files that the checks write and read."""
    return Files(tmp_path_factory.mktemp("matrix"), exports)


def test_every_bundled_policy_serves_a_problem() -> None:
    assert {name for _, name in POLICIES} == set(list_pretrained())


@pytest.mark.parametrize("kind", [kind for kind in vars(policies).values() if _is_policy(kind)])
def test_a_policy_has_a_core_or_states_why_not(kind: type[Policy]) -> None:
    assert hasattr(kind, "core") == (kind.not_exported is None)


def test_the_list_names_what_is_not_exported_and_why() -> None:
    subjects_of = {on.name: on for on in subjects(HERE)}
    told = {line.split(" (")[0]: line.split(" (")[1].rstrip(")") for line in names()["not exported"]}
    assert told
    for name, on in subjects_of.items():
        assert told.get(name) == export_obstacle(on.exported)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(("problem", "name"), POLICIES)
def test_policies(files: Files, problem: str, name: str, use: str) -> None:
    assert USES[use](Subject(problem, name, files))


@pytest.mark.parametrize("controller", CONTROLLERS)
@pytest.mark.parametrize(("problem", "name"), list(allocators()))
def test_controllers(problem: str, name: str, controller: str) -> None:
    assert under(problem, name, controller)
