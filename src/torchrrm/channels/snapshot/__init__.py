"""Snapshots: channels that somebody brings, measured, ray traced or simulated elsewhere."""

from torchrrm.channels.snapshot.archive import MAX_ARCHIVE_BYTES, SnapshotError
from torchrrm.channels.snapshot.deepmimo import load_deepmimo
from torchrrm.channels.snapshot.load import BUNDLED, bundled_snapshot, load
from torchrrm.channels.snapshot.munich import MUNICH_ATTRIBUTION
from torchrrm.channels.snapshot.record import (
    EAVESDROPPER,
    SMALL_STATION,
    THERMAL_NOISE_PSD_W_PER_HZ,
    Snapshot,
)
from torchrrm.channels.snapshot.schema import SCHEMA, VERSION, load_snapshot, save_snapshot
from torchrrm.channels.snapshot.sionna import from_sionna_cir, from_sionna_h_freq
from torchrrm.channels.snapshot.table import load_table

__all__ = [
    "BUNDLED",
    "EAVESDROPPER",
    "MAX_ARCHIVE_BYTES",
    "MUNICH_ATTRIBUTION",
    "SCHEMA",
    "SMALL_STATION",
    "THERMAL_NOISE_PSD_W_PER_HZ",
    "VERSION",
    "Snapshot",
    "SnapshotError",
    "bundled_snapshot",
    "from_sionna_cir",
    "from_sionna_h_freq",
    "load",
    "load_deepmimo",
    "load_snapshot",
    "load_table",
    "save_snapshot",
]
