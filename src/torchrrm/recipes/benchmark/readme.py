"""The table of a README, from a leaderboard.

`python -m torchrrm.recipes.benchmark.readme README.md LEADERBOARD.json`
"""

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

from torchrrm.recipes.benchmark.board import write_summary

File = Positional[Annotated[Path, arg(metavar="FILE")]]


def _main(readme: File, leaderboard: File) -> None:
    """Put the table of a leaderboard between its two comments in a README.

    Args:
        readme: is changed.
        leaderboard: the JSON.
    """
    write_summary(readme, leaderboard)


if __name__ == "__main__":
    tyro.cli(_main)
