"""Every source that a docstring cites is in the bibliography."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
CITATION = re.compile(r"\[([A-Z][A-Za-z]+\d{4}[A-Za-z]*|TR38901|SionnaRT|DeepMIMO)\]")


def test_cited_keys_are_in_the_bibliography() -> None:
    known = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "docs" / "references.bib").read_text(), re.MULTILINE))
    cited = {key for path in (ROOT / "src").rglob("*.py") for key in CITATION.findall(path.read_text())}
    assert len(cited) > 5
    assert cited <= known, sorted(cited - known)
