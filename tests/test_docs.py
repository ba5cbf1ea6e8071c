"""The pages of the documentation, without building them: `make docs` does, and runs their code."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
ASIDE = re.compile(r"`[^`\n]*`|\$[^$\n]*\$")
CELL = re.compile(r"^```\{code-cell\} \w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SECTIONS = ("tutorials", "how-to", "explanations")


def name(path: Path) -> str:
    return str(path.relative_to(DOCS))


def plain_fences(text: str) -> list[int]:
    """What the build itself asks of every page."""
    spec = importlib.util.spec_from_file_location("fences", DOCS / "_extensions/fences.py")
    if spec is None or spec.loader is None:
        pytest.skip("no extensions of the documentation")
    pytest.importorskip("sphinx", reason="needs the extra docs")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.plain_fences(text)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_code_is_shown_that_is_not_run(page: Path) -> None:
    assert plain_fences(page.read_text(encoding="utf-8")) == []


def test_a_plain_fence_is_found() -> None:
    assert plain_fences("# A\n\n```python\nx = 1\n```\n\n```{code-cell} python\nx\n```\n") == [3]
    assert plain_fences("~~~bash\nls\n~~~\n") == [1]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [target for target in LINK.findall(ASIDE.sub("", CELL.sub("", text))) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", [page for page in PAGES if CELL.search(page.read_text())], ids=name)
def test_cells_are_cells_of_a_notebook(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith("---\nfile_format: mystnb\n"), "the front matter that makes cells run"
    for cell in CELL.findall(text):
        code = re.sub(r"\A(?:---\n.*?^---\n|(?::.*\n)+)", "", cell, flags=re.DOTALL | re.MULTILINE)
        if not code.startswith("%%"):
            ast.parse(code)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_page_is_in_its_table_of_contents(section: str) -> None:
    (entries,) = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / section / "index.md").read_text(), re.DOTALL)
    words = {line.strip().removesuffix(".md") for line in entries.splitlines()}
    pages = {path.stem for path in (DOCS / section).glob("*.md")} - {"index"}
    assert pages
    assert "*" in words or pages <= words


def test_every_room_is_in_the_reference() -> None:
    rooms = {path.stem for path in (DOCS.parent / "src/torchrrm").iterdir() if not path.stem.startswith("_")}
    entries = (DOCS / "reference/index.md").read_text().splitlines()
    assert rooms - {"cli", "files", "py"} <= set(entries)
