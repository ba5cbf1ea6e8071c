"""The two ends of a link: roles, kinds of stations, and the direction of gains."""

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Direction", "Role", "StationKind", "heights_by_role"]

Role = Literal["unknown", "station", "user", "device", "eavesdropper"]
"""Role of a node. Eavesdroppers only receive."""

StationKind = Literal["unknown", "macro", "small"]
"""Kind of a station; "unknown" for every node that is no station."""

Direction = Literal["unknown", "uplink", "downlink", "device-to-device"]
"""Direction of gains: stations transmit to users in a downlink, users transmit to stations in an uplink."""


def heights_by_role(direction: Direction, rx_height_m: Tensor, tx_height_m: Tensor) -> tuple[Tensor, Tensor]:
    """Return the heights of the station's end and of the user's end of links, in this order.

    An eavesdropper of an uplink takes the place of the station. Between devices, and where the direction is unknown,
    neither end is a station; the higher end takes its place, so that the links stay reciprocal.
    """
    if direction == "uplink":
        return rx_height_m, tx_height_m
    if direction == "downlink":
        return tx_height_m, rx_height_m
    return torch.maximum(rx_height_m, tx_height_m), torch.minimum(rx_height_m, tx_height_m)
