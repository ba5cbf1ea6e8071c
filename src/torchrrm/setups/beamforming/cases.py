"""The settings in which beams of short packets are compared."""

from functools import partial

from torchrrm.channels import SCENARIOS, bundled_snapshot
from torchrrm.problems import Task
from torchrrm.problems.beamforming import BeamAction, MisoInstance
from torchrrm.setups.beamforming.given import given_beams
from torchrrm.setups.beamforming.setup import MOST_CERTIFIED, BeamSetup
from torchrrm.setups.beamforming.sources import CITY_TERMS, USUAL_ANTENNAS, BeamSource, BeamTerms, beam_task
from torchrrm.setups.workbench import Case, Given, Regime

__all__ = ["cases"]

BeamCase = Case[MisoInstance, BeamAction]

_INSTANCES = {"smoke": 4, "quick": 50, "full": 200}
_MUNICH = "munich_miso64"
_ON_MAP = (7, 61, 130, 204, 287, 351)
"""Users of the map."""


def _drawn(scenario: str, users: int, terms: BeamTerms) -> Task[MisoInstance, BeamAction]:
    return beam_task(BeamSource(SCENARIOS[scenario](), users, USUAL_ANTENNAS, terms))


def _munich(users: int) -> Task[MisoInstance, BeamAction]:
    return beam_task(BeamSource(bundled_snapshot(_MUNICH), users, USUAL_ANTENNAS, CITY_TERMS))


def _given() -> Given[MisoInstance]:
    return given_beams(bundled_snapshot(_MUNICH), CITY_TERMS, users=_ON_MAP)


def cases() -> list[BeamCase]:
    """The paper's ring, one in which users at the edge need power that others would use, and Munich."""
    return [
        _in_ring("paper", "120 to 140 m, 15 dB", "urllc", 4, 15.0),
        _in_ring("paper", "120 to 140 m, 15 dB", "urllc", 6, 15.0),
        _in_ring("hard", "50 to 300 m, 18 dB", "urllc-edge", 6, 18.0),
        _in_ring("hard", "50 to 300 m, 20 dB", "urllc-edge", 10, 20.0),
        Case(
            "munich",
            f"Munich, 6 users, {USUAL_ANTENNAS} antennas",
            BeamSetup(),
            partial(_munich, 6),
            _INSTANCES,
            given=_given,
        ),
    ]


def _in_ring(regime: Regime, ring: str, scenario: str, users: int, snr_db: float) -> BeamCase:
    slow = {"beamforming-bound": f"takes time exponential in the users; run up to {MOST_CERTIFIED}"}
    return Case(
        regime,
        f"{ring}, {users} users, {USUAL_ANTENNAS} antennas",
        BeamSetup(),
        partial(_drawn, scenario, users, BeamTerms.at_snr(snr_db)),
        _INSTANCES,
        left_out=slow if users > MOST_CERTIFIED else {},
    )
