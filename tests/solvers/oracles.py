"""Slices solved by other means: numpy on the printed formulae, a table of every curve, and a search for the price.

Shares no code with the library. Curves are tabulated from the minimum bandwidth to the whole slice; at a price each
user takes its best entry of the table, wherever that is, so that no concavity is assumed. The dual value found so, with
the tables made finer around the best entries, bounds every allocation.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

Curve = Callable[[np.ndarray], np.ndarray]

BLOCK_S, EXPONENT = 0.125e-3, 1e-6
ERROR, LEAKAGE = float(stats.norm.isf(1e-5)), float(stats.norm.isf(1e-2))  # quantiles

# Rayleigh fading: E[f(g)] by the trapezoid in ln g.
_U = np.linspace(-42.0, 3.8, 160)
_GAIN = np.exp(_U)
_FINER = 120  # entries by which a table grows
_WEIGHT = np.exp(-_GAIN) * _GAIN * (_U[1] - _U[0])


def shannon(w: np.ndarray, c: float | np.ndarray) -> np.ndarray:
    """`w log2(1 + c/w)`."""
    return w * np.log1p(c / w) / math.log(2)


def loss(w: np.ndarray, c: float | np.ndarray, quantile: float) -> np.ndarray:
    """`sqrt(V / L) Q^-1 w / ln 2` with `L = T_s w`."""
    dispersion = 1 - (1 + c / w) ** -2.0
    return np.sqrt(dispersion / (BLOCK_S * w)) * quantile * w / math.log(2)


def curve(kind: str, c: float, e: float) -> Curve:
    """Rate of a user by bandwidth, for each of the six kinds."""
    short = kind.endswith("-short")

    def data_rate(w: np.ndarray, cn0: float | np.ndarray = c) -> np.ndarray:
        return shannon(w, cn0) - (loss(w, cn0, ERROR) if short else 0.0)

    def capacity(w: np.ndarray) -> np.ndarray:
        rate = data_rate(w[..., None], c * _GAIN)
        least = np.minimum(rate.min(-1, keepdims=True), 0.0)
        mean = (np.exp(-EXPONENT * (rate - least)) * _WEIGHT).sum(-1) / _WEIGHT.sum()
        return -np.log(mean) / EXPONENT + least[..., 0]

    def secrecy(w: np.ndarray) -> np.ndarray:
        lost = loss(w, c, ERROR) + loss(w, e, LEAKAGE) if short else 0.0
        return shannon(w, c) - shannon(w, e) - lost

    return secrecy if kind.startswith("secrecy") else capacity if kind.startswith("effective") else data_rate


def minimum_bandwidth(rate: Curve, demand: float, limit: float) -> float:
    """First bandwidth up to the limit with the demanded rate, by a scan and Brent's method; `inf` if there is none."""
    grid = np.geomspace(1e-7 * limit, limit, 150)
    enough = np.flatnonzero(rate(grid) >= demand)
    if not enough.size:
        return math.inf
    first = int(enough[0])
    if first == 0:
        raise ValueError("the scan starts too late")
    found = optimize.root_scalar(
        lambda u: float(rate(np.exp(np.array([u])))[0]) - demand,
        bracket=(math.log(grid[first - 1]), math.log(grid[first])),
        xtol=1e-14,
        rtol=1e-14,
    )
    return math.exp(found.root)


@dataclass
class Outcome:
    """Users served, the bandwidth they need, an allocation found, its sum rate, and a bound on all sum rates."""

    served: np.ndarray
    least: np.ndarray
    width: np.ndarray
    value: float
    bound: float


