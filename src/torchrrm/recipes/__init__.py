"""Recipes: flat scripts that each reproduce one published system, and the demo."""

from collections.abc import Callable

from torchrrm.bench import Results
from torchrrm.recipes import alcor, hbgnn, hml, metagnn, usrmnet

__all__ = ["RECIPES"]

RECIPES: dict[str, Callable[..., Results]] = {
    "alcor": alcor.reproduce,
    "hbgnn": hbgnn.reproduce,
    "hml": hml.reproduce,
    "metagnn": metagnn.reproduce,
    "usrmnet": usrmnet.reproduce,
}
"""By name; each is called as `recipe(scale=..., out=..., seed=..., command=...)`."""
