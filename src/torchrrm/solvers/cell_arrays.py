"""Networks as compiled solvers take them: arrays in relative units in, actions out."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from torchrrm.problems.association import AssociationAction, CellInstance, relative_snr
from torchrrm.problems.structure import require_record
from torchrrm.problems.validation import require_signs
from torchrrm.records import to
from torchrrm.solvers.base import Solution

__all__ = ["StartPower", "require_settings", "run_cells", "start_share"]

StartPower = Literal["equal", "max"]


def start_share(instance: CellInstance, start: StartPower) -> np.ndarray:
    """Shares `[*batch bs]` of the limits in float64: all of them, or equal powers, the least limit of an instance.

    0 of stations that are not active.

    Raises:
        ValueError: naming the field, the rule and what was received.
    """
    on = require_signs(require_record(instance, CellInstance)).active_bs
    limit = torch.where(on, instance.max_power_w, torch.inf).double()
    share = torch.ones_like(limit)
    if start == "equal":
        share = torch.where(on, limit.amin(-1, keepdim=True) / limit, 0.0)
    return torch.where(on, share, 0.0).detach().cpu().numpy()


def run_cells(
    single: Callable[..., tuple[Any, Any]],
    many: Callable[..., tuple[Any, Any]],
    instance: CellInstance,
    share: np.ndarray,
    *arguments: Any,
) -> Solution[AssociationAction]:
    """What a kernel finds from these shares, for one instance or a batch.

    The kernel takes `(snr [user bs], share [bs], station [user], *arguments)`, writes shares and stations, and returns
    whether it converged and its steps; `many` takes rows of them.
    """
    batch, (users, stations) = instance.gain.shape[:-2], instance.gain.shape[-2:]
    rows, count = (math.prod(batch),) if batch else (), instance.gain.shape[:-1]
    snr = relative_snr(to(instance, dtype=torch.float64)).detach().cpu().numpy()
    snr = np.ascontiguousarray(snr.reshape(*rows, users, stations))
    share = np.ascontiguousarray(share.reshape(*rows, stations))
    station = np.full((*rows, users), -1, np.int64)
    converged, steps = (many if batch else single)(snr, share, station, *arguments)
    action = AssociationAction(
        station=torch.from_numpy(station).reshape(count).to(instance.gain.device),
        power_w=_power(instance, share),
    )
    done = torch.as_tensor(converged, device=instance.gain.device).reshape(batch)
    taken = torch.as_tensor(steps, dtype=torch.int64, device=instance.gain.device).reshape(batch)
    return Solution(action, done, taken)


def _power(instance: CellInstance, share: np.ndarray) -> Tensor:
    limit = instance.max_power_w.detach()
    power = torch.from_numpy(share).reshape(limit.shape).to(limit.device) * limit.double()
    return torch.where(instance.active_bs, power, 0.0).to(limit.dtype)


def require_settings(power: str, start: str, steps: Mapping[str, int], tol: float) -> None:
    """Settings that the solvers of stations and powers have in common.

    Raises:
        ValueError: naming the argument, the rule and the value.
    """
    if power not in ("max", "control"):
        raise ValueError(f"power: must be 'max' or 'control', received {power!r}")
    if start not in ("equal", "max"):
        raise ValueError(f"start: must be 'equal' or 'max', received {start!r}")
    for name, value in steps.items():
        if value < 1:
            raise ValueError(f"{name}: must be at least 1, received {value}")
    if not tol >= 0:
        raise ValueError(f"tol: must not be negative, received {tol}")
