"""Power control on lists of neighbours against the dense policy and PyTorch Geometric."""

import sys

import numpy as np
import pytest
import torch
from tests.testing.links import sample

from torchrrm.policies import PowerGNN, SparsePowerGNN, save_weights
from torchrrm.policies.pyg import PyGLinkGNN, dense_data, sparse_data
from torchrrm.policies.weights import load_policy
from torchrrm.problems import LinkInstance
from torchrrm.problems.links import SparseLinkInstance, SparseSumRate, sparsify
from torchrrm.records import index, replace, to

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")


def draw(count: int = 4, idle: float = 0.3) -> LinkInstance:
    generator = torch.Generator().manual_seed(0)
    instance = sample(count, generator=generator)
    return replace(instance, active=torch.rand(instance.active.shape, generator=generator) >= idle)


def network(links: int, degree: int, seed: int = 0) -> SparseLinkInstance:
    """One network of random neighbours."""
    generator = np.random.default_rng(seed)
    neighbour = np.stack([generator.permutation(links - 1)[:degree] for _ in range(links)])
    neighbour += neighbour >= np.arange(links)[:, None]  # not itself
    gain = 10.0 ** generator.uniform(-13, -10, (links, degree))
    return SparseLinkInstance(
        direct_gain=torch.from_numpy(10.0 ** generator.uniform(-11, -9, links)).float(),
        neighbour=torch.from_numpy(neighbour),
        neighbour_gain=torch.from_numpy(gain).float(),
        noise_power_w=torch.tensor(4e-14),
        max_power_w=torch.full((links,), 0.01),
        weight=torch.from_numpy(generator.uniform(0.5, 1.5, links)).float(),
        active=torch.from_numpy(generator.random(links) > 0.1),
    )


def net(*arguments: str, **settings: object) -> PowerGNN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PowerGNN(*arguments, **settings)  # pyright: ignore


def close(received: torch.Tensor, wanted: torch.Tensor) -> bool:
    return bool((received - wanted).abs().max() <= 1e-5 * wanted.abs().max())


@pytest.mark.parametrize("condition", ["priority", "weight"])
@pytest.mark.parametrize("settings", [{}, {"outgoing": False, "widths": (8, 8, 8)}, {"enriched": False}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_dense_policy_where_all_are_neighbours(condition, settings, dtype):
    policy, instance = net(condition, **settings).to(dtype), to(draw(), dtype=dtype)
    sparse, lists = SparsePowerGNN.of(policy), sparsify(instance, 5)
    priority = 0.1 + instance.weight.flip(-1)
    wanted = policy(instance, priority=priority).power_w
    unrolled = sparse(lists, priority=priority).power_w
    with torch.no_grad():
        compiled = sparse(lists, priority=priority).power_w
    assert unrolled.requires_grad
    assert not compiled.requires_grad
    assert close(unrolled, wanted)
    assert close(compiled, wanted)
    assert compiled.dtype == dtype
    with torch.no_grad():
        assert close(sparse(index(lists, 1), priority=priority[1]).power_w, wanted[1])
        assert close(sparse(lists).power_w, policy(instance).power_w)


def test_compiled_equals_torch_on_a_sparse_network():
    sparse, instance = SparsePowerGNN.of(net("weight")), network(700, 8)
    wanted = sparse(instance).power_w.detach()
    with torch.no_grad():
        received = sparse(instance).power_w
    assert close(received, wanted)
    assert not received[~instance.active].any()
    score = SparseSumRate().evaluate(instance, sparse(instance))
    assert all((value <= 0).all() for value in score.violation.values())


@torch.no_grad()
def test_renumbering_renumbers():
    sparse, instance = SparsePowerGNN.of(net("weight")), network(300, 8)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    place = order.argsort()
    fields = {
        name: value[order] if value.ndim else value
        for name, value in vars(instance).items()
        if name != "neighbour"
    }
    renumbered = SparseLinkInstance(neighbour=place[instance.neighbour[order]], **fields)
    assert close(sparse(renumbered).power_w, sparse(instance).power_w[order])


@torch.no_grad()
def test_what_inactive_links_hold_does_not_matter():
    sparse, instance = SparsePowerGNN.of(net("weight")), network(100, 8)
    idle = ~instance.active
    changed = replace(
        instance,
        direct_gain=instance.direct_gain.masked_fill(idle, torch.nan),
        max_power_w=instance.max_power_w.masked_fill(idle, torch.nan),
        neighbour_gain=instance.neighbour_gain.masked_fill(idle[:, None], torch.nan),
        weight=instance.weight.masked_fill(idle, 7.0),
    )
    torch.testing.assert_close(sparse(changed).power_w, sparse(instance).power_w)
    empty = SparseLinkInstance(**{name: value[None][:0] for name, value in vars(instance).items()})
    assert sparse(empty).power_w.shape == (0, 100)
    nobody = replace(instance, active=torch.zeros_like(instance.active))
    assert not sparse(nobody).power_w.any()


def test_training_reaches_the_shared_weights():
    policy = net("weight")
    sparse, instance = SparsePowerGNN.of(policy), network(50, 6)
    (-SparseSumRate().evaluate(instance, sparse(instance)).objective).backward()
    for parameter in policy.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
    dense, complete = net("weight"), draw(1, idle=0.0)
    sparse = SparsePowerGNN.of(net("weight"))
    dense(complete).power_w.sum().backward()
    sparse(sparsify(complete, 5)).power_w.sum().backward()
    for (name, received), wanted in zip(sparse.named_parameters(), dense.parameters(), strict=True):
        assert received.grad is not None
        assert wanted.grad is not None
        assert close(received.grad, wanted.grad), name


def test_is_kept_by_its_arguments(tmp_path):
    sparse, instance = SparsePowerGNN.of(net("weight", widths=(8, 4))), network(40, 6)
    save_weights(tmp_path / "policy.safetensors", sparse, {})
    again = load_policy(tmp_path / "policy.safetensors", {"SparsePowerGNN": SparsePowerGNN})
    assert torch.equal(again(instance).power_w, sparse(instance).power_w)


@torch.no_grad()
@pytest.mark.parametrize("outgoing", [False, True])
def test_equals_pyg(outgoing):
    pytest.importorskip("torch_geometric")
    policy, instance = net("weight", outgoing=outgoing), network(200, 8)
    sparse = SparsePowerGNN.of(policy)
    data = sparse_data(sparse.graph(instance))
    share = PyGLinkGNN(sparse)(data.x, data.edge_index, data.edge_weight)
    assert close(sparse(instance).power_w, share * instance.max_power_w * instance.active)
    single = index(draw(1), 0)
    for dense in (policy, PowerGNN.literal()):
        data = dense_data(dense, single, single.weight)
        share = PyGLinkGNN(dense)(data.x, data.edge_index, data.edge_weight)
        wanted = dense(single, priority=single.weight).power_w
        assert close(share * single.max_power_w * single.active, wanted)


def test_messages(monkeypatch):
    with pytest.raises(ValueError, match="policy: must have local edges, received frobenius"):
        SparsePowerGNN.of(PowerGNN.literal())
    with pytest.raises(ValueError, match="condition: must be priority or weight, received 'x'"):
        SparsePowerGNN("x")  # pyright: ignore
    monkeypatch.setitem(sys.modules, "torch_geometric.nn", None)
    with pytest.raises(ValueError, match=r"torch_geometric.nn: must be installed.*torchrrm\[sparse\]"):
        PyGLinkGNN(net())
