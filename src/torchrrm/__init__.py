"""Learned radio resource management: channels in, resource allocations out.

The rooms (`torchrrm.problems`, `torchrrm.solvers`, ...) are loaded when they are first used, so that `import torchrrm`
alone is quick and imports no torch.
"""

import importlib
from types import ModuleType

__version__ = "0.1.0"

_ROOMS = (
    "bench",
    "channels",
    "deploy",
    "environments",
    "kernels",
    "learning",
    "nn",
    "policies",
    "problems",
    "rates",
    "recipes",
    "records",
    "solvers",
    "testing",
    "units",
)

__all__ = ["__version__"]


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_ROOMS]
