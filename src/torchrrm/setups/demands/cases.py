"""The settings in which demands on mean rates are met, slot by slot."""

from functools import partial

from torchrrm.problems import DemandInstance, MetDemands, SlotPowers, Task
from torchrrm.setups.demands.setup import DemandSetup, demand_task
from torchrrm.setups.links import LinkSource, terms_of
from torchrrm.setups.links.sources import named_channels
from torchrrm.setups.workbench import Case, Regime

__all__ = ["cases"]

DemandCase = Case[DemandInstance, SlotPowers]
Demands = tuple[tuple[float, ...], ...]

_SLOTS = 600
"""Of each window, of which the second half counts."""
_RUNS = {"smoke": 2, "quick": 10, "full": 50}
_SIZES = {"central-power-5": 5, "central-power-20": 20}
"""Links that the networks of a fixed size are for."""
_TRAINED = {
    "power-gnn": False,
    "state-augmented": False,
    "power-gnn-rayleigh": True,
    "state-augmented-rayleigh": True,
}
"""Whether these networks were trained on Rayleigh channels; of the others, on random squares."""
_DISTRIBUTED = ("local-power", "local-power-weighted")
_MUNICH = "munich_d2d"

_FIG2: Demands = ((0.5, 0.5, 1.0, 1.5, 2.0), (2.0, 1.5, 0.5, 0.5, 1.0))
"""The first two windows of Fig. 2 of [Behmandpoor2024]."""
_TABLE3 = (0.1, 0.1, 0.1, 0.1, 0.4, 0.1, 0.6, 0.1, 0.1, 0.1, 0.0, 0.2, *(0.0,) * 6, 0.8, 0.0)
"""Of 20 links in Table III of [Behmandpoor2024]."""


def cases() -> list[DemandCase]:
    """Demands of ALCOR's figure and stricter table, which then change places, and of pairs in Munich."""
    return [
        _case("paper", "Rayleigh at 15 dB", "rayleigh", _FIG2, certifies=True),
        _case("hard", "Rayleigh at 15 dB", "rayleigh", (_TABLE3, _TABLE3[::-1])),
        _case("munich", "Munich", _MUNICH, ((0.25,) * 8, (0.1, 0.5) * 4), certifies=True),
    ]


def _case(
    regime: Regime, place: str, channels: str, demands: Demands, *, certifies: bool = False
) -> DemandCase:
    links, setup = len(demands[0]), DemandSetup(certifies=certifies)
    left_out = {name: f"serves {size} links only" for name, size in _SIZES.items() if size != links}
    left_out |= dict.fromkeys(_DISTRIBUTED, "milliseconds a slot; it is in the recipe alcor")
    for name, rayleigh in _TRAINED.items():
        if rayleigh != (channels == "rayleigh"):
            left_out[name] = "run on channels like those that it was trained on"
    return Case(
        regime,
        f"{place}, {links} links, {len(demands)} windows of {_SLOTS} slots",
        setup,
        partial(_task, channels, demands, setup.problem),
        _RUNS,
        left_out=left_out,
    )


def _task(channels: str, demands: Demands, problem: MetDemands) -> Task[DemandInstance, SlotPowers]:
    source = LinkSource(named_channels(channels), len(demands[0]), terms_of(channels))
    return demand_task(source, demands, _SLOTS, problem)
