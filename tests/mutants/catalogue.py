"""The catalogue of mutants: small wrong changes of the source, each with the tests that must notice it."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CATALOGUE = Path(__file__).parent / "mutants.toml"


@dataclass(frozen=True)
class Mutant:
    """One change of a source file.

    Attributes:
        file: source file, relative to the root of the repository.
        old: exact text to replace; it occurs once in the file.
        new: text that replaces it.
        breaks: what the change breaks, in one line.
        tests: test files or test ids to run against the change, relative to the root.
    """

    file: str
    old: str
    new: str
    breaks: str
    tests: tuple[str, ...]

    @property
    def in_kernel(self) -> bool:
        """Whether the change is in code that numba compiles, and may keep in its cache."""
        return self.file.startswith("src/torchrrm/kernels/")

    def apply(self, root: Path) -> None:
        """Change the file below `root`.

        Raises:
            ValueError: if `old` does not occur exactly once in the file.
        """
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.file}: must hold {self.old!r} exactly once, received {count}")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


def read_catalogue(path: Path = CATALOGUE) -> list[Mutant]:
    """Return the mutants of a TOML file."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**{**table, "tests": tuple(table["tests"])}) for table in tables]
