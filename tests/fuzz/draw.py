"""Choices read from bytes: what a fuzzer mutates becomes values of a form that reaches deep."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")

NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 5, 0.5, 1e-9, 1e-13, 3.5e9, -30.0, -250.0, 1.5),
    *(-0.0, 5e-324, 1e308, -1e308, math.nan, math.inf, -math.inf),
    *(2**31, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400, 1e12),
)
"""Numbers that people write, then those that they do not."""

OTHERS: tuple[Any, ...] = (
    *("", " ", "nan", "µ\u2028\x1b[0m", "\x00", "a" * 300, "\ud800", "../..", "1e309"),
    *(None, True, False, [], {}, [[]], [None], {"": None}, [1.0, "a"], [[[[[[[[1]]]]]]]]),
)


class Draw:
    """Choices from bytes, one after the other; the first option once there are none left."""

    def __init__(self, data: bytes):
        self._data, self._at = data, 0

    def take(self, count: int) -> bytes:
        """The next ones, as far as there are any."""
        part = self._data[self._at : self._at + count]
        self._at += len(part)
        return part

    def rest(self) -> bytes:
        """All that are left."""
        return self.take(len(self._data))

    def below(self, most: int) -> int:
        """An integer from 0 to below `most`."""
        return int.from_bytes(self.take(1 if most <= 256 else 2), "little") % most

    def pick(self, options: Sequence[T]) -> T:
        """One of these."""
        return options[self.below(len(options))]

    def chance(self, one_in: int) -> bool:
        """True once in so many times; never without bytes."""
        return self.below(256) >= 256 - max(256 // one_in, 1)

    def number(self) -> Any:
        """A usual or an absurd number."""
        return self.pick(NUMBERS)

    def value(self) -> Any:
        """What JSON can hold, and does not belong here."""
        return self.number() if self.below(2) else self.pick(OTHERS)

    def text(self) -> str:
        """Any text."""
        return self.take(self.below(24)).decode("utf-8", self.pick(("ignore", "surrogateescape")))


def mutated(value: Any, draw: Draw) -> Any:
    """A JSON value with one part replaced, left out, doubled or renamed."""
    if isinstance(value, dict) and value and not draw.chance(8):
        key = draw.pick(sorted(value))
        how = draw.below(8)
        if how == 0:
            return {name: part for name, part in value.items() if name != key}
        if how == 1:
            return value | {draw.text(): draw.value()}
        return value | {key: mutated(value[key], draw)}
    if isinstance(value, list) and value and not draw.chance(8):
        place, how = draw.below(len(value)), draw.below(8)
        if how < 2:
            return value[:place] if how == 0 else [*value, value[place]]
        return [*value[:place], mutated(value[place], draw), *value[place + 1 :]]
    return draw.value()
