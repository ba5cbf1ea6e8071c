"""An exported policy against torch, one thread: the network alone, and from an instance to a checked allocation.

Slices against eager torch, beams against the policy's compiled kernel (whose allocations are not checked).

python benchmarks/bench_deploy.py          # ratios, measured in turns in one run
python -m pytest benchmarks/bench_deploy.py --benchmark-only
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from torchrrm.deploy import InferenceSession, export
from torchrrm.kernels import set_threads
from torchrrm.policies import SliceGNN, USRMNet
from torchrrm.problems import SliceInstance, slice_instance
from torchrrm.problems.beamforming import miso_instance

KIND = "secrecy-short"
Calls = dict[str, Callable[[], Any]]


def slice_of(users: int) -> SliceInstance:
    """One slice with gains over three decades."""
    generator = torch.Generator().manual_seed(0)
    gain = 10.0 ** (-9 - 3 * torch.rand(users, generator=generator))
    heard = 0.1 * gain * torch.rand(users, generator=generator)
    return slice_instance(gain, heard, min_rate_bps=1e6)


def calls(features: str, users: int, folder: Path) -> tuple[Calls, Calls]:
    """Network alone and whole allocation, each in torch and on ONNX Runtime."""
    set_threads(1)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    policy, instance = SliceGNN(KIND, features).eval(), slice_of(users)
    session = InferenceSession(export(policy, folder / f"{features}.onnx"))
    arrays = {name: value.numpy() for name, value in vars(instance).items()}
    prepared = policy.prepare(instance)
    inputs = {name: getattr(prepared, name)[None] for name in session.header["inputs"]}
    feed = {name: value.numpy() for name, value in inputs.items()}

    @torch.inference_mode()
    def network() -> Any:
        return policy.core(**inputs)

    @torch.inference_mode()
    def whole() -> Any:
        return policy(instance)

    core = {"torch": network, "onnxruntime": lambda: session.run(feed)}
    return core, {"torch": whole, "onnxruntime": lambda: session.allocate(**arrays)}


def beam_calls(session: InferenceSession, policy: USRMNet, users: int) -> tuple[Calls, Calls]:
    """Network alone (without torch's: its kernel restores as well) and whole allocation, of 64 antennas."""
    generator = torch.Generator().manual_seed(users)
    channel = torch.randn(users, 64, dtype=torch.complex128, generator=generator)
    instance = miso_instance(0.3 * channel)
    arrays = {name: value.numpy() for name, value in vars(instance).items()}
    feed = session._service.inputs(session._service.prepare(**arrays)[1])

    @torch.inference_mode()
    def whole() -> Any:
        return policy(instance)

    core = {"torch": whole, "onnxruntime": lambda: session.run(feed)}
    return core, {"torch": whole, "onnxruntime": lambda: session.allocate(**arrays)}


def latencies_us(functions: Calls, turns: int = 150, block: int = 20) -> dict[str, np.ndarray]:
    """Durations in microseconds; the functions take turns, so that a busy moment meets all of them."""
    seen: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(-3, turns):  # the first ones to warm up
        for name, function in functions.items():
            for _ in range(block):
                begin = time.perf_counter()
                function()
                if turn >= 0:
                    seen[name].append(1e6 * (time.perf_counter() - begin))
    return {name: np.array(durations) for name, durations in seen.items()}


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
@pytest.mark.parametrize("features", ["raw", "marginal"])
@pytest.mark.parametrize("part", ["network", "allocation"])
def test_deploy(benchmark, tmp_path, part, features, runtime):
    core, whole = calls(features, 50, tmp_path)
    benchmark.group = f"{part}, {features} features, 50 users"
    benchmark((core if part == "network" else whole)[runtime])


def report(kind: str, users: int, both: tuple[Calls, Calls]) -> None:
    """Print p50 and p99 and the ratio to torch."""
    for part, functions in zip(("network", "allocation"), both, strict=True):
        seen = latencies_us(functions)
        ends = {name: np.percentile(durations, [50, 99]) for name, durations in seen.items()}
        columns = [f"{p50:.1f}/{p99:.1f}" for p50, p99 in ends.values()]
        ratio = ends["torch"][0] / ends["onnxruntime"][0]
        print(f"{part:11}{kind:10}{users:6}{columns[0]:>20}{columns[1]:>20}{ratio:7.2f}")


def main() -> None:
    """Print the table."""
    print(f"{'part':11}{'of':10}{'users':>6}{'torch p50/p99 us':>20}{'session p50/p99 us':>20}{'ratio':>7}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for features in ("raw", "marginal"):
            for users in (10, 50, 200):
                report(features, users, calls(features, users, folder))
        policy = USRMNet().eval()
        session = InferenceSession(export(policy, folder / "beams.onnx"))
        for users in (6, 16):
            report("beams", users, beam_calls(session, policy, users))


if __name__ == "__main__":
    main()
