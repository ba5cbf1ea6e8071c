"""Conversion and checks of large arrays block by block, and the memory that this takes.

A conversion of an array of `n` elements in one piece holds the source, masks, and copies in double precision: up to 28
bytes an element of int8. Here they are held for `BLOCK` elements at a time, so that the source and the result remain.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "BLOCK",
    "ENERGY_BYTES",
    "NODE_BYTES",
    "Declared",
    "adopted",
    "blocks",
    "converted_bytes",
    "native",
]

BLOCK = 2**18
"""Elements that are converted at a time."""
NODE_BYTES = 64
"""Memory of the role and the kind of a receiver or transmitter, while they are checked."""

ENERGY_BYTES = 4
"""Memory of a link while its channel is compared with its gain."""
_DOUBLE = {"f": np.float64, "c": np.complex128}


@dataclass(frozen=True)
class Declared:
    """Shape, type and order of an array by its header, before it is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def blocks(shape: Sequence[int], size: int = BLOCK) -> Iterator[tuple[slice, ...]]:
    """Yield slices of all axes that cut an array of this shape into parts of at most `size` elements, in order.

    >>> list(blocks((3, 2), size=4))
    [(slice(0, 2, None), slice(0, 2, None)), (slice(2, 3, None), slice(0, 2, None))]
    """
    whole = tuple(slice(0, length) for length in shape)
    if math.prod(shape) <= size:
        yield whole
        return
    inner = math.prod(shape[1:])
    step = max(1, size // inner)
    for begin in range(0, shape[0], step):
        head = slice(begin, min(begin + step, shape[0]))
        for tail in blocks(shape[1:], size) if inner > size else (whole[1:],):
            yield (head, *tail)


def native(array: np.ndarray) -> Tensor:
    """Return a new tensor of an array's values, of at most double precision."""
    dtype = array.dtype.newbyteorder("=")
    double = np.dtype(_DOUBLE.get(dtype.kind, dtype))  # torch has no numbers of more bytes
    return torch.from_numpy(np.array(array, dtype=double if dtype.itemsize > double.itemsize else dtype))


def converted_bytes(declared: Mapping[str, Declared], wanted: Mapping[str, Any]) -> int:
    """Return the memory of those arrays that `adopted` does not take as they are, once they are converted."""
    return sum(
        array.size * np.dtype(kind).itemsize
        for name, kind in wanted.items()
        if (array := declared.get(name)) is not None and (array.by_columns or array.dtype != np.dtype(kind))
    )


def adopted(value: Any, kind: Any) -> Any:
    """Return an array of the wanted type as a tensor that shares its memory, and others as they are.

    Only for arrays without another owner: a snapshot copies arrays, but not tensors of the right type.
    """
    return (
        torch.from_numpy(value) if isinstance(value, np.ndarray) and value.dtype == np.dtype(kind) else value
    )
