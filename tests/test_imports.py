"""Test modules do not import each other: what they share is in helper modules."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MODULES = sorted(TESTS.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Last parts of the modules that a file imports, and the names that it imports from them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[-1] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").split(".")[-1]} | {name.name for name in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(TESTS)))
def test_no_module_imports_a_test_module(path: Path) -> None:
    modules = {module.stem for module in MODULES if module.stem.startswith("test_")}
    assert not imported(path) & modules
