"""What commands need of dense networks: who is served by which station, and how loud stations are."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from torchrrm import bench, learning
from torchrrm.bench import Measure, figures, metrics
from torchrrm.channels import SCENARIOS, Scenario
from torchrrm.policies import HBGNN
from torchrrm.problems import Allocator
from torchrrm.problems.association import (
    SERVED_FROM,
    AssociationAction,
    CellInstance,
    ProportionalFairAssociation,
    SumRateAssociation,
    in_reach,
    jain_index,
    load,
    reachable,
    received,
    served_users,
    station_sinr,
    user_rate,
)
from torchrrm.problems.association.problems import validate_cells
from torchrrm.setups import workbench
from torchrrm.setups.association.given import require_places
from torchrrm.setups.association.scene import cell_scene
from torchrrm.setups.association.sources import (
    CellProblem,
)
from torchrrm.setups.workbench import Given
from torchrrm.solvers import SOLVERS, ControlledMaxSumUtility, ExhaustiveAssociation, HungarianWMMSE

__all__ = [
    "MOST_CERTIFIED",
    "AssociationSetup",
    "CellSetup",
    "FairAssociationSetup",
    "network_figure",
    "new_policy",
]

CellAllocator = Allocator[CellInstance, AssociationAction]


MOST_CERTIFIED = (6, 4)
"""Users and stations up to which the optimum of the sum of rates is certified, in tenths of a second an instance."""


_OBJECTIVES = {SumRateAssociation: "sum of rates", ProportionalFairAssociation: "geometric mean of rates"}

RESTARTS = 20
"""Of the search that larger networks are held against."""


SCENARIO_NAMES = ("hudn",)


def new_policy(problem: str, *, seed: int) -> HBGNN:
    """A policy with random parameters for the problem of that name."""
    return workbench.seeded(lambda: HBGNN(problem), seed)


def network_figure(given: Given[CellInstance], actions: Mapping[str, AssociationAction]) -> Figure:
    """A map of who is served by whom, and how loud stations are: a panel for each allocator's action.

    Raises:
        ValueError: if positions are not known.
    """
    users, stations = require_places(given)
    buildings = given.place["building_m"].numpy() if "building_m" in given.place else None
    places = figures.NetworkPlaces(users.numpy(), stations.numpy(), given.place["macro"].numpy(), buildings)
    services = {
        name: figures.NetworkService(
            action.station.numpy(), action.power_w.numpy(), user_rate(given.instance, action).numpy()
        )
        for name, action in actions.items()
    }
    return figures.network_map(places, services, title=given.setting, attribution=given.attribution)


def _one(cells: CellInstance) -> Tensor:
    return torch.ones_like(cells.noise_power_w)


class CellSetup(ABC):
    """What both objectives have in common."""

    name: ClassVar[str]
    default: ClassVar[str]
    title: ClassVar[str]
    display: ClassVar[bench.Display]
    scenarios: ClassVar[Mapping[str, Callable[[], Scenario]]] = {n: SCENARIOS[n] for n in SCENARIO_NAMES}
    policies: ClassVar[tuple[type[nn.Module], ...]] = (HBGNN,)
    priced: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def problem(self) -> CellProblem: ...

    @abstractmethod
    def certify(self, drawn: CellInstance) -> bench.Bound | None: ...

    @abstractmethod
    def references(self) -> Mapping[str, CellAllocator]: ...

    def validate(self, instance: CellInstance) -> CellInstance:
        return validate_cells(instance)

    @property
    def solvers(self) -> Mapping[str, Callable[[], CellAllocator]]:
        return SOLVERS[self.name]

    def unsuited(self, policy: HBGNN) -> str | None:
        """Return what the policy is trained for, if that is the other objective."""
        trained = policy.problem
        return (
            None
            if isinstance(trained, type(self.problem))
            else f"trained for the {_OBJECTIVES[type(trained)]}"
        )

    def serving(self, policy: HBGNN) -> HBGNN:
        return policy

    def exported(self, policy: HBGNN) -> HBGNN:
        return policy

    def measures(self, drawn: CellInstance, action: AssociationAction) -> dict[str, Measure]:
        """What an objective hides: users served at 1e-3 bit/s/Hz at least, Jain's index, rates."""
        rate, active = user_rate(drawn, action), drawn.active_user
        served, evenness = served_users(rate, active), jain_index(rate, active)
        rates = workbench.rate_measures(rate, active)
        return {
            "served users": Measure(*metrics.mean_interval(served)),
            "Jain's index": Measure(*metrics.mean_interval(evenness)),
            **{name: measure for name, measure in rates.items() if "minimum" not in name},
        }

    def columns(self, given: Given[CellInstance], action: AssociationAction) -> dict[str, Tensor]:
        """A user a row; one without a station has -1 for its number, and no place of it."""
        instance, place = given.instance, given.place
        chosen, count = load(instance, action.station)
        index, none = action.station.clamp_min(0), action.station < 0
        at = {
            name: torch.where(none, torch.nan, place[name][index])
            for name in ("station_x_m", "station_y_m")
            if name in place
        }
        rate = user_rate(instance, action)
        signal = (chosen * received(instance, action.power_w)).sum(-1) * instance.noise_power_w
        sinr = (chosen * station_sinr(instance, action.power_w)).sum(-1)
        return {
            **{name: place[name] for name in ("user", "x_m", "y_m") if name in place},
            "station": torch.where(none, action.station, place["station"][index]),
            **at,
            "signal_w": signal,
            "sinr_db": 10 * sinr.log10(),
            "band_share": (chosen / count.clamp_min(1)).sum(-1),
            "rate_bps_hz": rate,
            "rate_bps": rate * instance.bandwidth_hz,
            "served": rate >= SERVED_FROM,
        }

    def station_columns(self, given: Given[CellInstance], action: AssociationAction) -> dict[str, Tensor]:
        """A station a row: what it sends, to how many users, and what these get in all."""
        instance, place = given.instance, given.place
        chosen, count = load(instance, action.station)
        rate = (chosen * user_rate(instance, action)[:, None]).sum(-2)
        at = {name: place[f"station_{name}"] for name in ("x_m", "y_m") if f"station_{name}" in place}
        return {
            "station": place["station"],
            **at,
            "macro": place["macro"],
            "power_w": action.power_w,
            "max_power_w": instance.max_power_w,
            "users": count.long(),
            "rate_bps_hz": rate,
            "rate_bps": rate * instance.bandwidth_hz,
        }

    def summary(self, given: Given[CellInstance], action: AssociationAction) -> str:
        """How many users are served, by how many stations, and how many no station reaches."""
        instance = given.instance
        served = user_rate(instance, action) >= SERVED_FROM
        serving = len(set(action.station[served].tolist()))
        users, stations = int(instance.active_user.sum()), int(instance.active_bs.sum())
        away = users - int(in_reach(instance).sum())
        told = f"{int(served.sum())} of {users} users served by {serving} of {stations} stations"
        return f"{told}, {away} out of reach" if away else told

    def scene(self, given: Given[CellInstance], actions: Mapping[str, AssociationAction]) -> bench.Scene:
        told = {name: (action, workbench.told(self, given, action)) for name, action in actions.items()}
        return cell_scene(given, told)


