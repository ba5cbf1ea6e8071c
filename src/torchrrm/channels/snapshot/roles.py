"""Checks of the roles of a snapshot's nodes."""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from torchrrm.channels.ends import Direction, Role, StationKind
from torchrrm.channels.snapshot.archive import SnapshotError

__all__ = ["checked_kinds", "checked_roles", "direction_of", "role_of"]

_OTHER_END: dict[str, str] = {
    "unknown": "unknown",
    "station": "user",
    "user": "station",
    "device": "device",
}
_DIRECTIONS: dict[str, Direction] = {
    "unknown": "unknown",
    "station": "downlink",
    "user": "uplink",
    "device": "device-to-device",
}


def role_of(roles: Sequence[str]) -> str:
    """Return the one role of an end, eavesdroppers left out."""
    return next((role for role in roles if role != "eavesdropper"), "unknown")


def direction_of(tx_role: Sequence[str]) -> Direction:
    """Return the direction of gains whose transmitters have these roles."""
    return _DIRECTIONS[role_of(tx_role)]


def checked_kinds(name: str, value: Any, count: int) -> tuple[str, ...]:
    """Return the kinds of `count` nodes, given as one word for all or as a word each."""
    return _words(name, value, count, get_args(StationKind))


def checked_roles(
    ends: dict[str, tuple[Any, tuple[str, ...]]],
) -> dict[str, tuple[str, ...]]:
    """Return the roles of both ends, each derived from the other or from the kinds of stations where it is unknown.

    Args:
        ends: for "rx" and "tx" the roles, as one word for all or as a word each, and the kinds of the nodes.

    Raises:
        SnapshotError: if an end has nodes of several roles besides eavesdroppers, if the two ends do not belong
            together, if a node that is no station has a kind, or if an eavesdropper transmits.
    """
    roles = {end: _roles(f"{end}_role", *given) for end, given in ends.items()}
    if "eavesdropper" in roles["tx"]:
        raise SnapshotError("tx_role: must name no eavesdropper, which only receives")
    for end, other in (("rx", "tx"), ("tx", "rx")):
        if role_of(roles[end]) == "unknown":
            derived = _OTHER_END[role_of(roles[other])]
            roles[end] = tuple(derived if role == "unknown" else role for role in roles[end])
    rx, tx = role_of(roles["rx"]), role_of(roles["tx"])
    if rx != _OTHER_END[tx] and set(roles["rx"]) != {"eavesdropper"}:
        rule = "must be stations and users, or devices at both ends"
        raise SnapshotError(f"rx_role, tx_role: {rule}, received {rx} and {tx}")
    return roles


def _roles(name: str, value: Any, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Return the roles of one end; a node with a kind is a station."""
    roles = _words(name, value, len(kinds), get_args(Role))
    known = {role for role in roles if role not in ("unknown", "eavesdropper")}
    has_kind = any(kind != "unknown" for kind in kinds)
    if has_kind:
        known.add("station")
    if len(known) > 1:
        both = " and ".join(sorted(known))
        note = "; macro and small are kinds of stations" if has_kind else ""
        raise SnapshotError(f"{name}: must be one role besides eavesdroppers, received {both}{note}")
    if any(role == "eavesdropper" and kind != "unknown" for role, kind in zip(roles, kinds, strict=True)):
        raise SnapshotError(
            f"{name}: must be station where the kind is macro or small, received eavesdropper"
        )
    role = known.pop() if known else "unknown"
    return tuple(role if word == "unknown" else word for word in roles)


def _words(name: str, value: Any, count: int, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return one of the known words for each of `count` nodes."""
    if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
        words, shape = tuple(value), (len(value),)
    else:
        array = np.asarray(value)
        if array.dtype.kind not in "US":
            rule = f"must be of {', '.join(known)}"
            raise SnapshotError(f"{name}: {rule}, received values of type {array.dtype}")
        words, shape = _known_words(array.ravel(), known), array.shape
    unknown = next((word for word in words if word not in known), None)
    if unknown is not None:
        raise SnapshotError(f"{name}: must be of {', '.join(known)}, received {unknown!r}")
    if shape == ():
        return words * count
    if shape != (count,):
        raise SnapshotError(f"{name}: must have shape {(count,)} or be one word, received {shape}")
    return words


def _known_words(array: np.ndarray, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of an array, each known one as one object, or the first unknown one alone."""
    index = np.full(array.shape, -1, np.int8)
    for number, word in enumerate(known):
        index[array == np.array(word).astype(array.dtype.kind)] = number
    unknown = np.flatnonzero(index < 0)
    if unknown.size:
        word = array[unknown[0]].item()
        return (word.decode("utf-8", "replace") if isinstance(word, bytes) else word,)
    return tuple(map(known.__getitem__, index))
