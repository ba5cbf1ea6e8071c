"""The rates in arbitrary precision, from the formulae as printed; derivatives by numerical differentiation."""

from collections.abc import Callable
from typing import Any

import mpmath
from mpmath import mpf

mpmath.mp.dps = 100

Precise = Any  # mpmath's numbers carry no types
Terms = tuple[Precise, Precise]


def shannon(width: Precise, cn0: Precise) -> Precise:
    """`w log2(1 + c/w)`."""
    return width * mpmath.log(1 + cn0 / width, 2)


def dispersion_loss(width: Precise, cn0: Precise) -> Precise:
    """`sqrt(w V)` with `V = 1 - (1 + c/w)^-2`."""
    return mpmath.sqrt(width * (1 - (1 + cn0 / width) ** -2))


def short(factor: float) -> Callable[[Precise, Precise], Terms]:
    """Rate and loss of short blocks."""
    return lambda width, cn0: (shannon(width, cn0), mpf(factor) * dispersion_loss(width, cn0))


def secrecy(loss: float, leakage: float) -> Callable[[Precise, Precise, Precise], Terms]:
    """Secrecy rate and both losses together."""

    def terms(width: Precise, cn0: Precise, eavesdropper: Precise) -> Terms:
        lost = mpf(loss) * dispersion_loss(width, cn0)
        lost += mpf(leakage) * dispersion_loss(width, eavesdropper)
        return shannon(width, cn0) - shannon(width, eavesdropper), lost

    return terms


def derivatives(terms: Callable[..., Terms], width: float, *cn0: float) -> list[tuple[float, float]]:
    """Value, slope and curvature by bandwidth, each with its scale: what rate and loss contribute, without signs."""
    fixed = [mpf(value) for value in cn0]
    results = []
    for order in range(3):
        parts = [
            mpmath.diff(
                lambda w, part=part: terms(w, *fixed)[part],
                mpf(width),
                order,
                h=mpf(width) * mpf("1e-25"),
            )
            for part in range(2)
        ]
        results.append((float(parts[0] - parts[1]), float(abs(parts[0]) + abs(parts[1]))))
    return results
