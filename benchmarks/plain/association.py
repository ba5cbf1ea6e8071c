"""Effective-rate association as it is usually written, in loops over users and stations: to be timed against.

The method of `torchrrm.solvers.EffectiveRateAssociation` of one network, in the same steps.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Indices = NDArray[np.int64]

_LESS, _HALVINGS, _CONSISTENT, _PATIENCE = 0.01, 12, 1e-6, 10


class _Network:
    """Gains over the noise, `[user bs]`, and limits in W of one network; who is in reach of whom."""

    def __init__(self, gain: Reals, noise_power_w: float, max_power_w: Reals):
        self.gain, self.max_power_w = gain / noise_power_w, max_power_w
        self.users, self.stations = gain.shape

    def sinr(self, power_w: Reals, i: int, j: int) -> tuple[float, float]:
        """SINR of user `i` at station `j`, and noise and interference there."""
        heard = 1.0
        for m in range(self.stations):
            if m != j:
                heard += self.gain[i, m] * power_w[m]
        return self.gain[i, j] * power_w[j] / heard, heard

    def rates(self, power_w: Reals) -> Reals:
        """`ln(1 + SINR)` of each user at each station."""
        rate = np.zeros((self.users, self.stations))
        for i in range(self.users):
            for j in range(self.stations):
                rate[i, j] = math.log1p(self.sinr(power_w, i, j)[0])
        return rate

    def choose(self, rate: Reals, ratio: Reals, scale: Reals) -> Indices:
        """Each user's station by `scale_j (c_ij - ratio_j)`, of equal ones the strongest; -1 without any."""
        station = np.full(self.users, -1)
        for i in range(self.users):
            best = (-math.inf, 0.0)
            for j in range(self.stations):
                strength = self.gain[i, j] * self.max_power_w[j]
                promise = (scale[j] * (rate[i, j] - ratio[j]), strength)
                if strength > 0 and promise > best:
                    best, station[i] = promise, j
        return station

    def parameters(self, rate: Reals, station: Indices) -> tuple[Reals, Reals]:
        """Mean rates of stations and one over their users, of an association."""
        ratio, scale = np.zeros(self.stations), np.ones(self.stations)
        for j in range(self.stations):
            own = [i for i in range(self.users) if station[i] == j]
            if own:
                ratio[j], scale[j] = sum(rate[i, j] for i in own) / len(own), 1.0 / len(own)
        return ratio, scale

    def error(self, now: tuple[Reals, Reals], aim: tuple[Reals, Reals]) -> float:
        """How far parameters are from those of the association they lead to."""
        far = 0.0
        for j in range(self.stations):
            load = 1.0 / aim[1][j]
            far += (load * (now[0][j] - aim[0][j])) ** 2 + (load * now[1][j] - 1.0) ** 2
        return math.sqrt(far)

    def associate(self, rate: Reals, station: Indices, steps: int) -> tuple[Indices, float]:
        """The best association that the parameters, from those of the given one, lead to, and its value."""
        now = self.parameters(rate, station)
        station = self.choose(rate, *now)
        aim = self.parameters(rate, station)
        error, best, best_station = self.error(now, aim), aim[0].sum(), station
        for _ in range(steps):
            if error <= _CONSISTENT:
                break
            trials = []
            for k in range(_HALVINGS):
                length = 0.5**k
                moved = now[0] + length * (aim[0] - now[0]), now[1] + length * (aim[1] - now[1])
                station = self.choose(rate, *moved)
                there = self.parameters(rate, station)
                trials.append((self.error(moved, there), k, moved, there, station))
                if trials[-1][0] <= (1.0 - _LESS * length) * error:
                    trials = trials[-1:]
                    break
            error, _, now, aim, station = min(trials, key=lambda trial: trial[:2])
            if aim[0].sum() > best:
                best, best_station = aim[0].sum(), station
        return best_station, best

    def balance(self, power_w: Reals, station: Indices) -> tuple[float, Reals, Reals]:
        """The sum of effective rates, and by station what its power is worth and costs the others a W."""
        worth, toll, value = np.zeros(self.stations), np.zeros(self.stations), 0.0
        load = [max(1, sum(1 for s in station if s == j)) for j in range(self.stations)]
        for i in range(self.users):
            j = station[i]
            if j < 0 or power_w[j] == 0:
                continue
            sinr, heard = self.sinr(power_w, i, j)
            value += math.log1p(sinr) / load[j]
            worth[j] += sinr / (1.0 + sinr) / load[j]
            for m in range(self.stations):
                if m != j:
                    toll[m] += sinr / (1.0 + sinr) / load[j] * self.gain[i, m] / heard
        return value, worth, toll

    def climb(self, power_w: Reals, station: Indices, steps: int, tol: float) -> tuple[Reals, float]:
        """Powers by the update function until they gain little, and the sum of effective rates."""
        value, worth, toll = self.balance(power_w, station)
        for _ in range(steps):
            power_w = np.zeros(self.stations)
            for j in range(self.stations):
                if worth[j] > 0:
                    free = worth[j] >= toll[j] * self.max_power_w[j]
                    power_w[j] = self.max_power_w[j] if free else worth[j] / toll[j]
            old = value
            value, worth, toll = self.balance(power_w, station)
            if value - old <= tol * value:
                break
        return power_w, value


def effective_rate_plain(
    gain: Reals,
    noise_power_w: float,
    max_power_w: Reals,
    *,
    control: bool = True,
    start: Literal["equal", "max"] = "equal",
    association_steps: int = 10,
    power_steps: int = 100,
    max_steps: int = 100,
    tol: float = 1e-4,
) -> tuple[Indices, Reals, float]:
    """Stations of users, powers in W and the sum of rates in bit/s/Hz of a network, every user and station active.

    `gain` is `[user bs]`; the rest as in `torchrrm.solvers.EffectiveRateAssociation`.
    """
    network = _Network(gain, noise_power_w, max_power_w)
    nothing, one = np.zeros(network.stations), np.ones(network.stations)
    power_w = max_power_w if start == "max" or not control else np.full_like(max_power_w, max_power_w.min())
    rate = network.rates(power_w)
    station = network.choose(rate, nothing, one)
    if not control:
        first = network.parameters(rate, station)[0].sum()
        found, value = network.associate(rate, station, max_steps)
        return (
            (station, power_w, first / math.log(2))
            if first > value
            else (found, power_w, value / math.log(2))
        )
    best, chosen, waited = -1.0, (station, power_w), 0
    for _ in range(max_steps):
        station, _ = network.associate(network.rates(power_w), station, association_steps)
        power_w, value = network.climb(power_w, station, power_steps, tol)
        waited = 0 if value > best * (1.0 + tol) else waited + 1
        if value > best:
            best, chosen = value, (station, power_w)
        if waited >= _PATIENCE:
            break
    return *chosen, best / math.log(2)
