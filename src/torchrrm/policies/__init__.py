"""Policies: allocators with trained parameters. `POLICIES` maps class names to classes, for weight files and the command line."""

from torchrrm.policies.slice_gnn import SliceGNN

__all__ = ["POLICIES", "SliceGNN"]

POLICIES: dict[str, type] = {"SliceGNN": SliceGNN}
