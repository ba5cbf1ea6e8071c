"""Adversarial downlinks of many antennas, and the falsifiers of `BeamformingBound` and of least powers.

Rates are those of the best beams at uplink power shares, `SINR_k = q_k g_k^H (I + sum_l q_l g_l g_l^H)^-1 g_k` over the
other users `l`, with channels relative to noise and limit, solved in extended precision.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from tests.falsify.harness import (
    DTYPES,
    TOLERANCE,
    Outcome,
    climb,
    log_uniform,
    move_shares,
    numbers,
    share_starts,
    solve,
    tensors,
)

from torchrrm.bench import in_double
from torchrrm.problems.beamforming import BeamAction, MisoInstance, UrllcBeamforming
from torchrrm.solvers import (
    BeamformingBound,
    MinimumPowerBeamforming,
    interference_free_bound,
    least_power_w,
    restored_power,
)

__all__ = ["beamforming", "least_beam_power"]

_TIGHT = 1e-6
_NODES = 400
_EXACT = 1e-6  # relative, of least powers
_VAGUE = 1e-3  # what rounding may take of least powers that are checked
_MOST_HEARD = 1e6  # amplitude over noise that users may have, and the inverse of what is not heard


@dataclass(frozen=True)
class Beams:
    """Instances, and what the evaluator of the tests reads of them.

    Attributes:
        channel: relative to noise and limit, `[instance user antenna]`; 0 where not active.
        back_off: `Q^-1(eps) / sqrt(n)`, `[instance 1]`.
    """

    instance: MisoInstance
    channel: np.ndarray
    back_off: np.ndarray
    active: np.ndarray
    weight: np.ndarray

    def sinr(self, share: np.ndarray) -> np.ndarray:
        """SINR of each user at shares `[... instance user]` under the best beams."""
        users = share.shape[-1]
        found = np.zeros(share.shape, np.longdouble)
        outer = (
            self.channel[..., :, :, None] * self.channel.conj()[..., :, None, :]
        )  # [instance user ant ant]
        for k in range(users):
            others = np.where(np.arange(users) == k, 0.0, share)
            matrix = np.eye(self.channel.shape[-1]) + np.einsum("...k,...kab->...ab", others, outer)
            target = np.broadcast_to(self.channel[:, k], matrix.shape[:-1])
            solved = solve(matrix, target)
            found[..., k] = share[..., k] * (target.conj() * solved).sum(-1).real
        return found

    def rate(self, share: np.ndarray) -> np.ndarray:
        """Rate of each user in nats a channel use."""
        sinr = self.sinr(share)
        root = np.sqrt(sinr * (sinr + 2)) / (1 + sinr)
        return np.where(self.active, np.log1p(sinr) - self.back_off * root, 0)


def draw_beams(rng: np.random.Generator, count: int) -> Beams:
    """Channels of 1 to 4 users and 1 to 4 antennas: all but parallel, equal, zero, of very unequal strength."""
    users, antennas, dtype = int(rng.integers(1, 5)), int(rng.integers(1, 5)), DTYPES[rng.integers(2)]
    shape, one = (count, users, antennas), (count, 1, 1)
    channel = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    common = rng.normal(size=(count, 1, antennas)) + 1j * rng.normal(size=(count, 1, antennas))
    near = np.where(rng.random(one) < 0.5, 1.0, log_uniform(rng, 1e-6, 1, one))
    channel = (1 - near) * common + near * channel
    channel = np.where(rng.random(one) < 0.1, common, channel)  # equal
    channel = channel * rng.choice([1.0, 10.0, 1e3], one) ** rng.uniform(-1, 1, (count, users, 1))
    channel = np.where(rng.random((count, users, 1)) < 0.04, 0.0, channel)
    scale = log_uniform(rng, 1e-12, 1e12, (count, 1))
    snr = np.where(
        rng.random((count, 1)) < 0.7,
        log_uniform(rng, 1e-1, 1e5, (count, 1)),
        log_uniform(rng, 1e-12, 1e12, (count, 1)),
    )
    limit = log_uniform(rng, 1e-6, 1e6, (count, 1))
    noise = tensors(limit * scale / snr * (1 + rng.random((count, users))), dtype)
    weight = np.where(rng.random((count, 1)) < 0.3, 1.0, rng.exponential(size=(count, users)))
    weight = np.where(rng.random((count, users)) < 0.1, 0.0, weight)
    active = rng.random((count, users)) < 0.9
    active[np.arange(count), rng.integers(users, size=count)] = True
    instance = MisoInstance(
        channel=tensors(channel * np.sqrt(scale)[..., None], dtype.to_complex()),
        noise_power_w=noise,
        max_power_w=tensors(limit[:, 0], dtype),
        weight=tensors(weight, dtype),
        blocklength=tensors(log_uniform(rng, 8, 1e4, (count,)), dtype),
        error_probability=tensors(log_uniform(rng, 1e-9, 0.4, (count,)), dtype),
        payload_bits=torch.zeros(count, users, dtype=dtype),
        active=torch.from_numpy(active),
    )
    return of_instance(instance)


def of_instance(instance: MisoInstance) -> Beams:
    """What the evaluator reads of instances."""
    active = instance.active.numpy()
    amplitude = np.sqrt(numbers(instance.max_power_w)[:, None] / numbers(instance.noise_power_w))
    channel = np.where(active[..., None], numbers(instance.channel), 0) * amplitude[..., None]
    size = np.maximum(np.abs(np.real(channel)), np.abs(np.imag(channel))).max(-1, keepdims=True)
    channel = channel * np.where(size > _MOST_HEARD, _MOST_HEARD / np.where(size > 0, size, 1), 1.0)
    channel = np.where(size < 1 / _MOST_HEARD, 0, channel)
    quantile = [-NormalDist().inv_cdf(p) for p in numbers(instance.error_probability)]
    back_off = (np.array(quantile) / np.sqrt(numbers(instance.blocklength)))[:, None]
    return Beams(instance, channel, back_off, active, np.where(active, numbers(instance.weight), 0.0))


def with_minima(rng: np.random.Generator, beams: Beams) -> tuple[Beams, np.ndarray]:
    """The instances with minimum rates that shares `[instance user]` of 3 to 300 % of the limit just reach."""
    shape = beams.active.shape
    total = rng.choice([0.03, 0.5, 0.99, 1.0, 1.0, 1.01, 3.0], (shape[0], 1))
    share = np.where(beams.active, rng.dirichlet(np.ones(shape[1]), shape[0]), 0.0)
    share = total * share / np.maximum(share.sum(-1, keepdims=True), 1e-300)
    length = numbers(beams.instance.blocklength)[:, None]
    bits = (beams.rate(share) * length / np.log(2)).astype(float)
    asked = (rng.random(shape) < 0.8) & (bits >= 1e-3) & (bits <= 99 * length)
    payload = tensors(np.where(asked & beams.active, bits, 0.0), beams.instance.max_power_w.dtype)
    values = {**vars(beams.instance), "payload_bits": payload}
    return of_instance(MisoInstance(**values)), share


def least_rate(beams: Beams) -> np.ndarray:
    """Minimum rates in nats a channel use."""
    least = numbers(beams.instance.payload_bits) * np.log(2) / numbers(beams.instance.blocklength)[:, None]
    return np.where(beams.active, least, 0.0)


def beamforming(rng: np.random.Generator) -> Outcome:
    """`BeamformingBound` and `interference_free_bound`, and feasibility as the problem evaluates it."""
    count = 12
    beams, given = with_minima(rng, draw_beams(rng, count))
    found, outcome = BeamformingBound(_TIGHT, _NODES).solve(beams.instance), Outcome(count)
    least, users = least_rate(beams), beams.active.shape[-1]

    def value(share: np.ndarray) -> np.ndarray:
        rate = beams.rate(share)
        kept = ((rate >= least) | (least <= 0)).all(-1)
        return np.where(kept, (beams.weight * rate).sum(-1), -np.inf)

    def spread(raw: np.ndarray) -> np.ndarray:
        """Shares of at most all power."""
        raw = np.where(beams.active, np.maximum(raw, 0), 0.0)
        return raw / np.maximum(raw.sum(-1, keepdims=True), 1)

    def move(rng: np.random.Generator, share: np.ndarray, size: float) -> np.ndarray:
        return spread(move_shares(rng, share, size))

    limit = numbers(beams.instance.max_power_w)
    own = np.where(beams.active, numbers(found.action.power_w) / limit[:, None], 0.0)
    starts = np.concatenate(
        [spread(own)[None], spread(given)[None], spread(share_starts(rng, 24, count, users))]
    )
    _, best = climb(rng, starts, value, move, steps=25, candidates=8)
    bound = numbers(found.upper_bound)
    outcome.below(best, bound, "search")
    outcome.below(best, numbers(interference_free_bound(beams.instance)), "search, interference-free bound")
    _check_action(beams, found.action, outcome)
    return outcome


def _check_action(beams: Beams, action: BeamAction, outcome: Outcome) -> None:
    """Compare objective and violations of an action, with the beams that it has, with those of the problem."""
    share = (
        np.where(beams.active, numbers(action.power_w), 0.0) / numbers(beams.instance.max_power_w)[:, None]
    )
    product = np.abs(np.einsum("bka,bla->bkl", beams.channel.conj(), numbers(action.beam))) ** 2  # user, beam
    users = share.shape[-1]
    cross = np.where(np.eye(users, dtype=bool), 0.0, product)
    sinr = share * np.einsum("bkk->bk", product) / (1 + np.einsum("blk,bl->bk", cross, share))
    root = np.sqrt(sinr * (sinr + 2)) / (1 + sinr)
    rate = np.where(beams.active, np.log1p(sinr) - beams.back_off * root, 0)
    least = least_rate(beams)
    missing = np.where(least > 0, (least - rate) / np.where(least > 0, least, 1), 0).max(-1)
    length = np.where(beams.active, (np.abs(numbers(action.beam)) ** 2).sum(-1) - 1, 0.0).max(-1)
    violation = np.maximum(np.maximum(missing, share.sum(-1) - 1), length)
    told = UrllcBeamforming().evaluate(in_double(beams.instance), in_double(action))
    outcome.judged(violation, told, "own action")
    terms = (beams.weight * (np.log1p(sinr) + beams.back_off * root)).sum(-1)
    outcome.equals((beams.weight * rate).sum(-1), told, "own action", terms)


def _bracket(beams: Beams, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Totals that the least shares lie between, from shares that reach the minimum rates but for rounding.

    Shares `q >= nu I(q)` are nowhere below the least ones, and those with `q <= nu I(q)` nowhere above [Yates1995].
    Multiples of given shares are tried, of which larger ones give higher rates to all.
    """
    least = least_rate(beams)
    asked = least > 0
    share = np.where(asked, share, 0.0)
    step = np.concatenate([[0.0], np.geomspace(1e-13, 0.5, 40)])
    low, high = np.zeros(len(share)), np.full(len(share), np.inf)
    for part in step:
        for factor in (1 - part, 1 + part):
            total, rate = factor * share.sum(-1), beams.rate(factor * share)
            high = np.where((rate >= least).all(-1, where=asked), np.minimum(high, total), high)
            low = np.where((rate <= least).all(-1, where=asked), np.maximum(low, total), low)
    return low, high


