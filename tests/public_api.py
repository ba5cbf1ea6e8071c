"""The public names, room by room: `python -m tests.public_api` writes them to `tests/public_api.txt`."""

import importlib
from pathlib import Path

ROOMS = (
    "units",
    "records",
    "channels",
    "channels.snapshot",
    "rates",
    "problems",
    "solvers",
    "nn",
    "policies",
    "learning",
    "bench",
    "deploy",
    "setups.association",
    "setups.beamforming",
    "setups.demands",
    "setups.links",
    "setups.registry",
    "setups.slicing",
    "setups.workbench",
    "recipes",
    "environments",
    "testing",
)
LISTING = Path(__file__).with_name("public_api.txt")


def public_names() -> list[str]:
    """`torchrrm.room.name` of everything in each room's `__all__`, in order."""
    rooms = [importlib.import_module(f"torchrrm.{room}") for room in ROOMS]
    return [f"{room.__name__}.{name}" for room in rooms for name in sorted(room.__all__)]


if __name__ == "__main__":
    LISTING.write_text("\n".join(public_names()) + "\n")
