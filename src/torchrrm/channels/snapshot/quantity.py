"""Quantities of tables: gains, RSRP and path loss, as linear gains."""

import math
from typing import Literal, get_args

import numpy as np

from torchrrm.channels.snapshot.archive import SnapshotError
from torchrrm.channels.snapshot.schema import gain_from_db

__all__ = ["Quantity", "check_quantity", "gain_of"]

Quantity = Literal["gain", "rsrp", "pathloss"]
"""What the numbers of a table are: gains in dB, RSRP in dBm, or path losses in dB."""


def check_quantity(quantity: str | None, reference_dbm: float | None) -> None:
    """Refuse an unknown quantity, and a reference power that is missing or has no use.

    Raises:
        SnapshotError: in one line, naming the argument.
    """
    if quantity is not None and quantity not in (known := get_args(Quantity)):
        raise SnapshotError(f"quantity: must be one of {', '.join(known)}, received {quantity!r}")
    if (quantity == "rsrp") != (reference_dbm is not None):
        rule = "must be given with quantity rsrp, and only with it"
        received = "none" if reference_dbm is None else f"{reference_dbm:g}"
        meaning = "it is the power in dBm that a station sends on one resource element (--reference-dbm)"
        raise SnapshotError(f"reference_dbm: {rule}, received {received}; {meaning}")
    if reference_dbm is not None and not math.isfinite(reference_dbm):
        raise SnapshotError(f"reference_dbm: must be finite, received {reference_dbm}")


def gain_of(
    values: np.ndarray, quantity: Quantity | None, reference_dbm: float | None
) -> tuple[np.ndarray, str]:
    """Return linear gains of the numbers of a table, and a note of how they were read.

    `gain_db = value` for gains, `value - reference_dbm` for RSRP and `-value` for path losses. RSRP is the power of
    one resource element (TS 38.215, 5.1.1), so the reference is, too: 46 dBm over 1200 resource elements are
    46 - 10 log10(1200) = 15.2 dBm.

    Args:
        values: in dB or dBm.
        quantity: what they are; None reads gains, and the note says so.
        reference_dbm: power that a station sends on one resource element, of RSRP.

    Raises:
        SnapshotError: for values that the quantity does not have, naming the option that may mend it.
    """
    if quantity == "rsrp" and reference_dbm is not None:
        hint = f"RSRP cannot be above the reference power of {reference_dbm:g} dBm (--reference-dbm)"
        gain = gain_from_db(values - reference_dbm, "RSRP minus reference_dbm", hint)
        return gain, f"read as RSRP of a reference signal of {reference_dbm:g} dBm"
    if quantity == "pathloss":
        negative = values < 0.0
        if negative.any():
            place = np.argwhere(negative)[0].tolist()
            hint = "gains are read with --quantity gain, RSRP with --quantity rsrp"
            received = f"{values[tuple(place)]:g} at {place}"
            raise SnapshotError(f"pathloss: must be at least 0 dB, received {received}; {hint}")
        return gain_from_db(-values, "pathloss"), "read as path loss in dB"
    hint = "path losses are read with --quantity pathloss, RSRP in dBm with --quantity rsrp"
    note = "read as gain in dB" + (" (no --quantity given)" if quantity is None else "")
    return gain_from_db(values, note=hint), note
