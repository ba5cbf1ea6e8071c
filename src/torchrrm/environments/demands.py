"""Power control under demands that change, slot by slot, as an environment of Gymnasium."""

import math
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict, MultiBinary
from jaxtyping import Float
from torch import Tensor

from torchrrm.channels import rayleigh_scenario
from torchrrm.problems import LinkInstance
from torchrrm.problems.links import relative_gain
from torchrrm.rates import interference_rate
from torchrrm.setups.links import LinkSource, LinkTerms
from torchrrm.units import db_to_linear, linear_to_db

__all__ = ["DemandsEnv", "DemandsSettings"]

Observation = dict[str, np.ndarray]
_ROUNDING = 1e-6  # what an action may exceed its bounds by


def _rayleigh_links() -> LinkSource:
    return LinkSource(rayleigh_scenario(), links=5, terms=LinkTerms.at_snr(15.0))


@dataclass(frozen=True)
class DemandsSettings:
    """What an episode is made of; the defaults are five links of Section IV-A of [Behmandpoor2024].

    Attributes:
        source: of the links. Of a range of links each window has a uniform number of users, the others are
            padding. Its `redraw_every` moves the receivers meanwhile; its minimum rates are not used.
        slots: of an episode.
        window: slots after which demands, and the number of users, change.
        demand_range_bps_hz: of each user's demand, uniform, if there is no schedule.
        schedule_bps_hz: demands of each window, a row of as many as the most links; after the last row, the
            first again.
        averaging_slots: over which rates are averaged: the mean since the last change while it is younger than that,
            then exponentially with a step of 1 over it.
        gain_range_db: to which observed gains are clipped, relative to the noise at full power.
    """

    source: LinkSource = field(default_factory=_rayleigh_links)
    slots: int = 1000
    window: int = 200
    demand_range_bps_hz: tuple[float, float] = (0.0, 1.0)
    schedule_bps_hz: tuple[tuple[float, ...], ...] | None = None
    averaging_slots: int = 200
    gain_range_db: tuple[float, float] = (-60.0, 120.0)

    def __post_init__(self) -> None:
        for name in ("slots", "window", "averaging_slots"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: must be at least 1, received {getattr(self, name)}")
        least, most = self.demand_range_bps_hz
        if not 0.0 <= least <= most < math.inf:
            raise ValueError(
                f"demand_range_bps_hz: must be ascending, finite and not negative, received {(least, most)}"
            )
        floor, ceiling = self.gain_range_db
        if not -math.inf < floor < ceiling < math.inf:
            raise ValueError(f"gain_range_db: must be ascending and finite, received {(floor, ceiling)}")
        if self.schedule_bps_hz is not None:
            self._require_schedule(self.schedule_bps_hz)

    def _require_schedule(self, schedule: tuple[tuple[float, ...], ...]) -> None:
        lengths = {len(row) for row in schedule}
        if lengths != {self.max_links}:
            raise ValueError(
                f"schedule_bps_hz: must have rows of {self.max_links} demands, received {sorted(lengths) or 'none'}"
            )
        bad = [value for row in schedule for value in row if not 0.0 <= value < math.inf]
        if bad:
            raise ValueError(f"schedule_bps_hz: must be finite and not negative, received {bad[0]}")

    @property
    def max_links(self) -> int:
        """The most users at a time."""
        return self.source.span[1]

    @property
    def max_demand_bps_hz(self) -> float:
        """The largest demand that can occur."""
        if self.schedule_bps_hz is None:
            return self.demand_range_bps_hz[1]
        return max(map(max, self.schedule_bps_hz))

    @property
    def max_rate_bps_hz(self) -> float:
        """The rate without interference at the largest gain that is observed."""
        return math.log2(1.0 + db_to_linear(self.gain_range_db[1]))


@dataclass(frozen=True)
class _Episode:
    """All that is random in an episode, and the slot after it, which the last observation shows.

    Attributes:
        gain: relative to the noise at full power, 0 of padding.
        gain_db: what is observed of it, `[slot rx tx]`.
        demand_bps_hz: of each user, `[slot tx]`, 0 of padding.
        active: 1 where there is a user, `[slot tx]`.
    """

    gain: Float[Tensor, "slot rx tx"]
    gain_db: np.ndarray
    demand_bps_hz: np.ndarray
    active: np.ndarray

    def rate(self, slot: int, power: np.ndarray) -> np.ndarray:
        """Rates of a slot in bit/s/Hz, `[tx]`, of powers as fractions of the limits."""
        gain = self.gain[slot]
        return interference_rate(gain, torch.from_numpy(power).to(gain), gain.new_ones(())).numpy()


class DemandsEnv(gymnasium.Env[Any, np.ndarray]):
    """The sum rate of links, slot by slot, while each user is owed a mean rate that changes now and then.

    The problem of Section II of [Behmandpoor2024] for any agent: the reward of a slot is the sum rate in bit/s/Hz;
    that the users' mean rates reach their demands is a long-term constraint, whose signals are in `info`. An agent
    that does not want to learn takes powers from `torchrrm.environments.AllocatorAgent` or `ControllerAgent`.

    *Observation*, of `n = settings.max_links` users, float32, 0 (gains: the least) where there is no user:

    - `gain_db` `[n n]`: `10 log10(|h_kj|^2 p_max,j / n_0)` from transmitter `j` to receiver `k` in the coming slot;
    - `demand_bps_hz` and `mean_rate_bps_hz` `[n]`: what is owed, and the moving average since the last change;
    - `active` `[n]`: where there is a user, 1;
    - `elapsed` `[1]`: the part of the window, between two changes, that is over.

    *Action* `[n]`: powers as fractions of the limits; those of padding are ignored.

    *Info* after a slot, of the users who were there in it: `rate_bps_hz`, `mean_rate_bps_hz`, `active`;
    `shortfall_bps_hz`, demand less mean rate, at most 0 where met; `violation`, Eq. (12) of [Behmandpoor2024] as a
    fraction, `max_i (u_i - R_i)^+ / u_i` over users with a demand; `slot`; and `changes`, a line that says what is
    different from the next slot on, or nothing. `reset` gives `slot` and `changes`.

    An episode is truncated after `settings.slots` slots and never terminates. The whole of it is drawn on
    `reset`, as a function of the seed. Registered as `torchrrm/Demands-v0`.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, settings: DemandsSettings | None = None):
        self.settings = DemandsSettings() if settings is None else settings
        links, single = (self.settings.max_links,), np.float32
        low, high = self.settings.gain_range_db
        most = self.settings.max_rate_bps_hz
        self.observation_space = Dict(
            {
                "gain_db": Box(low, high, links * 2, single),
                "demand_bps_hz": Box(0.0, self.settings.max_demand_bps_hz, links, single),
                "mean_rate_bps_hz": Box(0.0, most, links, single),
                "active": MultiBinary(links[0]),
                "elapsed": Box(0.0, 1.0, (1,), single),
            }
        )
        self.action_space = Box(0.0, 1.0, links, single)
        self._episode: _Episode | None = None
        self._slot = 0
        self._mean_rate = np.zeros(links)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draw an episode; see `gymnasium.Env.reset`. There are no options."""
        super().reset(seed=seed)
        generator = torch.Generator().manual_seed(int(self.np_random.integers(2**62)))
        self._episode, self._slot = _draw(self.settings, generator), 0
        self._mean_rate = np.zeros(self.settings.max_links)
        return self._observation(), {"slot": 0, "changes": self._changes()}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Transmit for a slot; see `gymnasium.Env.step`.

        Raises:
            ValueError: if the action has another shape or exceeds its bounds, or if no slot is to come.
        """
        episode, slot = self._drawn, self._slot
        if slot == self.settings.slots:
            raise ValueError(f"step: must be one of {slot} after a reset, received one more")
        rate = episode.rate(slot, self._fractions(action))
        age = slot % self.settings.window + 1
        self._mean_rate = self._mean_rate + (rate - self._mean_rate) / min(age, self.settings.averaging_slots)
        info = self._constraints(rate)
        self._slot += 1
        if self._slot % self.settings.window == 0:
            self._mean_rate = np.zeros_like(self._mean_rate)
        truncated = self._slot == self.settings.slots
        info |= {"slot": slot, "changes": "" if truncated else self._changes()}
        return self._observation(), float(rate.sum()), False, truncated, info

    def _fractions(self, action: np.ndarray) -> Float[np.ndarray, " tx"]:
        values = np.asarray(action, np.float64)
        if values.shape != self.action_space.shape:
            raise ValueError(f"action: must have shape {self.action_space.shape}, received {values.shape}")
        bad = ~((values >= -_ROUNDING) & (values <= 1.0 + _ROUNDING))
        if bad.any():
            raise ValueError(f"action: must lie in [0, 1], received {values[bad][0]} at {int(bad.argmax())}")
        return values.clip(0.0, 1.0)

    def _constraints(self, rate: np.ndarray) -> dict[str, Any]:
        """What `info` says of a slot's users."""
        demand = self._drawn.demand_bps_hz[self._slot]
        shortfall = demand - self._mean_rate
        missing = shortfall.clip(min=0.0) / np.where(demand > 0.0, demand, np.inf)
        return {
            "rate_bps_hz": rate.astype(np.float32),
            "mean_rate_bps_hz": self._mean_rate.astype(np.float32),
            "shortfall_bps_hz": shortfall.astype(np.float32),
            "violation": float(missing.max()),
            "active": self._drawn.active[self._slot].copy(),
        }

    def _observation(self) -> Observation:
        episode, slot = self._drawn, self._slot
        elapsed = (slot % self.settings.window) / self.settings.window
        return {
            "gain_db": episode.gain_db[slot].copy(),
            "demand_bps_hz": episode.demand_bps_hz[slot].copy(),
            "mean_rate_bps_hz": self._mean_rate.clip(max=self.settings.max_rate_bps_hz).astype(np.float32),
            "active": episode.active[slot].copy(),
            "elapsed": np.array([elapsed], np.float32),
        }

    def _changes(self) -> str:
        """What is different from the coming slot on."""
        episode, slot = self._drawn, self._slot
        if slot % self.settings.window:
            return ""
        demand = episode.demand_bps_hz[slot][episode.active[slot] > 0]
        demands = ", ".join(f"{value:.3g}" for value in demand)
        return f"slot {slot}: {len(demand)} users, demands {demands} bit/s/Hz"

    @property
    def _drawn(self) -> _Episode:
        if self._episode is None:
            raise ValueError("step: must follow a reset, received none")
        return self._episode


def _draw(settings: DemandsSettings, generator: torch.Generator) -> _Episode:
    slots, source = settings.slots + 1, settings.source
    gain = source.sample_gain(1, slots=slots, generator=generator)[0][0]  # [slot rx tx]
    window = torch.arange(slots) // settings.window
    windows = int(window[-1]) + 1
    active = source.sample_active(windows, generator=generator)[window]
    demand = _demands(settings, windows, generator)[window] * active
    links = LinkInstance(
        gain=gain,
        noise_power_w=gain.new_full((slots,), source.terms.noise_power_w),
        max_power_w=gain.new_full(active.shape, source.terms.max_power_w),
        weight=active.to(gain.dtype),
        active=active,
    )
    relative = relative_gain(links)
    observed = linear_to_db(relative).clamp(*settings.gain_range_db)
    return _Episode(
        gain=relative,
        gain_db=observed.numpy().astype(np.float32),
        demand_bps_hz=demand.numpy().astype(np.float32),
        active=active.numpy().astype(np.int8),
    )


def _demands(
    settings: DemandsSettings, windows: int, generator: torch.Generator
) -> Float[Tensor, "window tx"]:
    """Of every window, padding included."""
    if settings.schedule_bps_hz is not None:
        rows = torch.tensor(settings.schedule_bps_hz)
        return rows[torch.arange(windows) % len(rows)]
    least, most = settings.demand_range_bps_hz
    # Rounding must not lead out of the range, which bounds what is observed.
    share = torch.rand(windows, settings.max_links, generator=generator)
    return (least + (most - least) * share).clamp(least, most)
