"""Graph networks of links: exported against PyTorch Geometric, on large networks, and in training; one thread, one run.

python benchmarks/bench_links_gnn.py [--json FILE] [--only SECTION ...]

The power net is that of [Huang2024], two layers of 128. PyTorch Geometric runs the same network with the same weights
on the complete graph, its features and edges given, without gradients. Large networks are those of `bench_links.py`;
their policy has messages in both directions, and its time includes the features and the edges.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench_links import GROWTH_LIMIT, NEIGHBOURS, NETWORKS, SEED, network, rayleigh
from suite import growth_exponent, milliseconds, run
from torchrrm.deploy import InferenceSession, export
from torchrrm.deploy.session import open_runtime
from torchrrm.learning import PrimalDual
from torchrrm.policies import MetaGNN, PowerGNN, SparsePowerGNN
from torchrrm.policies.pyg import PyGLinkGNN, dense_data, sparse_data
from torchrrm.problems import ergodic_instance, relative_gain
from torchrrm.records import index

LINKS = 50
CORE_LIMIT_US, LEAST_RATIO = 60.0, 4.0
SPARSE_LIMIT_S = 0.5
TASKS, SAMPLES, PAIRS, EPOCHS = 8, 1024, 12, 4
LEAST_EPOCHS = 10.0


def in_turn(calls: dict[str, Callable[[], Any]], budget_s: float = 6.0) -> dict[str, np.ndarray]:
    """Durations in microseconds; the calls take turns of 20, so that a busy moment meets all of them."""
    seen: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + budget_s
    while time.perf_counter() < end:
        for name, call in calls.items():
            for turn in range(21):
                begin = time.perf_counter()
                call()
                if turn:  # the first finds the cache of another
                    seen[name].append(1e6 * (time.perf_counter() - begin))
    return {name: np.array(durations) for name, durations in seen.items()}


def exported() -> dict[str, Any]:
    """The paper's power net in a control loop, for one slot."""
    torch.manual_seed(SEED)
    policy, instance = PowerGNN.literal().eval(), index(rayleigh(1, LINKS), 0)
    data, pyg = dense_data(policy, instance), PyGLinkGNN(policy).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = export(policy, Path(folder) / "policy.onnx")
        session, runtime = InferenceSession(path), open_runtime(path.read_bytes(), threads=1)
    one = {"relative_gain": relative_gain(instance), "condition": torch.ones(LINKS)}
    inputs = one | {"max_power_w": instance.max_power_w, "active": instance.active}
    feed = {name: value[None].numpy() for name, value in inputs.items()}
    arrays = {name: value.numpy() for name, value in vars(instance).items()}

    @torch.inference_mode()
    def eager() -> Any:
        return policy(instance)

    @torch.inference_mode()
    def geometric() -> Any:
        return pyg(data.x, data.edge_index, data.edge_weight)

    calls = {"core": lambda: runtime.run(None, feed), "allocate": lambda: session.allocate(**arrays)}
    calls |= {"torch": eager, "pyg": geometric}
    wanted = geometric().numpy() * instance.max_power_w.numpy()
    apart = float(np.abs(session.run(feed)["power_w"][0] - wanted).max())
    ends = {name: np.percentile(durations, [50, 99]) for name, durations in in_turn(calls).items()}
    ratio = float(ends["pyg"][0] / ends["core"][0])
    print(f"power net of {LINKS} links, us")
    print(f"{'':>10}{'p50':>10}{'p99':>10}")
    for name, (p50, p99) in ends.items():
        print(f"{name:>10}{p50:10.1f}{p99:10.1f}")
    print(f"core asked: {CORE_LIMIT_US:g} us; PyG over core {ratio:.1f} (asked: {LEAST_RATIO:g})")
    print(f"largest difference of a power fraction: {apart:.1e}", flush=True)
    times = {
        f"{name}_{q}_us": float(value)
        for name, end in ends.items()
        for q, value in zip(("p50", "p99"), end, strict=True)
    }
    return {"links": LINKS, **times, "ratio": ratio, "limit_us": CORE_LIMIT_US, "largest_difference": apart}


@torch.inference_mode()
def sparse_networks() -> dict[str, Any]:
    """A policy on lists of neighbours, from 1e3 to 1e5 links."""
    torch.manual_seed(SEED)
    policy, rows = SparsePowerGNN.of(PowerGNN("weight")), []
    pyg = PyGLinkGNN(policy)
    print(f"policy on lists of {NEIGHBOURS} neighbours, ms")
    print(f"{'links':>9}{'policy':>10}{'features':>10}{'PyG':>10}{'ratio':>8}")
    for links in NETWORKS:
        instance = network(links)
        data = sparse_data(policy.graph(instance))
        row = {
            "links": links,
            "policy_ms": float(np.median(milliseconds([lambda one=instance: policy(one)]))),
            "graph_ms": float(np.median(milliseconds([lambda one=instance: policy.graph(one)], 0.5))),
        }
        call = lambda data=data: pyg(data.x, data.edge_index, data.edge_weight)  # noqa: E731
        row["pyg_ms"] = float(np.median(milliseconds([call]))) if links <= 10_000 else float("nan")
        rows.append(row)
        ratio = row["pyg_ms"] / row["policy_ms"]
        print(
            f"{links:9}{row['policy_ms']:10.2f}{row['graph_ms']:10.2f}{row['pyg_ms']:10.2f}{ratio:8.1f}",
            flush=True,
        )
    times = {row["links"]: row["policy_ms"] for row in rows}
    exponent = growth_exponent(times)
    print(f"{NETWORKS[-1]} links {times[NETWORKS[-1]] / 1e3:.3f} s (asked: {SPARSE_LIMIT_S:g} s)")
    print(f"growth exponent {exponent:.2f} (asked: {GROWTH_LIMIT:g})")
    return {"rows": rows, "growth_exponent": exponent}


def meta_training() -> dict[str, Any]:
    """Inner epochs of a meta-learner: one is a primal-dual step of every task on its window of slots."""
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    nets = MetaGNN()
    learner = PrimalDual(nets)
    gain = torch.empty(TASKS, SAMPLES, PAIRS, PAIRS).exponential_(generator=generator)
    tasks = ergodic_instance(gain, noise_power_w=0.1, max_power_w=1.0)
    start = {
        name: value.detach().expand(TASKS, *value.shape).clone() for name, value in nets.named_parameters()
    }
    ends: list[float] = []

    def note(epoch: int, parameters: Any) -> None:
        ends.append(time.perf_counter())

    for _ in range(EPOCHS):
        learner.adapt(start, tasks, EPOCHS, generator=generator, after_epoch=note)
    durations = np.diff(np.array(ends).reshape(EPOCHS, -1), axis=-1)[1:]  # the first to warm up
    rate = float(1.0 / np.median(durations))
    print(f"{TASKS} tasks of {PAIRS} links, windows of {learner.settings.slots} slots")
    print(f"{rate:.1f} inner epochs a second (asked: {LEAST_EPOCHS:g})", flush=True)
    return {"tasks": TASKS, "links": PAIRS, "slots": learner.settings.slots, "epochs_per_s": rate}


SECTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "exported": exported,
    "sparse": sparse_networks,
    "meta": meta_training,
}


if __name__ == "__main__":
    run("bench_links_gnn", __doc__, SECTIONS, SEED)
