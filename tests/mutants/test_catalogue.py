"""The catalogue of mutants fits the source and the tests."""

import re
from collections import Counter
from pathlib import Path

import pytest
from tests.mutants.catalogue import CATALOGUE, ROOT, Mutant, read_catalogue

MUTANTS = read_catalogue()
LAYERS = (
    "units",
    "channels",
    "rates",
    "kernels",
    "problems",
    "solvers",
    "nn",
    "policies",
    "learning",
    "bench",
)
LAYERS += ("deploy", "setups", "recipes", "environments", "cli")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}: {mutant.breaks}")
def test_a_mutant_changes_one_place_and_names_tests(mutant: Mutant) -> None:
    """The tests exist: a file, and in it a function or a class of each name in the id."""
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1
    assert mutant.new != mutant.old
    assert mutant.tests
    for test in mutant.tests:
        file, *names = test.split("::")
        source = (ROOT / file).read_text(encoding="utf-8")
        for name in (name.split("[")[0] for name in names):
            assert re.search(rf"^\s*(?:def|class) {name}\b", source, re.MULTILINE), test


def test_mutants_are_many_different_and_of_every_layer() -> None:
    assert len(MUTANTS) >= 50
    assert max(Counter((mutant.file, mutant.old, mutant.new) for mutant in MUTANTS).values()) == 1
    assert {Path(mutant.file).parts[2].removesuffix(".py") for mutant in MUTANTS} >= set(LAYERS)


def test_a_text_that_does_not_occur_once_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\ny = 1\n", encoding="utf-8")
    mutant = Mutant("a.py", "1", "2", "x", ("tests/test_units.py",))
    with pytest.raises(ValueError, match=r"^a\.py: must hold '1' exactly once, received 2$"):
        mutant.apply(tmp_path)
    Mutant("a.py", "x = 1", "x = 2", "x", ()).apply(tmp_path)
    assert (tmp_path / "a.py").read_text(encoding="utf-8") == "x = 2\ny = 1\n"


def test_the_table_in_the_results_is_that_of_the_catalogue() -> None:
    """Run `make mutants` after a change of the catalogue."""
    table = (ROOT / "docs" / "results" / "mutants.txt").read_text(encoding="utf-8")
    assert table.startswith(f"make mutants: 0 of {len(MUTANTS)} survive\n")
    assert all(mutant.breaks in table for mutant in MUTANTS), CATALOGUE
