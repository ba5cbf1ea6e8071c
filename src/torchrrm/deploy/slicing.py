"""What surrounds the network of a slice policy in a control loop: schedule, features, constraints, safe rule."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from torchrrm.deploy.arrays import Array, mask, reals
from torchrrm.kernels import bandwidth, slice_check, slice_features

__all__ = ["PreparedSlices", "SliceService"]


@dataclass(frozen=True)
class PreparedSlices:
    """Slices with their schedules, in double precision.

    Attributes:
        cn0, eavesdropper_cn0, min_rate: `[batch user]`, in Hz and bit/s.
        limit: bandwidth of each slice in Hz, `[batch]`.
        scheduled: users that are served, `[batch user]`.
        least: their minimum bandwidth in Hz, 0 for the others, `[batch user]`.
        surplus: what is left to share in Hz, `[batch]`.
    """

    cn0: Array
    eavesdropper_cn0: Array
    min_rate: Array
    limit: Array
    scheduled: Array
    least: Array
    surplus: Array

    @property
    def slices(self) -> tuple[Array, ...]:
        """As the kernels of features take them."""
        return self.cn0, self.eavesdropper_cn0, self.limit, self.scheduled, self.least, self.surplus


# In the order of `slice_check.violations`.
_TOLERANCE = {"bandwidth": 1e-6, "min_rate": 1e-5, "unscheduled": 0.0, "sign": 0.0}
# Compiled functions, which pyright takes for the plain ones that they are made from.
_schedule_batch: Callable[..., Any] = bandwidth.schedule_batch
_violations: Callable[..., Any] = slice_check.violations
_FEATURES: Mapping[str, Callable[..., Array]] = slice_features.FEATURES


class SliceService:
    """Serves `SliceBandwidth` without torch.

    Args:
        deployment: of a slice policy: `kind`; `features`, a name in
            `torchrrm.kernels.slice_features.FEATURES`; `law`, the curve of rate by
            bandwidth as the kernels take it; `secrecy`, whether the eavesdropper counts.
    """

    def __init__(self, deployment: Mapping[str, Any]):
        exponent, loss, leakage, gain, weight = deployment["law"]
        nodes = np.array(gain, float), np.array(weight, float)
        if nodes[0].ndim != 1 or nodes[0].shape != nodes[1].shape:
            raise ValueError(
                f"law: must have a weight a gain, received {nodes[0].shape} and {nodes[1].shape}"
            )
        self.law = (float(exponent), float(loss), float(leakage), *nodes)
        self.secrecy = bool(deployment["secrecy"])
        self.features = _FEATURES[deployment["features"]]
        self.tolerance = _TOLERANCE

    def prepare(
        self,
        *,
        cn0_hz: ArrayLike,
        min_rate_bps: ArrayLike,
        bandwidth_hz: ArrayLike,
        eavesdropper_cn0_hz: ArrayLike | None = None,
        active: ArrayLike | None = None,
    ) -> tuple[tuple[int, ...], PreparedSlices]:
        """Check the instance and schedule it.

        Args:
            cn0_hz: carrier-to-noise density ratios in Hz, `[*batch user]`.
            min_rate_bps: minimum rates in bit/s, `[*batch user]` or one for all.
            bandwidth_hz: of the slice, `[*batch]` or one for all.
            eavesdropper_cn0_hz: `[*batch user]`; only the secrecy rate needs it.
            active: users that ask for service, `[*batch user]`; by default all.
        """
        cn0 = reals("cn0_hz", cn0_hz, None)
        if not cn0.ndim or not cn0.size:
            received = list(cn0.shape)
            raise ValueError(f"cn0_hz: must have shape [*batch, user], not empty, received {received}")
        if eavesdropper_cn0_hz is None and self.secrecy:
            raise ValueError("eavesdropper_cn0_hz: must be given for the secrecy rate, received none")
        heard = 0.0 if eavesdropper_cn0_hz is None else eavesdropper_cn0_hz
        eavesdropper_cn0 = reals("eavesdropper_cn0_hz", heard, cn0.shape) * self.secrecy
        min_rate = reals("min_rate_bps", min_rate_bps, cn0.shape)
        limit = reals("bandwidth_hz", bandwidth_hz, cn0.shape[:-1], positive=True)
        asking = mask("active", True if active is None else active, cn0.shape)
        return cn0.shape[:-1], self._schedule(cn0, eavesdropper_cn0, min_rate, limit, asking)

    def _schedule(
        self, cn0: Array, eavesdropper_cn0: Array, min_rate: Array, limit: Array, asking: Array
    ) -> PreparedSlices:
        def rows(array: Array) -> Array:
            return np.ascontiguousarray(array.reshape(-1, cn0.shape[-1]))

        slices = rows(cn0), rows(eavesdropper_cn0), rows(min_rate), np.ascontiguousarray(limit.reshape(-1))
        scheduled, least, surplus = _schedule_batch(*slices, rows(asking), self.law)
        return PreparedSlices(*slices, scheduled, least, np.maximum(surplus, 0.0))

    def inputs(self, prepared: PreparedSlices) -> dict[str, Array]:
        """Inputs of `SliceGNN.core`."""
        return {
            "features": self.features(*prepared.slices, self.law),
            "minimum_bandwidth_hz": prepared.least,
            "surplus_hz": prepared.surplus,
            "active": prepared.scheduled,
        }

    def action(self, prepared: PreparedSlices, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """Bandwidths in Hz: the core's."""
        return {name: array.astype(np.float64) for name, array in outputs.items()}

    def scheduled(self, prepared: PreparedSlices) -> Array:
        """Users that are served, `[batch user]`."""
        return prepared.scheduled

    def violation(self, prepared: PreparedSlices, action: Mapping[str, Array]) -> dict[str, Array]:
        """Largest relative violation in each slice, `[batch]`; `inf` where the action is not finite.

        Those of `SliceBandwidth.evaluate`, and `unscheduled`: the largest part of the slice that a user
        outside the schedule gets.
        """
        p = prepared
        terms = p.cn0, p.eavesdropper_cn0, p.min_rate, p.limit, p.scheduled, self.law
        return dict(zip(_TOLERANCE, _violations(action["bandwidth_hz"], *terms), strict=True))

    def safe(self, prepared: PreparedSlices) -> dict[str, Array]:
        """Equal surplus: `w_k = w_min,k + S / K`."""
        share = prepared.surplus / np.maximum(prepared.scheduled.sum(-1), 1)
        return {"bandwidth_hz": np.where(prepared.scheduled, prepared.least + share[:, None], 0.0)}

    def notes(self, prepared: PreparedSlices, feasible: Array) -> dict[str, Array]:
        """Nothing."""
        return {}

    def example(self) -> dict[str, Any]:
        """Two users, of whom an eavesdropper hears little."""
        return {
            "cn0_hz": [1e9, 1e8],
            "eavesdropper_cn0_hz": [1e6, 1e5],
            "min_rate_bps": 1e6,
            "bandwidth_hz": 100e6,
        }

    def draw(self, batch: int, size: int, rng: np.random.Generator) -> dict[str, Any]:
        """Return random slices: SNRs over 40 dB, some eavesdroppers stronger than the user, some users unscheduled."""
        users = (batch, size)
        cn0 = 10 ** (7 + 4 * rng.random(users))
        return {
            "cn0_hz": cn0,
            "eavesdropper_cn0_hz": 1.2 * cn0 * rng.random(users),
            "min_rate_bps": 2e6 * rng.random(users),
            "bandwidth_hz": size * 1e6 * (0.5 + 4 * rng.random(batch)),
            "active": rng.random(users) > 0.2,
        }
