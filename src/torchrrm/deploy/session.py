"""A policy in a control loop: arrays in, arrays out, on ONNX Runtime; imports no torch."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from torchrrm.deploy.association import AssociationService
from torchrrm.deploy.beamforming import BeamService
from torchrrm.deploy.header import read_header, require
from torchrrm.deploy.links import PowerService
from torchrrm.deploy.slicing import SliceService
from torchrrm.files import printable
from torchrrm.kernels import require_threads, use_threads

__all__ = ["Allocation", "InferenceSession", "Service", "open_runtime"]

Array = NDArray[Any]
_SIZES, _MOST = ("links", "users", "stations"), 4096


@dataclass(frozen=True)
class Allocation:
    """What a session decides. Arrays have the batch shape of the instance, or none for a single one.

    Attributes:
        action: the decision, named as the problem's action record: `{"bandwidth_hz": [*batch user]}`,
            `{"power_w": [*batch tx]}`, `{"station": [*batch user], "power_w": [*batch bs]}` with -1 of users without a
            station, or `{"power_w": [*batch user], "beam": [*batch user ant]}` of the dual uplink and with them what a
            station sends, `"downlink_power_w"`.
        scheduled: users that are served, or links that may transmit, `[*batch user]`.
        feasible: whether the action keeps every constraint to its tolerance, `[*batch]`.
        violation: how far the action exceeds each constraint at most, `[*batch]`; at most 0 is satisfied.
        fallback: where the policy's action was refused and the service's safe rule decided instead,
            `[*batch]`.
        refused: as `violation`, of the policy's own action; `inf` where it is not finite.
        notes: what else the service tells: of beams `"least_power_w"`, `[*batch]`, the total power that would keep
            every minimum rate; infinite if none would, NaN where the action is feasible. Of associations
            `"out_of_reach"`, `[*batch user]`: active users whom no active station reaches.
        latency_s: time that the call took.
    """

    action: Mapping[str, Array]
    scheduled: Array
    feasible: Array
    violation: Mapping[str, Array]
    fallback: Array
    refused: Mapping[str, Array]
    notes: Mapping[str, Array]
    latency_s: float


class Service(Protocol):
    """What surrounds the core of the policies of one problem. Its arrays have one batch axis."""

    @property
    def tolerance(self) -> Mapping[str, float]:
        """Largest violation that counts as satisfied, by constraint."""
        ...

    def prepare(self, **instance: Any) -> tuple[tuple[int, ...], Any]:
        """The batch shape and what the service makes of the instance, or a ValueError of one line."""
        ...

    def inputs(self, prepared: Any) -> Mapping[str, Array]:
        """What the core reads."""
        ...

    def action(self, prepared: Any, outputs: Mapping[str, Array]) -> dict[str, Array]:
        """The policy's action in double precision, by what the core returned."""
        ...

    def scheduled(self, prepared: Any) -> Array: ...

    def violation(self, prepared: Any, action: Mapping[str, Array]) -> dict[str, Array]:
        """The largest violation of each constraint in each instance; `inf` where the action is not finite."""
        ...

    def safe(self, prepared: Any) -> dict[str, Array]:
        """An action that keeps the constraints whatever the network says."""
        ...

    def notes(self, prepared: Any, feasible: Array) -> dict[str, Array]:
        """What else there is to say of each instance."""
        ...

    def example(self) -> dict[str, Any]:
        """An instance to warm up with."""
        ...

    def draw(self, batch: int, size: int, rng: np.random.Generator) -> dict[str, Any]:
        """Return random instances of so many links or users, by the names and with all arguments of `prepare`."""
        ...


SERVICES: dict[str, type] = {
    "slicing": SliceService,
    "links": PowerService,
    "beams": BeamService,
    "association": AssociationService,
}


