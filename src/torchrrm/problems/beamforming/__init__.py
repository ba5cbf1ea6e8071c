"""Beamforming: one station of many antennas serves its users in the same band."""

from torchrrm.problems.beamforming.gram import (
    coupled_sinr,
    coupling,
    downlink_sinr,
    dual_sinr,
    mmse_action,
    mmse_beams,
    mmse_error,
    mmse_sinr,
    power_slope,
    relative_channel,
    relative_gram,
    to_downlink,
)
from torchrrm.problems.beamforming.records import BeamAction, DownlinkAction, MisoInstance
from torchrrm.problems.beamforming.urllc import (
    UrllcBeamforming,
    least_rate_nats,
    least_sinr,
    miso_instance,
)

__all__ = [
    "BeamAction",
    "DownlinkAction",
    "MisoInstance",
    "UrllcBeamforming",
    "coupled_sinr",
    "coupling",
    "downlink_sinr",
    "dual_sinr",
    "least_rate_nats",
    "least_sinr",
    "miso_instance",
    "mmse_action",
    "mmse_beams",
    "mmse_error",
    "mmse_sinr",
    "power_slope",
    "relative_channel",
    "relative_gram",
    "to_downlink",
]
