"""What [Behmandpoor2024] prints: sum rates in bit/s/Hz, violations (Eq. (12)) in per cent."""

__all__ = ["TABLE1", "TABLE2", "TABLE3", "TABLE4"]

TABLE1: dict[float, dict[str, float]] = {
    0.25: {"central, diverse": 5.88, "central": 5.63, "local, diverse": 5.82, "local": 5.45, "WMMSE": 5.88},
    0.5: {"central, diverse": 6.38, "central": 6.30, "local, diverse": 6.31, "local": 6.09, "WMMSE": 6.8},
    0.75: {"central, diverse": 6.56, "central": 6.56, "local, diverse": 6.52, "local": 6.35, "WMMSE": 7.29},
    1.0: {"central, diverse": 6.71, "central": 6.72, "local, diverse": 6.66, "local": 6.62, "WMMSE": 7.72},
}
"""By the probability of being on."""

TABLE2: dict[int, dict[str, tuple[float, float]]] = {
    10: {
        "ALCOR, central": (5.41, 0.0),
        "ALCOR, local": (4.37, 0.0),
        "fixed network": (6.82, 0.0),
        "GP": (3.86, 0.0),
    },
    20: {
        "ALCOR, central": (6.56, 0.0),
        "ALCOR, local": (6.37, 0.0),
        "fixed network": (6.73, 0.0),
        "GP": (3.81, 0.0),
    },
    50: {
        "ALCOR, central": (6.67, 0.0),
        "ALCOR, local": (5.95, 0.0),
        "fixed network": (6.16, 0.0),
        "GP": (4.73, 0.0),
    },
}
"""By the number of links; a sum rate and a violation."""

TABLE3: dict[int, dict[str, tuple[float, float]]] = {
    10: {"ALCOR, central": (3.13, 0.61), "ALCOR, local": (3.85, 0.01), "fixed network": (6.35, 37.71)},
    20: {"ALCOR, central": (3.97, 0.00), "ALCOR, local": (5.35, 0.00), "fixed network": (6.58, 60.45)},
    50: {"ALCOR, central": (6.09, 1.37), "ALCOR, local": (4.75, 2.84), "fixed network": (6.17, 64.14)},
}

TABLE4: dict[int, dict[str, tuple[float, float]]] = {
    1: {
        "ALCOR, central": (5.80, 0.00),
        "ALCOR, local": (5.24, 0.00),
        "ALCOR, WMMSE": (5.27, 0.00),
        "dynamic network": (5.66, 0.00),
        "fixed network": (5.35, 100.0),
    },
    2: {
        "ALCOR, central": (5.20, 0.00),
        "ALCOR, local": (4.64, 1.27),
        "ALCOR, WMMSE": (5.09, 0.00),
        "dynamic network": (5.53, 49.51),
        "fixed network": (5.35, 0.00),
    },
    3: {
        "ALCOR, central": (4.90, 0.00),
        "ALCOR, local": (4.35, 0.78),
        "ALCOR, WMMSE": (4.81, 0.00),
        "dynamic network": (5.41, 70.80),
        "fixed network": (5.35, 30.04),
    },
}
"""By the number of the demands `u^(min,1)` to `u^(min,3)`, five links."""