class InferenceSession:
    """An exported policy, ready to allocate: one thread, nothing allocated before it has been checked.

    The action of the network is checked against the constraints in double precision. An instance in which it
    violates one, or is not finite, gets the action of a safe rule instead, and the result says so.

    Args:
        path: a file of `export`.
        threads: of ONNX Runtime and of the compiled kernels; one is fastest for single slices.
        policy: if given, the class that the file must hold.
        kind: if given, the kind of service that its policy must serve, such as `secrecy-short` or `sum-rate`.

    Raises:
        ValueError: if the file is missing, truncated, foreign or of another policy, or if the extra is
            missing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int = 1,
        policy: str | None = None,
        kind: str | None = None,
    ):
        self.threads = require_threads(threads)
        self._runtime = _open(Path(path), threads)
        self.header = read_header(self._runtime.get_modelmeta().custom_metadata_map, path)
        _expect("policy", policy, self.header["policy"], path)
        _expect("kind", kind, self.header["deployment"].get("kind"), path)
        self._types = _input_types(self._runtime, self.header, path)
        self._outputs: list[str] = [port.name for port in self._runtime.get_outputs()]
        self._service = _service(self.header["deployment"], path)
        self._warm_up(path)

    def _warm_up(self, path: object) -> None:
        """Allocate once: the kernels are then loaded, and what the file says has been seen to fit together."""
        try:
            self.allocate(**self._service.example())
        # A graph or header of another maker may fail anywhere in here, in ONNX Runtime or in compiled code.
        except Exception as error:
            reason = printable(" ".join(str(error).split()))[:200]
            raise ValueError(f"path: must allocate an example, received {path} ({reason})") from error

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The core alone: the outputs of the exported graph, by name."""
        with np.errstate(over="ignore"):  # what single precision cannot hold gives no action that is accepted
            feed = {name: np.ascontiguousarray(inputs[name], kind) for name, kind in self._types.items()}
        return dict(zip(self._outputs, self._runtime.run(None, feed), strict=True))

    def allocate(self, **instance: Any) -> Allocation:
        """Allocate an instance, given as arrays by the names of the problem's instance record.

        For slices these are `cn0_hz`, `min_rate_bps`, `bandwidth_hz`, `eavesdropper_cn0_hz` and `active`, see
        `torchrrm.deploy.slicing.SliceService.prepare`; for links `gain`, `noise_power_w`, `max_power_w`, `weight`,
        `active` and `priority`, see `torchrrm.deploy.links.PowerService.prepare`; for beams `channel` and the other
        fields of `MisoInstance`, see `torchrrm.deploy.beamforming.BeamService.prepare`; for associations the fields of
        `CellInstance` and `refine`, see `torchrrm.deploy.association.AssociationService.prepare`.

        Raises:
            ValueError: one line with the argument, the rule and the value received.
        """
        begin = time.perf_counter()
        with use_threads(self.threads):
            batch, prepared = self._service.prepare(**instance)
            action, violation, refused, fallback = self._decide(prepared)
            feasible = self._keeps(violation) if violation is not refused else ~fallback
            scheduled, notes = self._service.scheduled(prepared), self._service.notes(prepared, feasible)

        def shaped(arrays: Mapping[str, Array]) -> dict[str, Array]:
            return {name: array.reshape(batch + array.shape[1:]) for name, array in arrays.items()}

        return Allocation(
            action=shaped(action),
            scheduled=scheduled.reshape(batch + scheduled.shape[1:]),
            feasible=feasible.reshape(batch),
            violation=shaped(violation),
            fallback=fallback.reshape(batch),
            refused=shaped(refused),
            notes=shaped(notes),
            latency_s=time.perf_counter() - begin,
        )

    def _decide(
        self, prepared: Any
    ) -> tuple[dict[str, Array], Mapping[str, Array], Mapping[str, Array], Array]:
        """The action and its violations, those of the network's own one, and where it was replaced."""
        action = self._service.action(prepared, self.run(self._service.inputs(prepared)))
        refused = self._service.violation(prepared, action)
        fallback = ~self._keeps(refused)
        if not fallback.any():
            return action, refused, refused, fallback
        for name, array in self._service.safe(prepared).items():
            action[name][fallback] = array[fallback]
        return action, self._service.violation(prepared, action), refused, fallback

    def _keeps(self, violation: Mapping[str, Array]) -> Array:
        limits = self._service.tolerance
        return np.logical_and.reduce([value <= limits[name] for name, value in violation.items()])


def open_runtime(model: bytes, threads: int) -> Any:
    """ONNX Runtime on a model, on the processor, with so many threads that never spin."""
    runtime = require("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # errors are raised, and need not be printed too
    return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)


def _open(path: Path, threads: int) -> Any:
    try:
        model = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"path: must be a readable .onnx file, received {path} ({error.strerror})"
        ) from error
    require("onnxruntime")
    try:
        return open_runtime(model, threads)
    except Exception as error:  # ONNX Runtime's own errors have no class in common
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"path: must be a whole .onnx file, received {path} ({reason})") from error


def _expect(name: str, wanted: str | None, found: Any, path: object) -> None:
    if wanted is not None and wanted != found:
        raise ValueError(f"{name}: must be that of {path}, {found}, received {wanted}")


def _input_types(runtime: Any, header: Mapping[str, Any], path: object) -> dict[str, type]:
    """Type of each input, once the graph and its header agree."""
    kinds = {"tensor(bool)": np.bool_, "tensor(float)": np.float32, "tensor(double)": np.float64}
    found = {port.name: (len(port.shape), kinds.get(port.type)) for port in runtime.get_inputs()}
    wanted = {name: len(axes) for name, axes in header["inputs"].items() if isinstance(axes, list)}
    outputs = {port.name for port in runtime.get_outputs()}
    if {n: size for n, (size, _) in found.items()} != wanted or outputs != set(header["outputs"]):
        raise ValueError(f"path: must have the graph that its header states, received {path} of another")
    if None in [kind for _, kind in found.values()]:
        raise ValueError(f"path: must take reals and truth values, received {path} of other inputs")
    return {name: kind for name, (_, kind) in found.items() if kind is not None}


def _require_size(name: str, size: Any) -> None:
    if size is not None and not (type(size) is int and 1 <= size <= _MOST):
        raise ValueError(f"{name} must be 1 to {_MOST}, received {size!r:.40}")


def _service(deployment: Mapping[str, Any], path: object) -> Service:
    name = deployment.get("service")
    if not isinstance(name, str) or name not in SERVICES:
        known = ", ".join(SERVICES)
        raise ValueError(
            f"path: must need a service of {known}, received {path} of {printable(str(name))[:40]}"
        )
    try:
        for size in _SIZES:
            _require_size(size, deployment.get(size))
        return SERVICES[name](deployment)
    except Exception as error:  # whatever a stranger's values of whatever types may cause
        reason = printable(" ".join(str(error).split()))[:200]
        raise ValueError(
            f"path: must tell what the {name} service needs, received {path} ({reason})"
        ) from error
