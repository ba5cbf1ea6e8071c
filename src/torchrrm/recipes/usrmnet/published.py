"""The numbers printed in [He2022USRMNet]: Tables I to III, and what its text says of Figs. 5 to 7."""

from dataclasses import dataclass

__all__ = ["FIGURES", "TABLE1", "TABLE2", "TABLE3", "Printed", "PrintedOperations", "Regime", "Ring"]

Regime = tuple[int, int, int]
"""SNR in dB, antennas, blocklength."""
Ring = tuple[int, int]
"""Distances of the users in m."""


@dataclass(frozen=True)
class Printed:
    """One cell of Tables I and II.

    Attributes:
        hebf, usrmnet: weighted sum rates in nats a channel use.
        ratio: `varpi_1`, of USRMNet to HeBF, in per cent.
        met: `varpi_2`, test samples whose auxiliary variables violate nothing, in per cent.
    """

    hebf: float
    usrmnet: float
    ratio: float
    met: float


@dataclass(frozen=True)
class PrintedOperations:
    """One column of Table III: operations, and `varpi_3` in per cent."""

    hebf: float
    usrmnet: float
    ratio: float


TABLE1: dict[tuple[Regime, int], Printed] = {
    ((15, 32, 256), 4): Printed(2.3211, 2.3181, 99.87, 100.00),
    ((15, 32, 256), 6): Printed(1.9033, 1.8999, 99.82, 100.00),
    ((15, 32, 256), 8): Printed(1.6058, 1.6023, 99.78, 100.00),
    ((15, 32, 256), 10): Printed(1.3801, 1.3785, 99.88, 100.00),
    ((15, 64, 128), 4): Printed(2.9138, 2.9134, 99.99, 100.00),
    ((15, 64, 128), 6): Printed(2.4997, 2.4993, 99.98, 100.00),
    ((15, 64, 128), 8): Printed(2.2029, 2.2023, 99.97, 100.00),
    ((15, 64, 128), 10): Printed(1.9726, 1.9717, 99.95, 100.00),
    ((20, 32, 128), 4): Printed(3.3012, 3.2987, 99.92, 100.00),
    ((20, 32, 128), 6): Printed(2.8436, 2.8381, 99.81, 99.98),
    ((20, 32, 128), 8): Printed(2.5033, 2.5005, 99.89, 100.00),
    ((20, 32, 128), 10): Printed(2.2300, 2.2267, 99.85, 100.00),
    ((20, 32, 256), 4): Printed(3.4147, 3.4059, 99.74, 100.00),
    ((20, 32, 256), 6): Printed(2.9543, 2.9417, 99.57, 99.96),
    ((20, 32, 256), 8): Printed(2.6146, 2.6026, 99.54, 99.98),
    ((20, 32, 256), 10): Printed(2.3387, 2.3343, 99.81, 99.88),
}
"""By regime and number of users. The print gives the last block as `N_t = 256`, `n = 128`: columns that slipped."""

TABLE2: dict[tuple[Ring, int], tuple[Printed, ...]] = {
    ((120, 140), 4): (
        Printed(2.7547, 2.7506, 99.85, 100.00),
        Printed(1.9507, 1.9460, 99.76, 100.00),
        Printed(1.6392, 1.6308, 99.49, 99.60),
        Printed(1.3757, 1.3697, 99.56, 99.70),
    ),
    ((120, 140), 6): (
        Printed(2.3147, 2.3085, 99.73, 99.54),
        Printed(1.5570, 1.5535, 99.78, 100.00),
        Printed(1.2731, 1.2662, 99.46, 100.00),
        Printed(1.0414, 1.0357, 99.45, 98.20),
    ),
    ((100, 140), 4): (
        Printed(1.7975, 1.7922, 99.71, 100.00),
        Printed(1.6442, 1.6364, 99.53, 99.96),
        Printed(1.5096, 1.5069, 99.82, 100.00),
        Printed(1.9727, 1.9691, 99.82, 100.00),
    ),
    ((100, 140), 6): (
        Printed(1.4172, 1.4064, 99.24, 100.00),
        Printed(1.2816, 1.2702, 99.83, 100.00),
        Printed(1.1579, 1.1460, 98.97, 100.00),
        Printed(0.9417, 0.9293, 98.68, 99.82),
    ),
}
"""By the ring that was trained on and the number of users, in the order of the columns; 15 dB, N_t = 32, n = 256."""

TABLE3: dict[int, PrintedOperations] = {
    4: PrintedOperations(7.77e5, 2.68e5, 34.52),
    6: PrintedOperations(4.10e6, 4.20e5, 10.24),
    8: PrintedOperations(2.00e7, 5.48e5, 2.74),
    10: PrintedOperations(7.63e7, 6.93e5, 0.91),
}
"""By the number of users, for 32 antennas."""

FIGURES: dict[str, str] = {
    "fig05": "objective, loss and violation reach a stable point in each of five layers, for starts (2, 2), (1, 1) and "
    "(0, 0) of the scales",
    "fig06": "both scales converge to a similar point from all three starts",
    "fig07": "the objective basically does not increase beyond layer 2; 99 % of the test samples have a violation "
    "of 0, and only these are averaged over",
}
