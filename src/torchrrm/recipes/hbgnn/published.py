"""The numbers printed in [Zhang2022HBGNN]: Tables II to IV."""

__all__ = ["PARAMETERS", "RATES", "SECONDS"]

PARAMETERS: dict[str, float] = {"FCNN": 6.4e7, "CNN": 5.0e5, "HBGNN, literal": 4.7e5}
"""Table II, by the network."""

RATES: dict[str, float] = {
    "MARAMP": 57.259,
    "MSUAMP": 108.081,
    "MSUAPC": 136.219,
    "UAMWSER": 111.266,
    "JUAPCMWSER": 153.227,
    "GRL": 195.451,
    "SRL": 221.000,
}
"""Table III: global transmitting rates in bit/s/Hz. The text around Fig. 9 gives two of them to others."""

SECONDS: dict[str, float] = {
    "MARAMP": 0.037,
    "MSUAMP": 3.334,
    "MSUAPC": 285.503,
    "UAMWSER": 0.204,
    "JUAPCMWSER": 1019.489,
    "GRL": 0.039,
    "SRL": 97.697,
}
"""Table IV: mean times of a drop, in Python on a Core i7-9700K."""
