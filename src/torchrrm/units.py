"""Decibels and SI units: the only place where logarithmic units are converted.

Inside the library every quantity is linear and in SI units; `_db` and `_dbm` names appear only at the edges
and pass through these functions. Each takes a float or a tensor and returns the same kind.
"""

import math
from typing import overload

import torch
from torch import Tensor

__all__ = ["db_to_linear", "dbm_to_watt", "linear_to_db", "require_carrier_hz", "watt_to_dbm"]

_LOWEST_CARRIER_HZ = 1e6


@overload
def db_to_linear(value_db: float) -> float: ...
@overload
def db_to_linear(value_db: Tensor) -> Tensor: ...
def db_to_linear(value_db: float | Tensor) -> float | Tensor:
    """Power ratio `10^(value_db / 10)`.

    >>> db_to_linear(30.0)
    1000.0
    """
    try:
        return 10.0 ** (value_db / 10.0)
    except OverflowError:  # of a float; a tensor's is infinite by itself
        return math.inf


@overload
def linear_to_db(value: float) -> float: ...
@overload
def linear_to_db(value: Tensor) -> Tensor: ...
def linear_to_db(value: float | Tensor) -> float | Tensor:
    """Decibels of a power ratio, `10 log10(value)`; zero gives minus infinity.

    >>> linear_to_db(100.0)
    20.0
    """
    if isinstance(value, Tensor):
        return 10.0 * torch.log10(value)
    return 10.0 * math.log10(value) if value else -math.inf


@overload
def dbm_to_watt(value_dbm: float) -> float: ...
@overload
def dbm_to_watt(value_dbm: Tensor) -> Tensor: ...
def dbm_to_watt(value_dbm: float | Tensor) -> float | Tensor:
    """Watt of a power in dBm (also W/Hz of a density in dBm/Hz): `10^((value_dbm - 30) / 10)`.

    >>> dbm_to_watt(30.0)
    1.0
    """
    return db_to_linear(value_dbm - 30.0)


@overload
def watt_to_dbm(value_w: float) -> float: ...
@overload
def watt_to_dbm(value_w: Tensor) -> Tensor: ...
def watt_to_dbm(value_w: float | Tensor) -> float | Tensor:
    """Power in dBm of a power in watt: `10 log10(value_w) + 30`.

    >>> watt_to_dbm(0.2) == linear_to_db(0.2) + 30.0
    True
    """
    return linear_to_db(value_w) + 30.0


def require_carrier_hz(carrier_hz: float) -> None:
    """Refuse a carrier frequency that cannot be one in Hz.

    Raises:
        ValueError: if it is not finite, not positive, or below 1 MHz, as a number in GHz is.
    """
    if not (math.isfinite(carrier_hz) and carrier_hz > 0.0):
        raise ValueError(f"carrier_hz: must be finite and positive, received {carrier_hz}")
    if carrier_hz < _LOWEST_CARRIER_HZ:
        rule = "is below 1 MHz; give the carrier in Hz (3.5 GHz is 3.5e9)"
        raise ValueError(f"carrier_hz: {carrier_hz:g} Hz {rule}")
