"""Arrays that a service is given: checked, with one line of what is wrong; imports no torch."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Array", "check", "complexes", "fit", "mask", "numbers", "reals"]

Array = NDArray[Any]


def reals(
    name: str,
    value: ArrayLike,
    shape: tuple[int, ...] | None,
    *,
    positive: bool = False,
    where: Array | None = None,
) -> Array:
    """The values as float64, finite and not negative (or positive), of the shape or one for all.

    With `where` only those values are checked.
    """
    array = numbers(name, value)
    if where is None:
        check(name, array, positive=positive)
        return array if shape is None else fit(name, array, shape)
    array = array if shape is None else fit(name, array, shape)
    check(name, array, positive=positive, where=where)
    return array


def numbers(name: str, value: ArrayLike) -> Array:
    """The values as float64, unchecked."""
    return _array(name, value, "numbers", "fiu").astype(np.float64, copy=False)


def complexes(name: str, value: ArrayLike) -> Array:
    """The values as complex numbers of double precision, unchecked."""
    return _array(name, value, "complex numbers", "fiuc").astype(np.complex128, copy=False)


def check(name: str, array: Array, *, positive: bool, where: Array | None = None) -> None:
    """Refuse values that are not finite, negative, or not positive if they must be."""
    if where is not None:
        array = np.where(where, array, 1.0)
    low, high = array.min(initial=np.inf), array.max(initial=0.0)
    if not ((low > 0 if positive else low >= 0) and high < np.inf):  # what is not a number compares false
        bad = np.argwhere(~(np.isfinite(array) & (array > 0 if positive else array >= 0)))[0]
        rule = "positive and finite" if positive else "finite and not negative"
        raise ValueError(f"{name}: must be {rule}, received {array[tuple(bad)]} at {bad.tolist()}")


def mask(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Truth values of the shape, or one for all."""
    return fit(name, _array(name, value, "truth values", "b"), shape)


def fit(name: str, array: Array, shape: tuple[int, ...]) -> Array:
    """The array, if it has the shape or is one for all."""
    if array.ndim and array.shape != shape:
        received = list(array.shape)
        raise ValueError(f"{name}: must have shape {list(shape)}, or be one for all, received {received}")
    return array if array.ndim else np.full(shape, array)


def _array(name: str, value: ArrayLike, what: str, kinds: str) -> Array:
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of unequal length
        raise ValueError(f"{name}: must be an array of {what}, received rows of unequal length") from error
    if array.dtype.kind not in kinds:
        raise ValueError(f"{name}: must be an array of {what}, received one of {array.dtype}")
    return array
