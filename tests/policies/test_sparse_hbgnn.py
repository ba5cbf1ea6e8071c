"""HBGNN on lists of stations against the dense policy, with the same weights."""

import pytest
import torch

from torchrrm.policies import save_weights
from torchrrm.policies.hbgnn import HBGNN, NOT_REACHABLE
from torchrrm.policies.sparse_hbgnn import SparseHBGNN
from torchrrm.policies.weights import load_policy
from torchrrm.problems.association import (
    UNSERVED,
    CellInstance,
    SparseAssociation,
    SparseCellInstance,
    cell_instance,
    listed,
    sparsify_cells,
)
from torchrrm.records import index, map_tensors, replace, stack, to


def draw(*batch: int, users: int = 12, stations: int = 8, idle: float = 0.2, seed: int = 0) -> CellInstance:
    """Gains over 50 dB, a tenth without a path, some users and stations not active."""
    generator = torch.Generator().manual_seed(seed)
    shape = (*batch, users, stations)
    gain = 10 ** -(8 + 5 * torch.rand(shape, generator=generator, dtype=torch.float64))
    gain = torch.where(torch.rand(shape, generator=generator) < 0.9, gain, 0.0)
    return replace(
        cell_instance(gain, macro=torch.arange(stations) < 2),
        active_user=torch.rand(shape[:-1], generator=generator) >= idle,
        active_bs=torch.rand((*batch, stations), generator=generator) >= idle,
    )


