"""What surrounds the network of a beamforming policy in a control loop: rates asked for, restoration, downlink."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from torchrrm.deploy.arrays import Array, complexes, mask, reals
from torchrrm.kernels import beam_power
from torchrrm.kernels.beam_terms import terms_batch
from torchrrm.kernels.gram import MOST_HEARD

__all__ = ["BeamService", "PreparedBeams"]

_MOVED = 1e-6  # of the limit: powers that are within it of the network's keep its beams
# In the order of what a report says first.
_TOLERANCE = {"min_rate": 1e-5, "power": 1e-6, "sign": 0.0, "beam": 1e-6, "inactive": 0.0}
# Compiled functions, which pyright takes for the plain ones that they are made from.
_terms: Callable[..., Any] = terms_batch
_least: Callable[..., Any] = beam_power.least
_least_batch: Callable[..., Any] = beam_power.least_batch
_restore: Callable[..., Any] = beam_power.restore
_restore_batch: Callable[..., Any] = beam_power.restore_batch


@dataclass(frozen=True)
class PreparedBeams:
    """Instances of one batch axis in double precision; users that are not active have zeros.

    Attributes:
        channel: `g_k = h_k sqrt(P) / sigma_k`, relative to noise and limit, `[batch user ant]`.
        limit: power of the station in W, `[batch]`.
        weight: of each user's rate, `[batch user]`.
        packet: blocklength and error probability, `[batch]`, and payload in bits, `[batch user]`.
        back_off: `theta` in nats, `[batch]`.
        least_rate, least_sinr: what each user must have, the rate in nats, `[batch user]`.
        active: users that are to be served, `[batch user]`.
    """

    channel: Array
    limit: Array
    weight: Array
    packet: tuple[Array, Array, Array]
    back_off: Array
    least_rate: Array
    least_sinr: Array
    active: Array

    def restored(self, wanted: Array) -> Array:
        """Shares nearest to those wanted that keep every minimum rate, see `torchrrm.kernels.beam_power`.

        Where nothing is wanted, nearest to equal ones.
        """
        if len(wanted) > 1:
            return _restore_batch(*self._arrays(slice(None)), wanted)[0]
        share = np.empty_like(wanted)
        _restore(*self._arrays(0), wanted[0], share[0])
        return share

    @cached_property
    def least(self) -> tuple[Array, Array, Array]:
        """Least shares; those to use, balanced where the least exceed the limit; and their beams."""
        beam = np.empty_like(self.channel)
        if len(beam) > 1:
            needed, share, *_ = _least_batch(*self._arrays(slice(None)), beam)
        else:
            needed, share = np.empty_like(self.weight), np.empty_like(self.weight)
            _least(*self._arrays(0), needed[0], share[0], beam[0])
        return needed, share, beam

    def _arrays(self, row: Any) -> tuple[Any, ...]:
        """One row, or all, as kernels take them: noise and limit are 1, since channels are relative."""
        one, packet = np.ones_like(self.weight), tuple(array[row] for array in self.packet)
        return self.channel[row], one[row], one[row, 0], packet, self.active[row]


class BeamService:
    """Serves `UrllcBeamforming` without torch.

    The network's powers are restored as the policy restores them: users whom they would leave below their minimum rate
    get exactly what reaches it (`torchrrm.kernels.beam_power.restore`), in double precision. What is checked is
    what the station sends: downlink powers and beams, by the rates at the users.

    Args:
        deployment: of a beamforming policy: `users`, how many it is made for, if not for any number.
    """

    def __init__(self, deployment: Mapping[str, Any]):
        self.users: int | None = deployment.get("users")
        self.tolerance = _TOLERANCE

    def prepare(
        self,
        *,
        channel: ArrayLike,
        noise_power_w: ArrayLike,
        max_power_w: ArrayLike,
        blocklength: ArrayLike,
        error_probability: ArrayLike,
        payload_bits: ArrayLike,
        weight: ArrayLike = 1.0,
        active: ArrayLike = True,
    ) -> tuple[tuple[int, ...], PreparedBeams]:
        """Check the instance, by the rules of `UrllcBeamforming.validate`, and relate channels to noise and limit.

        Args:
            channel: complex amplitudes, `[*batch user ant]`; a beam `w` reaches user `k` as `h_k^H w`.
            noise_power_w: at the users in W, `[*batch user]` or one for all.
            max_power_w: limit of the station in W, `[*batch]` or one for all.
            blocklength: channel uses of a packet, `[*batch]` or one for all.
            error_probability: of decoding a packet, below 1/2, `[*batch]` or one for all.
            payload_bits: of each user's packet, `[*batch user]` or one for all.
            weight: of each user's rate, `[*batch user]` or one for all.
            active: users that are to be served, `[*batch user]`.
        """
        amplitude = complexes("channel", channel)
        users, batch = amplitude.shape[:-1], amplitude.shape[:-2]
        if amplitude.ndim < 2 or not amplitude.size:
            rule = "must be complex and not empty, of shape [*batch, user, ant]"
            raise ValueError(f"channel: {rule}, received {list(amplitude.shape)}")
        if self.users not in (None, users[-1]):
            raise ValueError(f"channel: must be that of {self.users} users, received {users[-1]}")
        here = mask("active", active, users)
        amplitude = _heard(amplitude, here)
        noise = reals("noise_power_w", noise_power_w, users, positive=True, where=here)
        limit = reals("max_power_w", max_power_w, batch, positive=True)
        length = reals("blocklength", blocklength, batch, positive=True)
        error = reals("error_probability", error_probability, batch, positive=True)
        if (error >= 0.5).any():
            raise ValueError(f"error_probability: must be below 0.5, received {error.max()}")
        payload = reals("payload_bits", payload_bits, users, where=here)
        given = reals("weight", weight, users, where=here)
        with np.errstate(over="ignore", invalid="ignore"):  # of what overflows nothing is accepted
            scale = np.sqrt(limit[..., None] / np.where(here, noise, 1.0))
            relative = amplitude * scale[..., None]
            relative = relative * _audible(relative)
        per_user = np.where(here, given, 0.0), np.where(here, payload, 0.0), here
        return batch, _prepared(relative, per_user, (limit, length, error))

    def inputs(self, prepared: PreparedBeams) -> dict[str, Array]:
        """Inputs of `core`, and more than one of them may read."""
        return {
            "channel_real": np.real(prepared.channel),
            "channel_imag": np.imag(prepared.channel),
            "weight": prepared.weight,
            "back_off": prepared.back_off,
            "least_sinr": prepared.least_sinr,
            "active": prepared.active,
            "start": prepared.restored(prepared.active.astype(np.float64)),
        }

    def action(self, prepared: PreparedBeams, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """Uplink powers in W, restored, their unit beams, and the downlink powers of the same rates."""
        wanted, own = outputs["wanted"].astype(np.float64), outputs["share"]
        whole = np.isfinite(wanted).all(-1, keepdims=True)
        beam = outputs["beam_real"].astype(np.float64) + 1j * outputs["beam_imag"]
        share = np.where(whole, prepared.restored(np.where(whole, wanted, 0.0)), np.nan)
        moved = (np.abs(share - own) > _MOVED).any(-1)
        if moved.any():
            beam[moved] = _best_beams(prepared.channel[moved], share[moved])
        with np.errstate(invalid="ignore", over="ignore"):
            length = np.sqrt(_square(beam).sum(-1, keepdims=True))
        return _action(prepared, share, beam / np.where(length > 0, length, 1.0))

    def scheduled(self, prepared: PreparedBeams) -> Array:
        """Users that are to be served, `[batch user]`."""
        return prepared.active

    def violation(self, prepared: PreparedBeams, action: Mapping[str, Array]) -> dict[str, Array]:
        """Largest relative violation in each instance, `[batch]`; `inf` where the action is not finite.

        Those of `UrllcBeamforming.evaluate` for what the station sends, and `inactive`: the largest power of a user
        that is not active, in parts of the limit.
        """
        sent, beam, active = action["downlink_power_w"], action["beam"], prepared.active
        whole = np.logical_and(np.isfinite(sent).all(-1), np.isfinite(beam).all((-2, -1)))
        share = np.where(whole[:, None], sent, 0.0) / prepared.limit[:, None]
        beam = np.where(whole[:, None, None], beam, 0.0)
        rate = _rate(_sinr(_coupling(prepared.channel, beam), share), prepared.back_off[:, None])
        asked = prepared.least_rate > 0
        missing = np.where(asked, 1 - rate / np.where(asked, prepared.least_rate, 1.0), -np.inf).max(-1)
        length = _square(beam).sum(-1)
        found = {
            "min_rate": missing,
            "power": share.sum(-1) - 1,
            "sign": (-share).max(-1),
            "beam": np.where(active & (share > 0), np.abs(length - 1), 0.0).max(-1),
            "inactive": np.where(active, 0.0, np.abs(share)).max(-1),
        }
        return {name: np.where(whole, value, np.inf) for name, value in found.items()}

    def safe(self, prepared: PreparedBeams) -> dict[str, Array]:
        """Least powers that reach every minimum rate; where there are none within the limit, balanced ones."""
        return _action(prepared, *prepared.least[1:])

    def notes(self, prepared: PreparedBeams, feasible: Array) -> dict[str, Array]:
        """Least total power in W that would do, where the action is not feasible: infinite if none would; else NaN."""
        least = np.full(len(feasible), np.nan)
        if not feasible.all():
            least = np.where(feasible, least, prepared.least[0].sum(-1) * prepared.limit)
        return {"least_power_w": least}

    def example(self) -> dict[str, Any]:
        """As many users as the policy is made for, or two, whose channels are at right angles."""
        return {
            "channel": np.eye(self.users or 2, dtype=complex),
            "noise_power_w": 1.0,
            "max_power_w": 100.0,
            "blocklength": 128,
            "error_probability": 1e-5,
            "payload_bits": 32,
        }

    def draw(self, batch: int, size: int, rng: np.random.Generator) -> dict[str, Any]:
        """Return random users, some not active, over 20 dB, Rayleigh fading, and twice as many antennas."""
        users = (batch, self.users or size)
        shape = (*users, 2 * users[-1])
        fading = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
        active = rng.random(users) > 0.2
        active[:, 0] = True
        return {
            "channel": fading * 10 ** -rng.random((*users, 1)),
            "noise_power_w": 1 + rng.random(users),
            "max_power_w": 100 * (0.5 + rng.random(batch)),
            "blocklength": 200 + 100 * rng.random(batch),
            "error_probability": 1e-5 * (1 + rng.random(batch)),
            "payload_bits": 50 + 50 * rng.random(users),
            "weight": 0.5 + rng.random(users),
            "active": active,
        }


def _heard(channel: Array, active: Array) -> Array:
    """The channels, 0 where not active, once they are checked and somebody is active."""
    idle = np.asarray(~active.any(-1))
    if idle.any():
        place = f" at {np.argwhere(idle)[0].tolist()}" if idle.ndim else ""
        raise ValueError(f"active: must hold at least one active user, received none{place}")
    channel = np.where(active[..., None], channel, 0.0)
    bad = ~np.isfinite(channel)
    if bad.any():
        place = np.argwhere(bad)[0]
        raise ValueError(f"channel: must be finite, received {channel[tuple(place)]} at {place.tolist()}")
    return channel


def _audible(relative: Array) -> Array:
    """What relative channels are multiplied by, as `relative_channel` takes them: 1 but in extremes."""
    size, most = (
        np.maximum(np.abs(np.real(relative)), np.abs(np.imag(relative))).max(-1, keepdims=True),
        MOST_HEARD**0.5,
    )
    factor = np.where(size > most, most / np.where(size > 0, size, 1.0), 1.0)
    return np.where(size < 1 / most, 0.0, factor)


def _prepared(
    channel: Array, per_user: tuple[Array, Array, Array], per_row: tuple[Array, Array, Array]
) -> PreparedBeams:
    """With one batch axis, contiguous."""
    size = channel.shape[-2:]
    weight, payload, active = (np.ascontiguousarray(a.reshape(-1, size[0])) for a in per_user)
    limit, length, error = (np.ascontiguousarray(a.reshape(-1)) for a in per_row)
    channel = np.ascontiguousarray(channel.reshape(-1, *size))
    back_off, rate, sinr = _terms(payload, length, error, active)
    return PreparedBeams(
        channel=channel,
        limit=limit,
        weight=weight,
        packet=(length, error, payload),
        back_off=back_off,
        least_rate=rate,
        least_sinr=sinr,
        active=active,
    )


def _best_beams(channel: Array, share: Array) -> Array:
    """Beams of the least mean square error, `sum_l g_l [(I + Q G)^-1]_lk`, of any length."""
    gram = channel.conj() @ channel.swapaxes(-1, -2)
    mix = np.linalg.inv(np.eye(share.shape[-1]) + share[..., None] * gram)
    return mix.swapaxes(-1, -2) @ channel


def _coupling(channel: Array, beam: Array) -> Array:
    """`C_kl = |g_k^H w_l|^2`, `[batch user beam]`."""
    product = channel.conj() @ beam.swapaxes(-1, -2)
    return _square(product)


def _square(value: Array) -> Array:
    """Squared magnitudes."""
    return np.real(value) ** 2 + np.imag(value) ** 2


def _sinr(coupled: Array, share: Array) -> Array:
    """`p_k C_kk / (1 + sum_{l != k} C_kl p_l)`, `[batch user]`; of the uplink with `C` transposed."""
    own = share * np.diagonal(coupled, axis1=-2, axis2=-1)
    return own / (1 + np.maximum((coupled @ share[..., None])[..., 0] - own, 0.0))


def _rate(sinr: Array, back_off: Array) -> Array:
    """Nats a channel use, see `torchrrm.rates.packet_rate`; not a number of powers that are none."""
    with np.errstate(invalid="ignore"):
        return np.log1p(sinr) - back_off * np.sqrt(np.maximum(sinr * (sinr + 2), 0.0)) / (1 + sinr)


def _action(prepared: PreparedBeams, share: Array, beam: Array) -> dict[str, Array]:
    """The action of uplink shares and unit beams; see `torchrrm.problems.beamforming.to_downlink`.

    Downlink powers have the same sum; what rounding makes of that, or of signs, where strong users are all but
    dependent, is cut off.
    """
    coupled = _coupling(prepared.channel, beam)
    target = _sinr(coupled.swapaxes(-1, -2), share)
    sent = target > 0
    own = np.where(sent, np.diagonal(coupled, axis1=-2, axis2=-1) / np.where(sent, target, 1.0), 1.0)
    system = np.where(sent[:, :, None] & sent[:, None, :], -coupled, 0.0)
    places = np.arange(share.shape[-1])
    system[:, places, places] = own
    try:
        down = np.linalg.solve(system, sent[..., None].astype(np.float64))[..., 0]
    except np.linalg.LinAlgError:  # of powers that no downlink has
        down = np.full_like(share, np.nan)
    down = np.maximum(np.where(np.isfinite(share), down, np.nan), 0.0)
    total = down.sum(-1, keepdims=True)
    down = down * np.minimum(1.0, share.sum(-1, keepdims=True) / np.where(total > 0, total, 1.0))
    limit = prepared.limit[:, None]
    return {"power_w": share * limit, "beam": beam, "downlink_power_w": down * limit}