def _precision(beams: Beams, share: np.ndarray) -> np.ndarray:
    """Relative precision that float64 allows least powers: rounding of the noise, by what interference costs."""
    strength = (np.abs(beams.channel) ** 2).sum(-1)
    rate = np.where(share > 0, np.maximum(least_rate(beams), 1e-300), 1.0)
    alone = np.expm1(rate) / np.where(strength > 0, strength, 1.0)  # at least: less than the least SINR
    cost = np.where(share > 0, share / alone, 0.0).max(-1)
    return _EXACT + 64 * np.finfo(float).eps * strength.max(-1) * np.maximum(cost, 1.0)


def least_beam_power(rng: np.random.Generator) -> Outcome:
    """Least powers of minimum rates that known shares just reach, and with them whether they are feasible.

    Least powers must suffice, and be the least unless rounding leaves them no three digits, as
    `MinimumPowerBeamforming` says; such instances are not counted. Nor is anything asked where float64 cannot tell what
    antennas receive: amplitudes are known to the root of what powers are.
    """
    count = 12
    beams, share = with_minima(rng, draw_beams(rng, count))
    least = least_rate(beams)
    asked = least > 0
    low, high = _bracket(beams, share)
    close = _precision(beams, np.where(asked, share, 0.0))
    vague, lost = close > _VAGUE, np.sqrt(np.finfo(float).eps * close) > TOLERANCE
    outcome = Outcome(int((~vague).sum()))
    limit = numbers(beams.instance.max_power_w)
    needed = numbers(least_power_w(beams.instance)) / limit
    outcome.holds(vague | (needed <= high * (1 + close)), "more power is asked for than known powers take")
    longer = float(np.finfo(np.longdouble).eps / np.finfo(float).eps)  # rounding of the evaluator itself
    slack = np.where(vague, TOLERANCE + longer * close, close)
    outcome.holds(lost | (needed >= low * (1 - slack)), "less power is asked for than any powers take")
    solution = MinimumPowerBeamforming().solve(beams.instance)
    told = solution.converged.numpy()
    restored, within = restored_power(
        beams.instance, tensors(share * limit[:, None], beams.instance.max_power_w.dtype)
    )
    edge = vague | (np.abs(needed - 1) <= close)
    outcome.holds(edge | (told == within.numpy()), "the restored powers say something else")
    outcome.holds(vague | told | (high > 1 - close), "feasible minimum rates are called infeasible")
    outcome.holds(lost | ~told | (low < 1 + slack), "infeasible minimum rates are called feasible")
    # Powers are rounded to the precision of the instance, of which rates that are small differences make much.
    smallest = np.where(asked, least, np.inf).min(-1)
    rounding = 8 * torch.finfo(beams.instance.max_power_w.dtype).eps * (1 + 1 / smallest)
    for name, power_w, claimed in (
        ("least", solution.action.power_w, told & ~lost),
        ("restored", restored, within.numpy() & ~vague),
    ):
        part = np.where(beams.active, numbers(power_w) / limit[:, None], 0.0)
        rate = beams.rate(part)
        missing = np.where(asked, (least - rate) / np.where(asked, least, 1), 0).max(-1)
        met = (missing <= TOLERANCE + rounding) & (part.sum(-1) <= 1 + TOLERANCE)
        outcome.holds(~claimed | met, f"the {name} powers violate a constraint")
    return outcome
