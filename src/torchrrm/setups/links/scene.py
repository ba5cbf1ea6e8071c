"""Links to look at: which transmitters are heard, how loud they are, and what rates come of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from torchrrm.bench import Places, Scene, Service
from torchrrm.setups.places import nodes_m
from torchrrm.setups.workbench import Given

__all__ = ["LinkService", "link_scene"]

TRANSMITS = 1e-6
"""Of the limit: what is less counts as silence."""


@dataclass(frozen=True)
class LinkService:
    """What an allocator makes of links, on average over the slots if there are several.

    Attributes:
        power_w: of each transmitter.
        rate_bps_hz: of each link.
        told: the allocation in a few words.
    """

    power_w: Float[Tensor, " tx"]
    rate_bps_hz: Float[Tensor, " tx"]
    told: str


def link_scene(
    given: Given,
    services: Mapping[str, LinkService],
    *,
    max_power_w: Float[Tensor, " tx"],
    active: Bool[Tensor, " tx"],
) -> Scene:
    """The active links of an instance with the powers that allocators give them, in per cent of the limits."""
    users, stations = nodes_m(given.place, "rx_"), nodes_m(given.place, "tx_")
    places = None
    if users is not None and stations is not None:
        places = Places(users[active].numpy(), stations[active].numpy())
    return Scene(
        given.setting,
        {name: _service(service, max_power_w[active], active) for name, service in services.items()},
        amount="power / % of limit",
        rate="rate / (bit/s/Hz)",
        names=("transmitter", "receiver"),
        places=places,
        attribution=given.attribution,
    )


def _service(service: LinkService, max_power_w: Tensor, active: Tensor) -> Service:
    share = service.power_w[active] / max_power_w
    share = torch.where(share > TRANSMITS, share, 0.0)
    own = torch.arange(len(share))
    return Service(
        torch.where(share > 0, own, -1).numpy(),
        (100 * share).numpy(),
        service.rate_bps_hz[active].numpy(),
        told=service.told,
    )
