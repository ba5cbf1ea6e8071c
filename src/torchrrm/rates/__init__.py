"""Rates of links as pure functions of tensors.

By bandwidth, with slope and curvature: Shannon, finite blocklength, secrecy, effective capacity. By powers, of links
that interfere: SINR and its rate.
"""

from torchrrm.rates.effective_capacity import (
    effective_capacity,
    effective_capacity_curvature,
    effective_capacity_slope,
)
from torchrrm.rates.finite_blocklength import (
    back_off,
    finite_blocklength_curvature,
    finite_blocklength_rate,
    finite_blocklength_slope,
)
from torchrrm.rates.interference import interference_rate, sinr
from torchrrm.rates.packet import least_packet_sinr, packet_back_off, packet_rate, packet_rate_slope
from torchrrm.rates.secrecy import secrecy_curvature, secrecy_rate, secrecy_slope
from torchrrm.rates.shannon import shannon_curvature, shannon_rate, shannon_slope

__all__ = [
    "back_off",
    "effective_capacity",
    "effective_capacity_curvature",
    "effective_capacity_slope",
    "finite_blocklength_curvature",
    "finite_blocklength_rate",
    "finite_blocklength_slope",
    "interference_rate",
    "least_packet_sinr",
    "packet_back_off",
    "packet_rate",
    "packet_rate_slope",
    "secrecy_curvature",
    "secrecy_rate",
    "secrecy_slope",
    "shannon_curvature",
    "shannon_rate",
    "shannon_slope",
    "sinr",
]