def net(**settings: object) -> HBGNN:
    """Random weights, those of powers too."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        policy = HBGNN(**({"width": 16, "hidden": 4} | settings)).double()  # pyright: ignore
        with torch.no_grad():
            for name, value in policy.named_parameters():
                value.add_(0.1 * torch.randn_like(value)) if "loudness" in name else None
    return policy


@pytest.mark.parametrize("settings", [{}, {"layers": 1, "heads": 2, "steps": 2}, {"layers": 3}])
def test_equals_the_dense_policy_where_all_are_listed(settings):
    policy, instance = net(**settings), draw(2, 3)
    sparse, lists = SparseHBGNN.of(policy), sparsify_cells(instance, 8)
    wanted = policy.score(instance)
    traced = sparse.score(lists)
    with torch.no_grad():
        compiled = sparse.score(lists)
    assert traced.score.requires_grad
    assert not compiled.score.requires_grad
    for found in (traced, compiled):
        torch.testing.assert_close(found.share, wanted.share, rtol=1e-8, atol=1e-12)
        torch.testing.assert_close(
            found.score, wanted.score.gather(-1, lists.neighbour), rtol=1e-8, atol=1e-8
        )
    with torch.no_grad():
        action, dense = sparse(lists), policy(instance)
        assert torch.equal(action.station, dense.station)
        torch.testing.assert_close(action.power_w, dense.power_w)
        alone = sparse(index(index(lists, 1), 2))
    assert torch.equal(alone.station, dense.station[1, 2])
    torch.testing.assert_close(alone.power_w, dense.power_w[1, 2])


@torch.no_grad()
def test_single_precision_is_near_double():
    policy, instance = net(), draw(20)
    lists = sparsify_cells(instance, 8)
    wanted = policy(instance)
    found = SparseHBGNN.of(net().float())(to(lists, dtype=torch.float32))
    assert found.power_w.dtype == torch.float32
    assert (found.station == wanted.station).float().mean() > 0.99
    torch.testing.assert_close(found.power_w.double(), wanted.power_w, rtol=1e-2, atol=1e-4)


@torch.no_grad()
def test_short_lists_give_feasible_actions():
    lists = sparsify_cells(draw(5, users=40, stations=30), 6)
    action = SparseHBGNN.of(net())(lists)
    found = SparseAssociation().evaluate(lists, action)
    assert all((value <= 0).all() for value in found.violation.values())
    assert torch.equal(action.station >= 0, listed(lists).any(-1))
    assert (found.objective > 0).all()


@torch.no_grad()
def test_renumbering_renumbers():
    sparse, lists = SparseHBGNN.of(net()), sparsify_cells(draw(users=40, stations=30), 6)
    generator = torch.Generator().manual_seed(1)
    users, stations = torch.randperm(40, generator=generator), torch.randperm(30, generator=generator)
    place = stations.argsort()
    moved = SparseCellInstance(
        neighbour=place[lists.neighbour[users]],
        neighbour_gain=lists.neighbour_gain[users],
        residual_w=lists.residual_w[users],
        noise_power_w=lists.noise_power_w,
        max_power_w=lists.max_power_w[stations],
        bandwidth_hz=lists.bandwidth_hz,
        active_user=lists.active_user[users],
        active_bs=lists.active_bs[stations],
    )
    found, wanted = sparse(moved), sparse(lists)
    station = torch.where(wanted.station >= 0, place[wanted.station], UNSERVED)
    assert torch.equal(found.station, station[users])
    torch.testing.assert_close(found.power_w, wanted.power_w[stations])


@torch.no_grad()
def test_padding_and_what_is_not_active_do_not_matter():
    sparse, one, two = SparseHBGNN.of(net()), draw(users=9), draw(users=20, stations=14, seed=1)
    singles = sparsify_cells(one, 8), sparsify_cells(two, 5)
    both = sparse(stack(singles))
    for number, lists in enumerate(singles):
        wanted = sparse(lists)
        users, stations = len(wanted.station), len(wanted.power_w)
        assert torch.equal(both.station[number, :users], wanted.station)
        assert (both.station[number, users:] == UNSERVED).all()
        torch.testing.assert_close(both.power_w[number, :stations], wanted.power_w)
    lists = singles[1]
    idle = ~lists.active_user
    changed = replace(
        lists,
        neighbour_gain=lists.neighbour_gain.masked_fill(idle[:, None], torch.nan),
        residual_w=lists.residual_w.masked_fill(idle, torch.nan),
        max_power_w=lists.max_power_w.masked_fill(~lists.active_bs, torch.nan),
    )
    found = sparse(changed)
    assert torch.equal(found.station, sparse(lists).station)
    torch.testing.assert_close(found.power_w[lists.active_bs], sparse(lists).power_w[lists.active_bs])
    assert not found.power_w[~lists.active_bs].any()


@torch.no_grad()
def test_nobody_and_nothing():
    sparse, lists = SparseHBGNN.of(net()), sparsify_cells(draw(), 5)
    nobody = sparse(replace(lists, active_user=torch.zeros_like(lists.active_user)))
    assert (nobody.station == UNSERVED).all()
    assert not nobody.power_w.any()
    empty = map_tensors(lambda t: t[None][:0], lists)
    assert sparse(empty).station.shape == (0, 12)
    without = replace(
        lists,
        neighbour=lists.neighbour[:0],
        neighbour_gain=lists.neighbour_gain[:0],
        residual_w=lists.residual_w[:0],
        active_user=lists.active_user[:0],
    )
    assert sparse(without).station.shape == (0,)
    assert not sparse(without).power_w.any()


def test_training_reaches_the_shared_weights():
    policy = net()
    lists = sparsify_cells(draw(users=30, stations=20, idle=0.0), 5)
    scores = SparseHBGNN.of(policy).score(lists)
    kept = torch.where(scores.score > NOT_REACHABLE / 2, scores.score, 0.0)
    (kept.sum() + scores.share.log().sum()).backward()
    missing = [name for name, value in policy.named_parameters() if value.grad is None]
    assert not missing
    assert all(torch.isfinite(value.grad).all() for value in policy.parameters() if value.grad is not None)


@torch.no_grad()
def test_is_kept_by_its_arguments(tmp_path):
    sparse, lists = SparseHBGNN.of(net(layers=1).float()), to(sparsify_cells(draw(), 5), dtype=torch.float32)
    save_weights(tmp_path / "policy.safetensors", sparse, {})
    again = load_policy(tmp_path / "policy.safetensors", {"SparseHBGNN": SparseHBGNN})
    assert torch.equal(again(lists).power_w, sparse(lists).power_w)
