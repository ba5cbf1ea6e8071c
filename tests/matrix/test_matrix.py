"""Every bundled policy in every use, and every controller over every solver."""

import hashlib
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.matrix.checks import CONTROLLERS, USES, under
from tests.matrix.subjects import Files, Subject, allocators, subjects

import torchrrm
from torchrrm import policies
from torchrrm.deploy.contract import export_obstacle
from torchrrm.policies import Policy, list_pretrained
from torchrrm.setups.registry import names

ROOT = Path(torchrrm.__file__).parent
HERE = Files(Path(), Path())
"""In place of the files, where tests are listed."""
POLICIES = [(on.problem, on.name) for on in subjects(HERE)]


def _is_policy(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Policy) and kind is not Policy


def _digest() -> str:
    """Return what exported files depend on, in a few letters: sources, weights and exporters."""
    digest = hashlib.sha256()
    for name in ("torch", "onnx", "onnxscript", "onnxruntime"):
        digest.update(f"{name} {version(name)}".encode())
    for path in sorted(ROOT.rglob("*")):
        if path.suffix in (".py", ".safetensors"):
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@pytest.fixture(scope="session")
def files(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Return where files lie. Exported ones take minutes: they are kept until a source changes."""
    cache = pytestconfig.cache
    kept = None if cache is None else cache.mkdir(f"exported-{_digest()}")
    folder = tmp_path_factory.mktemp("matrix")
    return Files(folder, kept or folder)


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
