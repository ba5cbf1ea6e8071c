"""Tables that commands write, as tests read them."""

import csv
from pathlib import Path


def rows(path: Path) -> list[dict[str, str]]:
    """Rows of a `.csv` file by column; what it says about itself is left out."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))
