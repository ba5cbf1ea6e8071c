"""The rates in arbitrary precision, from the formulae as printed; derivatives by numerical differentiation."""

from collections.abc import Callable

import mpmath

mpmath.mp.dps = 100

Terms = tuple[mpmath.mpf, mpmath.mpf]


def shannon(width: mpmath.mpf, cn0: mpmath.mpf) -> mpmath.mpf:
    """`w log2(1 + c/w)`."""
    return width * mpmath.log(1 + cn0 / width, 2)


def dispersion_loss(width: mpmath.mpf, cn0: mpmath.mpf) -> mpmath.mpf:
    """`sqrt(w V)` with `V = 1 - (1 + c/w)^-2`."""
    return mpmath.sqrt(width * (1 - (1 + cn0 / width) ** -2))


def short(factor: float) -> Callable[[mpmath.mpf, mpmath.mpf], Terms]:
    """Rate and loss of short blocks."""
    return lambda width, cn0: (shannon(width, cn0), mpmath.mpf(factor) * dispersion_loss(width, cn0))


def secrecy(loss: float, leakage: float) -> Callable[[mpmath.mpf, mpmath.mpf, mpmath.mpf], Terms]:
    """Secrecy rate and both losses together."""

    def terms(width: mpmath.mpf, cn0: mpmath.mpf, eavesdropper: mpmath.mpf) -> Terms:
        lost = mpmath.mpf(loss) * dispersion_loss(width, cn0)
        lost += mpmath.mpf(leakage) * dispersion_loss(width, eavesdropper)
        return shannon(width, cn0) - shannon(width, eavesdropper), lost

    return terms


def derivatives(terms: Callable[..., Terms], width: float, *cn0: float) -> list[tuple[float, float]]:
    """Value, slope and curvature by bandwidth, each with its scale: what rate and loss contribute, without signs."""
    fixed = [mpmath.mpf(value) for value in cn0]
    results = []
    for order in range(3):
        parts = [
            mpmath.diff(
                lambda w, part=part: terms(w, *fixed)[part],
                mpmath.mpf(width),
                order,
                h=mpmath.mpf(width) * mpmath.mpf("1e-25"),
            )
            for part in range(2)
        ]
        results.append((float(parts[0] - parts[1]), float(abs(parts[0]) + abs(parts[1]))))
    return results
