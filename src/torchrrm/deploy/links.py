"""What surrounds the network of a power policy in a control loop: ratios to noise, limits, safe rule."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from torchrrm.deploy.arrays import Array, check, mask, numbers, reals
from torchrrm.kernels.links import MOST_RATIO

__all__ = ["PowerService", "PreparedLinks"]


@dataclass(frozen=True)
class PreparedLinks:
    """Links in double precision.

    Attributes:
        relative_gain: `g_kj p_max,j / n`, 0 where an end is not active, `[batch rx tx]`.
        condition: priority, weight or demand of each link, whichever the policy reads, `[batch tx]`.
        max_power_w: limit of each active link, 0 of the others, `[batch tx]`.
        active: links that may transmit, `[batch tx]`.
    """

    relative_gain: Array
    condition: Array
    max_power_w: Array
    active: Array


_TOLERANCE = {"power": 1e-6, "sign": 0.0, "inactive": 0.0}
_CONDITIONS = ("priority", "weight", "demand")


class PowerService:
    """Serves `WeightedSumRate` without torch.

    Args:
        deployment: of a power policy: `condition`, which of `priority`, `weight` and `demand` it reads, or None;
            `links`, how many it is made for, if not for any number.
    """

    def __init__(self, deployment: Mapping[str, Any]):
        self.condition = deployment["condition"]
        self.links: int | None = deployment.get("links")
        if self.condition is not None and self.condition not in _CONDITIONS:
            raise ValueError(f"condition: must be one of {', '.join(_CONDITIONS)}, received {self.condition}")
        self.tolerance = _TOLERANCE

    def prepare(
        self,
        *,
        gain: ArrayLike,
        noise_power_w: ArrayLike,
        max_power_w: ArrayLike,
        weight: ArrayLike = 1.0,
        active: ArrayLike = True,
        priority: ArrayLike = 1.0,
        demand_bps_hz: ArrayLike = 0.0,
    ) -> tuple[tuple[int, ...], PreparedLinks]:
        """Check the instance, by the rules of `WeightedSumRate.validate`, and relate gains to the noise.

        Args:
            gain: linear power gains, `[*batch rx tx]`; `gain[..., k, j]` is transmitter `j` to receiver `k`.
            noise_power_w: at the receivers in W, `[*batch]` or one for all.
            max_power_w: limits in W, `[*batch tx]` or one for all.
            weight: of each link's rate, `[*batch tx]` or one for all; read by a policy that was trained for
                weights.
            active: links that may transmit, `[*batch tx]`.
            priority: proportional-fairness ratios, `[*batch tx]` or one for all; read by a policy that was
                trained for them. The default is that of a first slot.
            demand_bps_hz: rates that links are owed, in bit/s/Hz, `[*batch tx]` or one for all; read by a policy
                that was trained for them.
        """
        gains = numbers("gain", gain)
        batch, links = gains.shape[:-2], (*gains.shape[:-2], *gains.shape[-1:])
        if gains.ndim < 2 or gains.shape[-1] != gains.shape[-2] or not gains.size:
            rule = "must be square and not empty, of shape [*batch, rx, tx]"
            raise ValueError(f"gain: {rule}, received {list(gains.shape)}")
        if self.links not in (None, links[-1]):
            raise ValueError(f"gain: must be that of {self.links} links, received {links[-1]}")
        here = mask("active", active, links)
        both = _pairs(gains, here)
        noise = reals("noise_power_w", noise_power_w, batch, positive=True)
        limit = np.where(here, reals("max_power_w", max_power_w, links, positive=True, where=here), 0.0)
        given = {"weight": weight, "priority": priority, "demand": demand_bps_hz}
        read = {name: reals(name, value, links, where=here) for name, value in given.items()}
        with np.errstate(over="ignore"):  # of what overflows the network makes nothing that is accepted
            ratio = np.minimum(
                np.where(both, gains, 0.0) * (limit / noise[..., None])[..., None, :], MOST_RATIO
            )
        per_link = (np.where(here, read.get(self.condition, 1.0), 0.0), limit, here)
        return batch, PreparedLinks(
            ratio.reshape(-1, *gains.shape[-2:]), *(array.reshape(-1, links[-1]) for array in per_link)
        )

    def inputs(self, prepared: PreparedLinks) -> dict[str, Array]:
        """Inputs of `PowerGNN.core`, and more than `CentralPower.core` reads."""
        return vars(prepared)

    def action(self, prepared: PreparedLinks, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """Powers in W: the core's."""
        return {name: array.astype(np.float64) for name, array in outputs.items()}

    def scheduled(self, prepared: PreparedLinks) -> Array:
        """Links that may transmit, `[batch tx]`."""
        return prepared.active

    def violation(self, prepared: PreparedLinks, action: Mapping[str, Array]) -> dict[str, Array]:
        """Largest relative violation in each instance, `[batch]`; `inf` where the action is not finite.

        Those of `WeightedSumRate.evaluate`, and `inactive`: the largest power of a link that is not active, in
        parts of the largest limit.
        """
        power, active = action["power_w"], prepared.active
        whole = np.isfinite(power).all(-1, keepdims=True)
        share = np.where(active & whole, power, 0.0) / np.where(active, prepared.max_power_w, 1.0)
        stray = np.where(active | ~whole, 0.0, np.abs(power)).max(-1) / prepared.max_power_w.max(-1)
        over = np.where(active, share - 1.0, -np.inf).max(-1)
        found = {"power": over, "sign": (-share).max(-1), "inactive": stray}
        return {name: np.where(whole.reshape(-1), value, np.inf) for name, value in found.items()}

    def safe(self, prepared: PreparedLinks) -> dict[str, Array]:
        """Each active link at its limit."""
        return {"power_w": prepared.max_power_w}

    def notes(self, prepared: PreparedLinks, feasible: Array) -> dict[str, Array]:
        """Nothing."""
        return {}

    def example(self) -> dict[str, Any]:
        """Two links that hear each other a little, or as many as the policy is made for."""
        gain = np.where(np.eye(self.links or 2, dtype=bool), 1e-9, 1e-11)
        return {"gain": gain, "noise_power_w": 1e-13, "max_power_w": 0.01}

    def draw(self, batch: int, size: int, rng: np.random.Generator) -> dict[str, Any]:
        """Return random links, some not active: direct channels of up to 40 dB, cross channels of 0 to 20 dB."""
        links = (batch, self.links or size)
        gain = 10 ** (-11 + 2 * rng.random((*links, links[-1])))
        places = np.arange(links[-1])
        gain[:, places, places] += 1e-9 * rng.random(links)
        active = rng.random(links) > 0.2
        active[:, 0] = True
        return {
            "gain": gain,
            "noise_power_w": 1e-13 * (1 + rng.random(batch)),
            "max_power_w": 0.01 * (0.5 + rng.random(links)),
            "weight": 0.5 + rng.random(links),
            "active": active,
            "priority": 0.5 + rng.random(links),
            "demand_bps_hz": 2 * rng.random(links),
        }


def _pairs(gain: Array, active: Array) -> Array:
    """Where both ends are active, `[*batch rx tx]`, once gains are checked there and somebody is active."""
    idle = np.asarray(~active.any(-1))
    if idle.any():
        place = f" at {np.argwhere(idle)[0].tolist()}" if idle.ndim else ""
        raise ValueError(f"active: must hold at least one active link, received none{place}")
    both = active[..., :, None] & active[..., None, :]
    check("gain", gain, positive=False, where=both)
    check("direct gain", np.diagonal(gain, axis1=-2, axis2=-1), positive=True, where=active)
    return both
