"""The usual terms of a dense network, and instances under them."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.problems.association.records import CellInstance
from torchrrm.units import dbm_to_watt

__all__ = ["BANDWIDTH_HZ", "MACRO_POWER_W", "NOISE_POWER_W", "SMALL_POWER_W", "cell_instance"]

BANDWIDTH_HZ = 20e6
"""Table I of [Zhang2022HBGNN]."""
NOISE_POWER_W = dbm_to_watt(-174.0) * BANDWIDTH_HZ
"""Thermal noise over the band, -101 dBm; [Zhang2022HBGNN] does not say."""
MACRO_POWER_W, SMALL_POWER_W = dbm_to_watt(50.0), dbm_to_watt(20.0)
"""Limits of macro and small base stations, Table I of [Zhang2022HBGNN]."""


def cell_instance(
    gain: Float[Tensor, "*batch user bs"],
    *,
    max_power_w: Float[Tensor, "*batch bs"] | None = None,
    macro: Bool[Tensor, "*#batch bs"] | None = None,
    noise_power_w: float = NOISE_POWER_W,
    bandwidth_hz: float = BANDWIDTH_HZ,
) -> CellInstance:
    """Instance of linear gains, everybody active; by default with the terms of [Zhang2022HBGNN].

    Args:
        gain: `gain[..., i, j]` of station `j` at user `i`.
        max_power_w: power limits; by default those of the paper.
        macro: which stations are macro base stations, where no limits are given; by default none.
        noise_power_w: at each user, over the band.
        bandwidth_hz: of the band.

    Raises:
        ValueError: if limits and kinds are both given.
    """
    if max_power_w is not None and macro is not None:
        raise ValueError("macro: must be left out where max_power_w is given, received both")
    users, stations = gain.shape[:-1], (*gain.shape[:-2], gain.shape[-1])
    like: dict[str, Any] = {"dtype": gain.dtype, "device": gain.device}
    if max_power_w is None:
        small = torch.full(stations, SMALL_POWER_W, **like)
        max_power_w = small if macro is None else torch.where(macro, MACRO_POWER_W, small)
    return CellInstance(
        gain=gain,
        noise_power_w=torch.full(gain.shape[:-2], noise_power_w, **like),
        max_power_w=max_power_w.expand(stations),
        bandwidth_hz=torch.full(gain.shape[:-2], bandwidth_hz, **like),
        active_user=torch.ones(users, dtype=torch.bool, device=gain.device),
        active_bs=torch.ones(stations, dtype=torch.bool, device=gain.device),
    )
