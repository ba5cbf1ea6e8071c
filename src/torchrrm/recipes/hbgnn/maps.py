"""Who serves whom, and how loud: a drop of the square, and one of each network of Munich."""

import torch

from torchrrm.bench import Scene
from torchrrm.channels import bundled_snapshot, hudn_scenario
from torchrrm.problems import AssociationAction, CellInstance
from torchrrm.problems.association import served_users
from torchrrm.recipes.exhibits import Exhibit
from torchrrm.recipes.hbgnn.allocators import GRL_REFINED, HUNGARIAN, MAX_SIGNAL, UTILITY, solvers
from torchrrm.recipes.hbgnn.cases import PAPER, REPORT, Case, generator_of
from torchrrm.recipes.hbgnn.learned import learned
from torchrrm.recipes.hbgnn.scoring import PROBLEM
from torchrrm.recipes.jobs import Start
from torchrrm.setups import registry
from torchrrm.setups.association import CellTerms, drawn_cells, given_cells, network_figure
from torchrrm.setups.workbench import Given
from torchrrm.units import watt_to_dbm

__all__ = ["network", "scene"]

_SHOWN = (MAX_SIGNAL, UTILITY, HUNGARIAN, GRL_REFINED)


def network(case: Case, start: Start) -> Exhibit:
    """One drop under four methods."""
    given = _drop(case)
    allocators = solvers() | learned(start)
    with torch.no_grad():
        actions = {name: allocators[name](given.instance) for name in _SHOWN}
    return Exhibit(
        name=f"network-{case.where.replace('_', '-')}",
        title=f"Who serves whom: {case.setting}",
        note="One drop. Lines join served users with their stations; rings wait at stations that give them nothing.",
        figure=network_figure(given, actions),
        header=["method", "sum of rates / (bit/s/Hz)", "served users", "stations on", "total power / dBm"],
        rows=[_line(name, given.instance, action) for name, action in actions.items()],
    )


def scene(start: Start) -> Scene | None:
    """A network of Munich under the same methods."""
    allocators = solvers() | learned(start)
    return registry.munich_scene("association", {name: allocators[name] for name in _SHOWN})


def _line(name: str, instance: CellInstance, action: AssociationAction) -> list[str]:
    rate, power_w = PROBLEM.rate(instance, action), action.power_w
    return [
        name,
        f"{rate.sum().item():.1f}",
        f"{served_users(rate, instance.active_user).item():.0f}",
        str(int((power_w > 0).sum())),
        f"{watt_to_dbm(power_w.sum().item()):.1f}",
    ]


def _drop(case: Case) -> Given[CellInstance]:
    if case == PAPER:
        return drawn_cells(hudn_scenario(), CellTerms(), generator=generator_of(REPORT, 99))
    return given_cells(bundled_snapshot(case.where), CellTerms())
