"""Allocators and control loops as agents of `torchrrm.environments.DemandsEnv`."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from torchrrm.policies.control import Controller
from torchrrm.problems import Allocator, ErgodicInstance, LinkInstance, PowerAction, WeightedSumRate
from torchrrm.units import db_to_linear

__all__ = ["AllocatorAgent", "ControllerAgent", "links_of"]

Observation = Mapping[str, np.ndarray]
S = TypeVar("S")
_SUM_RATE = WeightedSumRate()


def links_of(observation: Observation) -> LinkInstance:
    """The links that an observation shows, of weight 1, as an instance that every allocator takes.

    In units of the noise and of the limits: an allocator's powers are the fractions that the environment asks for.
    Gains that the observation clips are clipped. Leading axes, as of environments that run side by side, stay.
    """
    gain_db = torch.from_numpy(observation["gain_db"])
    active = torch.from_numpy(observation["active"]).bool()
    both = active[..., :, None] & active[..., None, :]
    gain = torch.where(both, db_to_linear(gain_db), 0.0)
    return LinkInstance(
        gain=gain,
        noise_power_w=gain.new_ones(gain.shape[:-2]),
        max_power_w=gain.new_ones(active.shape),
        weight=active.to(gain.dtype),
        active=active,
    )


class AllocatorAgent:
    """An allocator of links in every slot by itself, whatever the demands."""

    def __init__(self, allocator: Allocator[LinkInstance, PowerAction]):
        self.allocator = allocator

    def __call__(self, observation: Observation) -> np.ndarray:
        """Powers as fractions of the limits, in float32."""
        with torch.no_grad():
            return _fractions(self.allocator(links_of(observation)).power_w)


class ControllerAgent(Generic[S]):
    """A control loop, such as `OnlineDual` or `TimeSharing`, that serves the demands which it observes.

    Where the users or their demands have changed, it goes on by its own `retarget`; `reset` makes it start anew, as
    for another episode. The rates that move its state are those of the observed gains, so that it asks for nothing
    but observations, in the order of time. One agent an environment.
    """

    def __init__(self, controller: Controller[S]):
        self.controller = controller
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._state: S | None = None
        self._served: tuple[bytes, bytes] | None = None

    def __call__(self, observation: Observation) -> np.ndarray:
        """Powers as fractions of the limits, in float32."""
        served = observation["active"].tobytes(), observation["demand_bps_hz"].tobytes()
        with torch.no_grad():
            links = links_of(observation)
            state = self._state
            if state is None:
                state = self.controller.start(_one_slot(links, observation))
            elif served != self._served:
                state = self.controller.retarget(state, _one_slot(links, observation))
            power = self.controller.decide(links, state).power_w
            self._state = self.controller.observe(_SUM_RATE.rate(links, power), state)
            self._served = served
        return _fractions(power)


def _one_slot(links: LinkInstance, observation: Observation) -> ErgodicInstance:
    """The slot as one of many, for what a control loop starts from: its gains stand for their means."""
    terms: dict[str, Any] = {
        name: getattr(links, name) for name in ("noise_power_w", "max_power_w", "active")
    }
    return ErgodicInstance(
        gain=links.gain.unsqueeze(-3),
        mean_gain=links.gain,
        min_rate_bps_hz=torch.from_numpy(observation["demand_bps_hz"]),
        **terms,
    )


def _fractions(power: Tensor) -> np.ndarray:
    return power.clamp(0.0, 1.0).numpy().astype(np.float32)
