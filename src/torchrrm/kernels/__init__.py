"""Compiled functions of arrays, without torch: single instances, and batches whose rows are split over threads."""

from torchrrm.kernels.rows import get_threads, max_threads, require_threads, set_threads, use_threads

__all__ = ["get_threads", "max_threads", "require_threads", "set_threads", "use_threads"]
