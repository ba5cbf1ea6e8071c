"""Geometric programming in Table II of [Behmandpoor2024]: only where every slot by itself can meet the demands."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.problems import LinkInstance, QosSumRate
from torchrrm.recipes.alcor.cases import REPORT, Case, generator_of, rayleigh
from torchrrm.records import replace
from torchrrm.setups.links import draw_links
from torchrrm.solvers import WMMSE, GeometricProgram, QosWMMSE, is_feasible

__all__ = ["FeasiblePrograms", "feasible_draws"]

_STREAM = 37  # of the random numbers here


@dataclass(frozen=True)
class FeasiblePrograms:
    """The job of one number of users: how many draws are feasible, and the sum rates of geometric programs on them.

    Demands are minimum rates of one slot here, as the method asks for. Whether some powers meet them is decided
    exactly, by Perron and Frobenius; see `torchrrm.solvers.MinimumPower`. The paper reports the mean over feasible
    draws, without their number; these are a small and favourable part of all, which `feasible` over `draws` tells.

    Attributes:
        case: the users' demands, 0 where nothing is asked for.
        draws: Rayleigh channels that are tested.
        programs: feasible draws at most on which sum rates are found, the first.
        max_steps: condensations of a geometric program, or steps of the others.
        tolerance: a program ends where a step adds no more than this part of the objective.
    """

    case: Case
    draws: int = 1_000_000
    programs: int = 50
    max_steps: int = 100
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("draws", "programs", "max_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, received {getattr(self, name)}")

    @property
    def name(self) -> str:
        return f"programs-{self.case.links}-{sum(self.case.demand_bps_hz):g}"

    def __call__(self) -> dict[str, Tensor]:
        """Counts `draws` and `feasible`; sum rates in bit/s/Hz `[program]` and the largest violations.

        Of `geometric program`, of `QoS WMMSE`, which solves the same problem, and of `WMMSE`, which asks for
        nothing: what the demands cost in a slot. `violation.NAME` is Eq. (12) as a fraction, 0 where met.
        """
        generator = generator_of(REPORT, self.case.links, _STREAM)
        links, feasible = feasible_draws(self.case, self.draws, most=self.programs, generator=generator)
        found = {"draws": torch.tensor(self.draws), "feasible": torch.tensor(feasible)}
        demands = self.case.demand
        problem = QosSumRate(demands)
        solvers = {
            "geometric program": GeometricProgram(demands, self.max_steps, self.tolerance),
            "QoS WMMSE": QosWMMSE(demands, self.max_steps, self.tolerance),
            "WMMSE": WMMSE(max_steps=self.max_steps),
        }
        for name, solver in solvers.items():
            rate = violation = demands.new_zeros(0)
            if len(links.gain):
                score = problem.evaluate(links, solver(links))
                rate, violation = score.objective, score.violation["min_rate"].amax(-1).clamp(min=0.0)
            found |= {f"rate.{name}": rate, f"violation.{name}": violation}
        return found


def feasible_draws(
    case: Case, draws: int, *, most: int, generator: torch.Generator, chunk: int = 20_000
) -> tuple[LinkInstance, int]:
    """Rayleigh links on which every demand can be met in the slot: the first ones, and how many there are in all.

    Only channels among the users with a demand are tested, for the others had best be silent, and the channels of
    the others are drawn for feasible ones alone: they are independent of the test.

    Args:
        case: the users' demands, 0 where nothing is asked for.
        draws: how many are tested.
        most: how many are returned.
        generator: of the channels.
        chunk: draws that are tested at once.
    """
    demands = case.demand.to(generator.device)
    if not (demands > 0.0).any():
        raise ValueError(f"case: must ask for something, received {case}")
    asking = demands.nonzero()[:, 0]
    kept: list[Float[Tensor, "draw rx tx"]] = []
    feasible = 0
    for first in range(0, draws, chunk):
        links = draw_links(rayleigh(len(asking)), min(chunk, draws - first), generator=generator)
        met = is_feasible(links, demands[asking])
        kept.append(links.gain[met][: max(most - feasible, 0)])
        feasible += int(met.sum())
    blocks = torch.cat(kept)
    whole = draw_links(rayleigh(case.links), len(blocks), generator=generator)
    gain = whole.gain.clone()
    gain[:, asking[:, None], asking] = blocks
    return replace(whole, gain=gain), feasible
