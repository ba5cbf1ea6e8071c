"""Deployment: a policy as an ONNX file, and a session that runs it in a control loop.

    export(policy, "policy.onnx")                            # where torch is
    session = InferenceSession("policy.onnx")                # needs numpy, numba and ONNX Runtime only
    allocation = session.allocate(cn0_hz=..., ...)

Both need the extra `deploy`. Modules are loaded when they are first used: a session imports no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torchrrm.deploy.contract import Exportable
    from torchrrm.deploy.onnx import export
    from torchrrm.deploy.session import Allocation, InferenceSession

__all__ = ["Allocation", "Exportable", "InferenceSession", "export"]

_HOMES = {"Allocation": "session", "Exportable": "contract", "InferenceSession": "session", "export": "onnx"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
