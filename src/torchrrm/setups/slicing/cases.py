"""The settings in which slices are compared."""

from collections.abc import Callable
from functools import partial

from torchrrm.channels import SCENARIOS, Scenario, Snapshot, bundled_snapshot
from torchrrm.problems import KINDS, SliceAction, SliceBandwidth, SliceInstance, Task
from torchrrm.setups.slicing.given import given_cell
from torchrrm.setups.slicing.setup import SliceSetup
from torchrrm.setups.slicing.sources import SliceSource, SliceTerms, slice_task
from torchrrm.setups.workbench import Case, Given

__all__ = ["cases"]

SliceCase = Case[SliceInstance, SliceAction]

_INSTANCES = {"smoke": 3, "quick": 50, "full": 200}
_ZERO_SHOT = {"secrecy-short": 0.9207, "data-rate": 0.8623, "data-rate-short": 0.8507}
"""Of the network of Section V of [Hao2024] before it is adapted, over the iterative algorithm, which is exact."""
_MUNICH = "munich_cell_uplink"


def _hml() -> Scenario:
    return SCENARIOS["hml"]()


def _munich() -> Snapshot:
    return bundled_snapshot(_MUNICH)


def _task(
    problem: SliceBandwidth, channels: Callable[[], Scenario | Snapshot], users: int, terms: SliceTerms
) -> Task[SliceInstance, SliceAction]:
    return slice_task(problem, SliceSource(channels(), users, terms))


def _given() -> Given[SliceInstance]:
    return given_cell(_munich(), SliceTerms())


def cases() -> list[SliceCase]:
    """Of each kind of service: the paper's cell, a slice as narrow as a few blocks, and users of a cell of Munich."""
    return [case for problem in KINDS.values() for case in _of_kind(problem)]


def _of_kind(problem: SliceBandwidth) -> list[SliceCase]:
    setup, usual, narrow = SliceSetup(problem), SliceTerms(), SliceTerms(bandwidth_hz=280e3, min_rate_bps=1e3)
    published = {"slice-gnn-hml-raw": _ZERO_SHOT[problem.name]} if problem.name in _ZERO_SHOT else {}
    return [
        Case(
            "paper",
            "hml, 50 users, 100 MHz, 10 Mbit/s each",
            setup,
            partial(_task, problem, _hml, 50, usual),
            _INSTANCES,
            published=published,
        ),
        Case(
            "hard",
            "hml, 30 users, 280 kHz, 1 kbit/s each",
            setup,
            partial(_task, problem, _hml, 30, narrow),
            _INSTANCES,
        ),
        Case(
            "munich",
            "Munich, 50 users, 100 MHz, 10 Mbit/s each",
            setup,
            partial(_task, problem, _munich, 50, usual),
            _INSTANCES,
            given=_given,
        ),
    ]
