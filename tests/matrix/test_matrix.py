"""Every bundled policy in every use, every solver of every problem, and every controller over what it takes."""

from pathlib import Path

import pytest
from tests.matrix.checks import (
    CONTROLLERS,
    SOLVER_USES,
    USES,
    Files,
    Solver,
    Subject,
    link_allocators,
    solvers,
    subjects,
    under,
)

from torchrrm.policies import list_pretrained

HERE = Files(Path())
"""In place of the files, where tests are listed."""
POLICIES = [(on.problem, on.name) for on in subjects(HERE)]
SOLVERS = [(on.problem, on.name) for on in solvers(HERE)]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Where exported files lie; each is made once a session."""
    return Files(tmp_path_factory.mktemp("matrix"))


def test_every_bundled_policy_serves_a_problem() -> None:
    assert {name for _, name in POLICIES} == set(list_pretrained())


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(("problem", "name"), POLICIES)
def test_policies(files: Files, problem: str, name: str, use: str) -> None:
    assert USES[use](Subject(problem, name, files))


@pytest.mark.parametrize("use", SOLVER_USES)
@pytest.mark.parametrize(("problem", "name"), SOLVERS)
def test_solvers(files: Files, problem: str, name: str, use: str) -> None:
    assert SOLVER_USES[use](Solver(problem, name, files))


@pytest.mark.parametrize("controller", CONTROLLERS)
@pytest.mark.parametrize(("problem", "name"), list(link_allocators()))
def test_controllers(problem: str, name: str, controller: str) -> None:
    assert under(problem, name, controller)
