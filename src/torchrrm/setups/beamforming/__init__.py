"""Short packets from many antennas, set up to be worked on."""

from torchrrm.setups.beamforming.given import drawn_beams, given_beams, random_users
from torchrrm.setups.beamforming.setup import MOST_CERTIFIED, BeamSetup, UrllcOfDraws, new_policy
from torchrrm.setups.beamforming.sources import (
    CITY_TERMS,
    BeamSource,
    BeamTerms,
    beam_task,
    draw_beams,
    instance_of,
    station_cell,
    station_channel,
    terms_of,
)

__all__ = [
    "CITY_TERMS",
    "MOST_CERTIFIED",
    "BeamSetup",
    "BeamSource",
    "BeamTerms",
    "UrllcOfDraws",
    "beam_task",
    "draw_beams",
    "drawn_beams",
    "given_beams",
    "instance_of",
    "new_policy",
    "random_users",
    "station_cell",
    "station_channel",
    "terms_of",
]
