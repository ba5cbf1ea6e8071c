"""The usual terms of a dense network, and instances under them."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.problems.association.records import CellInstance
from torchrrm.problems.structure import require_record, require_tensor
from torchrrm.problems.validation import filled, require_broadcast, require_numbers
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
    max_power_w: float | Float[Tensor, "*#batch bs"] | None = None,
    macro: Bool[Tensor, "*#batch bs"] | None = None,
    noise_power_w: float | Float[Tensor, "*#batch"] = NOISE_POWER_W,
    bandwidth_hz: float | Float[Tensor, "*#batch"] = BANDWIDTH_HZ,
) -> CellInstance:
    """Instance of linear gains, everybody active; by default with the terms of [Zhang2022HBGNN].

    Args:
        gain: `gain[..., i, j]` of station `j` at user `i`.
        max_power_w: power limits in W: a number, or a tensor that broadcasts to `[*batch bs]`; by default those of the
            paper.
        macro: which stations are macro base stations, where no limits are given; by default none.
        noise_power_w: at each user in W, over the band: a number, or one for each instance of a batch.
        bandwidth_hz: of the band, likewise.

    Raises:
        ValueError: if limits and kinds are both given, or naming the argument, the rule and what was received.
    """
    if max_power_w is not None and macro is not None:
        raise ValueError("macro: must be left out where max_power_w is given, received both")
    if require_tensor("gain", gain, "float").ndim < 2:
        raise ValueError(f"gain: expected shape [*batch, user, bs], got {list(gain.shape)}")
    users, stations = gain.shape[:-1], (*gain.shape[:-2], gain.shape[-1])
    limit = filled("max_power_w", SMALL_POWER_W if max_power_w is None else max_power_w, stations, gain)
    if macro is not None:
        require_broadcast("macro", require_tensor("macro", macro, "bool"), stations)
        limit = torch.where(macro, MACRO_POWER_W, limit)
    instance = CellInstance(
        gain=gain,
        noise_power_w=filled("noise_power_w", noise_power_w, gain.shape[:-2], gain),
        max_power_w=limit,
        bandwidth_hz=filled("bandwidth_hz", bandwidth_hz, gain.shape[:-2], gain),
        active_user=torch.ones(users, dtype=torch.bool, device=gain.device),
        active_bs=torch.ones(stations, dtype=torch.bool, device=gain.device),
    )
    return require_numbers(
        require_record(instance, CellInstance), positive=("noise_power_w", "bandwidth_hz", "max_power_w")
    )
