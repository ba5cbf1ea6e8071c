"""Snapshots: channels that somebody brings, measured, ray traced or simulated elsewhere."""

from torchrrm.channels.snapshot.archive import SnapshotError
from torchrrm.channels.snapshot.deepmimo import load_deepmimo
from torchrrm.channels.snapshot.load import BUNDLED, bundled_path, bundled_snapshot, load
from torchrrm.channels.snapshot.munich import MUNICH_ATTRIBUTION
from torchrrm.channels.snapshot.orientation import one_station, oriented, strongest_pairs
from torchrrm.channels.snapshot.quantity import Quantity
from torchrrm.channels.snapshot.record import THERMAL_NOISE_PSD_W_PER_HZ, Snapshot
from torchrrm.channels.snapshot.schema import SCHEMA, VERSION, load_snapshot, save_snapshot
from torchrrm.channels.snapshot.sionna import from_sionna_cir, from_sionna_h_freq
from torchrrm.channels.snapshot.table import load_table

__all__ = [
    "BUNDLED",
    "MUNICH_ATTRIBUTION",
    "SCHEMA",
    "THERMAL_NOISE_PSD_W_PER_HZ",
    "VERSION",
    "Quantity",
    "Snapshot",
    "SnapshotError",
    "bundled_path",
    "bundled_snapshot",
    "from_sionna_cir",
    "from_sionna_h_freq",
    "load",
    "load_deepmimo",
    "load_snapshot",
    "load_table",
    "one_station",
    "oriented",
    "save_snapshot",
    "strongest_pairs",
]
