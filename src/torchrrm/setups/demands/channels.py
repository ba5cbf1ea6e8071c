"""Channels of a run that may last as long as it likes: drawn block by block, and resumable."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from torchrrm.channels import CorrelatedRayleigh, Fading, Rayleigh, Scenario, slot_fading
from torchrrm.problems import ErgodicInstance
from torchrrm.setups.links import LinkSource

__all__ = ["ChannelPlace", "SlotStream"]

_BLOCK_SLOTS = 100  # drawn at once where places stay


@dataclass(frozen=True)
class ChannelPlace:
    """Where a stream stands: a block of slots that is drawn, and how much of it is used.

    Attributes:
        before: state of the generator from which the block was drawn.
        after: its state since.
        large_scale_gain: of the block.
        gain: of its slots.
        used: slots of it that were taken.
    """

    before: Tensor
    after: Tensor
    large_scale_gain: Float[Tensor, "rx tx"]
    gain: Float[Tensor, "slot rx tx"]
    used: int

    def tensors(self) -> dict[str, Tensor]:
        """What `SlotStream.resume` needs."""
        return {
            "generator": self.before,
            "large_scale_gain": self.large_scale_gain,
            "used": torch.tensor(self.used),
        }


class SlotStream:
    """Slots of one configuration of links, one after the other, as many as are asked for.

    Places are drawn once, or anew every `source.redraw_every` slots. Blocks of slots are drawn whole, whoever takes
    how many of them at a time, so that a run does not depend on where it was interrupted. The stream itself keeps
    nothing: who takes slots keeps the place.

    Args:
        source: of a fixed number of links, without fading that is correlated over slots.
    """

    def __init__(self, source: LinkSource):
        least, self.links = source.span
        if least != self.links:
            raise ValueError(f"links: must be a number, received the range {source.span}")
        self.source, self._fading = source, _fading(source)
        if isinstance(self._fading, CorrelatedRayleigh):
            raise ValueError("fading: must be independent from slot to slot, received a CorrelatedRayleigh")

    def start(self, generator: torch.Generator) -> ChannelPlace:
        """The place before the first slot."""
        large_scale_gain = self.source.sample(1, slots=1, generator=generator).large_scale_gain[0]
        return self._block(generator.get_state(), large_scale_gain)

    def resume(self, tensors: dict[str, Tensor]) -> ChannelPlace:
        """The place that `ChannelPlace.tensors` tells.

        Raises:
            ValueError: if it is none of this stream.
        """
        try:
            place = self._block(tensors["generator"], tensors["large_scale_gain"])
        except (RuntimeError, TypeError) as error:  # of the generator
            raise ValueError(f"generator: must be a state of one, received another ({error})") from error
        used = int(tensors["used"])
        if not 0 <= used <= len(place.gain):
            raise ValueError(f"used: must be 0 to {len(place.gain)} slots, received {used}")
        return self._used(place, used)

    def take(self, place: ChannelPlace, slots: int) -> tuple[ErgodicInstance, ChannelPlace]:
        """The next slots, everybody active; `mean_gain` is the large-scale gain of the first of them."""
        parts: list[Tensor] = []
        known = None
        while slots > 0:
            if place.used == len(place.gain):
                place = self._block(place.after, place.large_scale_gain)
            known = place.large_scale_gain if known is None else known
            parts.append(place.gain[place.used : place.used + slots])
            slots -= len(parts[-1])
            place = self._used(place, place.used + len(parts[-1]))
        gain = torch.cat(parts) if len(parts) > 1 else parts[0]
        return self._instance(gain, place.large_scale_gain if known is None else known), place

    def _block(self, before: Tensor, large_scale_gain: Tensor) -> ChannelPlace:
        generator = torch.Generator()
        generator.set_state(before)
        block = self.source.redraw_every
        if block is None:
            draw = slot_fading(large_scale_gain, self._fading, slots=_BLOCK_SLOTS, generator=generator)
            gain = draw.gain
        else:
            drawn = self.source.sample(1, slots=block, generator=generator)
            gain, large_scale_gain = drawn.gain[0], drawn.large_scale_gain[0]
        return ChannelPlace(before, generator.get_state(), large_scale_gain, gain, used=0)

    def _used(self, place: ChannelPlace, used: int) -> ChannelPlace:
        return ChannelPlace(place.before, place.after, place.large_scale_gain, place.gain, used)

    def _instance(self, gain: Tensor, mean_gain: Tensor) -> ErgodicInstance:
        terms, links = self.source.terms, (self.links,)
        return ErgodicInstance(
            gain=gain,
            mean_gain=mean_gain,
            noise_power_w=gain.new_tensor(terms.noise_power_w),
            max_power_w=gain.new_full(links, terms.max_power_w),
            min_rate_bps_hz=gain.new_zeros(links),
            active=torch.ones(links, dtype=torch.bool),
        )


def _fading(source: LinkSource) -> Fading:
    if isinstance(source.channels, Scenario):
        return source.channels.fading
    return source.fading or Rayleigh()
