"""Who serves whom, and how loud: a drop of the square, and one of each network of Munich."""

import torch

from torchrrm.bench import figures
from torchrrm.bench.figures import NetworkPlaces, NetworkService
from torchrrm.channels import bundled_snapshot, hudn_scenario
from torchrrm.problems import CellInstance
from torchrrm.recipes.association import CellTerms
from torchrrm.recipes.association_setups import drawn_cells, given_cells
from torchrrm.recipes.exhibits import Exhibit
from torchrrm.recipes.hbgnn.allocators import GRL_REFINED, HUNGARIAN, MAX_SIGNAL, UTILITY, solvers
from torchrrm.recipes.hbgnn.cases import PAPER, REPORT, Case, generator_of
from torchrrm.recipes.hbgnn.learned import learned
from torchrrm.recipes.hbgnn.scoring import PROBLEM
from torchrrm.recipes.jobs import Start
from torchrrm.recipes.workbench import Given
from torchrrm.units import watt_to_dbm

__all__ = ["network"]

_SHOWN = (MAX_SIGNAL, UTILITY, HUNGARIAN, GRL_REFINED)


def network(case: Case, start: Start) -> Exhibit:
    """One drop under four methods."""
    given = _drop(case)
    allocators = solvers() | learned(start)
    services, rows = {}, []
    with torch.no_grad():
        for name in _SHOWN:
            action = allocators[name](given.instance)
            rate = PROBLEM.rate(given.instance, action)
            services[name] = NetworkService(action.station.numpy(), action.power_w.numpy(), rate.numpy())
            on = action.power_w > 0
            rows.append(
                [
                    name,
                    f"{rate.sum().item():.1f}",
                    str(int((rate > 1e-3).sum())),
                    str(int(on.sum())),
                    f"{watt_to_dbm(action.power_w.sum().item()):.1f}",
                ]
            )
    place = given.place
    places = NetworkPlaces(
        torch.stack([place["x_m"], place["y_m"]], -1).numpy(),
        torch.stack([place["station_x_m"], place["station_y_m"]], -1).numpy(),
        place["macro"].numpy(),
        place["building_m"].numpy() if "building_m" in place else None,
    )
    return Exhibit(
        name=f"network-{case.where.replace('_', '-')}",
        title=f"Who serves whom: {case.setting}",
        note="One drop. Lines join served users with their stations; rings wait at stations that give them nothing.",
        figure=figures.network_map(places, services, attribution=given.attribution),
        header=["method", "sum of rates / (bit/s/Hz)", "served users", "stations on", "total power / dBm"],
        rows=rows,
    )


def _drop(case: Case) -> Given[CellInstance]:
    if case == PAPER:
        return drawn_cells(hudn_scenario(), CellTerms(), generator=generator_of(REPORT, 99))
    return given_cells(bundled_snapshot(case.where), CellTerms())