def solve(kind: str, case: tuple, entries: int) -> Outcome:
    """Schedule and allocate one slice."""
    cn0, eavesdropper, min_rate, limit, active = case
    rates = [curve(kind, c, e) for c, e in zip(cn0, eavesdropper, strict=True)]
    least = np.full(cn0.size, math.inf)
    for i in np.flatnonzero(active & (cn0 > eavesdropper)):
        least[i] = minimum_bandwidth(rates[i], min_rate[i], limit)
    order = np.argsort(least, kind="stable")
    chosen = order[: int((np.cumsum(least[order]) <= limit).sum())]
    served = np.zeros(cn0.size, np.bool_)
    served[chosen] = True
    if not chosen.size:
        return Outcome(served, least, np.zeros(cn0.size), 0.0, 0.0)
    width, bound = _allocate([rates[i] for i in chosen], least[chosen], limit, entries)
    full = np.zeros(cn0.size)
    full[chosen] = width
    return Outcome(served, least, full, _sum(rates, full), bound)


def _sum(rates: list[Curve], width: np.ndarray) -> float:
    return math.fsum(float(rates[i](width[i : i + 1])[0]) for i in np.flatnonzero(width))


def _allocate(rates: list[Curve], least: np.ndarray, limit: float, entries: int) -> tuple[np.ndarray, float]:
    surplus = limit - least.sum()
    added = np.concatenate([[0.0], np.geomspace(1e-6, 1.0, entries)]) * np.full((least.size, 1), surplus)
    extra = table = np.empty((least.size, 0))
    while True:
        values = np.stack([rate(low + more) for rate, low, more in zip(rates, least, added, strict=True)])
        extra, table = np.concatenate([extra, added], 1), np.concatenate([table, values], 1)
        order = extra.argsort(1)
        extra, table = np.take_along_axis(extra, order, 1), np.take_along_axis(table, order, 1)
        price, below, above = _price(table, extra, surplus)
        if extra.shape[1] > entries + 4 * _FINER:
            break
        # Finer around the best entries just below and just above the price; an entry may be there twice.
        near = np.stack([below - 2, below + 2, above - 2, above + 2])
        ends = np.take_along_axis(extra, np.clip(near, 0, extra.shape[1] - 1).T, 1).T  # [4, user]
        inner = [np.linspace(ends[i], ends[i + 1], _FINER // 2 + 2)[1:-1] for i in (0, 2)]
        added = np.concatenate(inner).T
    chosen = np.stack([extra[np.arange(least.size), pick] for pick in (below, above)], 1)
    bound = price * surplus + (table - price * extra).max(1).sum()
    return least + _complete(rates, least, chosen, surplus), bound


def _price(table: np.ndarray, extra: np.ndarray, surplus: float) -> tuple[float, np.ndarray, np.ndarray]:
    """The price that spends the surplus, and each user's best entry just below and just above it."""

    def best(price: float) -> np.ndarray:
        return (table - price * extra).argmax(1)

    users = np.arange(len(extra))
    low, high = 0.0, 1e3
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if extra[users, best(middle)].sum() > surplus else (low, middle)
    return high, best(low), best(high)


def _complete(rates: list[Curve], least: np.ndarray, chosen: np.ndarray, surplus: float) -> np.ndarray:
    """What users take beyond their least bandwidth: between both demands, or what is left to one of them."""
    more, most = chosen[:, 1], np.maximum(chosen[:, 0], chosen[:, 1])
    more = more * min(1.0, surplus / max(more.sum(), 1e-300))
    spare = surplus - more.sum()
    room = (most - more).sum()
    options = [more + min(1.0, spare / room) * (most - more)] if room > 0 else [more]
    options += [more + spare * (np.arange(more.size) == i) for i in range(more.size)]
    return max(options, key=lambda option: _sum(rates, least + option))


def on_a_grid(rates: list[Curve], least: np.ndarray, limit: float, cells: int = 1000) -> float:
    """Best sum rate with the surplus in equal cells, by dynamic programming over users."""
    extra = (limit - least.sum()) * np.arange(cells + 1) / cells
    best = np.full(cells + 1, -np.inf)
    best[0] = 0.0
    for rate, low in zip(rates, least, strict=True):
        table = rate(low + extra)
        shifted = np.lib.stride_tricks.sliding_window_view(
            np.concatenate([np.full(cells, -np.inf), best]), cells + 1
        )
        best = (shifted[:, ::-1] + table).max(1)
    return float(best.max())
