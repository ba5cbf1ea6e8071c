"""Allocators of the tables, by the names that they carry there."""

from collections.abc import Iterable

from torchrrm.bench.results import Kind
from torchrrm.problems import Allocator, BeamAction, MisoInstance
from torchrrm.problems.beamforming import mmse_action
from torchrrm.solvers import EqualPowerMMSE, GramAscent, MinimumPowerBeamforming, ZeroForcing
from torchrrm.solvers.minimum_power_beamforming import restored_power

__all__ = [
    "ASCENT",
    "EQUAL",
    "HEBF",
    "LITERAL",
    "MINIMUM",
    "ORDER",
    "RESTORED",
    "USRMNET",
    "ZERO_FORCING",
    "BeamAllocator",
    "in_order",
    "kind_of_name",
    "solvers",
]

EQUAL, RESTORED = "equal power", "equal power, restored"
ZERO_FORCING, MINIMUM = "zero-forcing", "minimum power"
HEBF, ASCENT = "HeBF", "GramAscent"
USRMNET, LITERAL = "USRMNet", "USRMNet, literal"

ORDER = (EQUAL, RESTORED, ZERO_FORCING, MINIMUM, HEBF, ASCENT, USRMNET, LITERAL)
"""Of tables and figures; other settings of one stand behind it."""
BeamAllocator = Allocator[MisoInstance, BeamAction]


def kind_of_name(name: str) -> Kind:
    """What an allocator is, by its name."""
    if name.startswith(USRMNET):
        return "policy"
    return "trivial" if name in (EQUAL, RESTORED, ZERO_FORCING) else "solver"


def in_order(names: Iterable[str]) -> list[str]:
    """Names in the order of tables."""
    return sorted(
        names, key=lambda name: (max(i for i, one in enumerate(ORDER) if name.startswith(one)), name)
    )


class RestoredEqualPower:
    """Equal powers, raised for those who need more and lowered for the others, so that all minimum rates are kept."""

    kind = "trivial"

    def __call__(self, instance: MisoInstance) -> BeamAction:
        power_w, _ = restored_power(instance, EqualPowerMMSE()(instance).power_w)
        return mmse_action(instance, power_w)


def solvers(*, variants: bool = False) -> dict[str, BeamAllocator]:
    """What needs no training and no program of another library; with other settings of the ascent if asked for."""
    found: dict[str, BeamAllocator] = {
        EQUAL: EqualPowerMMSE(),
        RESTORED: RestoredEqualPower(),
        ZERO_FORCING: ZeroForcing(),
        MINIMUM: MinimumPowerBeamforming(),
        ASCENT: GramAscent(),
    }
    if variants:
        found |= {
            f"{ASCENT}, 1 step": GramAscent(starts=1, max_steps=1),
            f"{ASCENT}, 1 start": GramAscent(starts=1),
            f"{ASCENT}, 16 starts": GramAscent(starts=16),
        }
    return found
