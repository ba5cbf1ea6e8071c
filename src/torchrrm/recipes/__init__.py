"""Recipes: flat scripts that each reproduce one published system, and the demo."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torchrrm.bench import Results
from torchrrm.files import locked
from torchrrm.recipes import alcor, hbgnn, hml, metagnn, usrmnet

__all__ = ["RECIPES"]


def _alone(recipe: Callable[..., Results]) -> Callable[..., Results]:
    """The recipe, which refuses a folder that another run writes into."""

    @functools.wraps(recipe)
    def run(*, out: Path, **others: Any) -> Results:
        with locked(out):
            return recipe(out=out, **others)

    return run


RECIPES: dict[str, Callable[..., Results]] = {
    "alcor": _alone(alcor.reproduce),
    "hbgnn": _alone(hbgnn.reproduce),
    "hml": _alone(hml.reproduce),
    "metagnn": _alone(metagnn.reproduce),
    "usrmnet": _alone(usrmnet.reproduce),
}
"""By name; each is called as `recipe(scale=..., out=..., seed=..., command=...)` and has `out` for itself."""