@dataclass(frozen=True)
class AssociationSetup(CellSetup):
    """The sum of rates, held against the certified optimum where there are few links.

    With more it is the best that `HungarianWMMSE` with restarts or any other allocator reaches.
    """

    name: ClassVar[str] = "association"
    default: ClassVar[str] = "hungarian-wmmse"
    title: ClassVar[str] = "Users, stations and powers: sum of rates"
    display: ClassVar[bench.Display] = bench.Display(
        _OBJECTIVES[SumRateAssociation], "(bit/s/Hz)", utility="rate / (bit/s/Hz)"
    )

    @property
    def problem(self) -> SumRateAssociation:
        return SumRateAssociation()

    def loss(self, policy: HBGNN) -> learning.PolicyLoss:
        """Negative mean rate of a user in bit/s/Hz, relaxed, with the entropy of SRL."""
        trainee = learning.AssociationTrainee(policy)
        return learning.PolicyLoss(trainee, learning.AssociationLoss.specialising())

    def certify(self, drawn: CellInstance) -> bench.Bound | None:
        """Up to `MOST_CERTIFIED`."""
        cells = reachable(drawn)
        most = int(cells.any(-1).sum(-1).max()), int(cells.any(-2).sum(-1).max())
        if most[0] <= MOST_CERTIFIED[0] and most[1] <= MOST_CERTIFIED[1]:
            return bench.certified(self.problem, drawn, ExhaustiveAssociation())
        return None

    def references(self) -> dict[str, CellAllocator]:
        return {f"hungarian-wmmse, {RESTARTS} restarts": HungarianWMMSE(restarts=RESTARTS)}


@dataclass(frozen=True)
class FairAssociationSetup(CellSetup):
    """The geometric mean of rates, held against the best that any of several allocators reaches."""

    name: ClassVar[str] = "fair-association"
    default: ClassVar[str] = "max-sum-utility-power"
    title: ClassVar[str] = "Users, stations and powers: proportional fairness"
    display: ClassVar[bench.Display] = bench.Display(
        _OBJECTIVES[ProportionalFairAssociation], "(bit/s/Hz)", utility="rate / (bit/s/Hz)"
    )

    @property
    def problem(self) -> ProportionalFairAssociation:
        return ProportionalFairAssociation()

    def loss(self, policy: HBGNN) -> learning.PolicyLoss:
        """Negative geometric mean of rates in bit/s/Hz, relaxed, with the entropy of SRL."""
        objective = replace(learning.AssociationLoss.specialising(), scale=_one)
        return learning.PolicyLoss(learning.AssociationTrainee(policy), objective)

    def certify(self, drawn: CellInstance) -> None:
        """Nothing certifies this objective."""

    def references(self) -> dict[str, CellAllocator]:
        return {"max-sum-utility-power": ControlledMaxSumUtility()}
