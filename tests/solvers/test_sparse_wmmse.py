import pytest
import torch
from tests.testing.forms import traced

from torchrrm.channels import PairedLinks
from torchrrm.channels.pathloss import DualSlope
from torchrrm.problems import LinkInstance, PowerAction, WeightedSumRate, link_instance
from torchrrm.problems.links import SparseLinkInstance, SparseSumRate, sparse_links, sparsify
from torchrrm.records import index, replace, to
from torchrrm.solvers import WMMSE, SparseWMMSE
from torchrrm.solvers.sparse_wmmse import relative_sparse_links


def draw(count: int, links: int = 20, degree: int = 6) -> tuple[SparseLinkInstance, LinkInstance]:
    """Sparse links, and the same as a matrix."""
    generator = torch.Generator().manual_seed(links)
    gain = torch.empty(count, links, links, dtype=torch.float64).exponential_(generator=generator) ** 2
    dense = link_instance(gain, noise_power_w=0.1, max_power_w=1.0)
    dense = replace(
        dense,
        max_power_w=0.5 + torch.rand(count, links, generator=generator, dtype=torch.float64),
        weight=0.5 + torch.rand(count, links, generator=generator, dtype=torch.float64),
        active=torch.rand(count, links, generator=generator) < 0.8,
    )
    sparse = sparsify(dense, degree)
    kept = torch.diag_embed(sparse.direct_gain).scatter_add(-1, sparse.neighbour, sparse.neighbour_gain)
    return sparse, replace(dense, gain=kept)


@pytest.mark.parametrize("tol", [None, 1e-9])
def test_equals_the_dense_solver(tol: float | None) -> None:
    sparse, dense = draw(12)
    wanted, solver = WMMSE(500, tol)(dense).power_w, SparseWMMSE(500, tol)
    compiled, batched = solver.solve(sparse), solver.solve(traced(sparse))
    for solution in (compiled, batched):
        torch.testing.assert_close(solution.action.power_w, wanted, rtol=1e-7, atol=1e-9)
        assert solution.converged.shape == (12,)
        assert bool(solution.converged.all()) == (tol is not None)
    assert torch.equal(compiled.iterations, batched.iterations)
    one = solver.solve(index(sparse, 3))
    assert torch.equal(one.action.power_w, compiled.action.power_w[3])
    assert one.iterations.shape == ()
    single = solver(to(sparse, dtype=torch.float32))
    assert single.power_w.dtype == torch.float32


def test_the_objective_never_falls() -> None:
    sparse, dense = draw(20, links=30, degree=29)
    scores = [SparseSumRate().evaluate(sparse, SparseWMMSE(n)(sparse)).objective for n in range(1, 40)]
    steps = torch.stack(scores).diff(dim=0)
    assert (steps >= -1e-12 * scores[-1]).all()
    torch.testing.assert_close(WeightedSumRate().evaluate(dense, WMMSE(39)(dense)).objective, scores[-1])


def test_gradients_and_silence() -> None:
    sparse, _ = draw(3)
    problem = traced(sparse)
    power = SparseWMMSE(5)(problem).power_w
    power.sum().backward()
    assert problem.direct_gain.grad is not None
    assert torch.isfinite(problem.direct_gain.grad).all()
    assert (power[~sparse.active] == 0).all()
    nobody = replace(sparse, active=torch.zeros_like(sparse.active))
    assert not SparseWMMSE()(nobody).power_w.any()
    assert not SparseWMMSE()(traced(nobody)).power_w.any()
    assert torch.isfinite(relative_sparse_links(nobody).neighbour_gain).all()


def test_rates_of_a_large_network() -> None:
    drop = PairedLinks(side_m=3500.0).sample(
        transmitters=1000, receivers=1000, generator=torch.Generator().manual_seed(0)
    )
    network = SparseSumRate().validate(sparse_links(drop, DualSlope(2.0, 4.0, 100.0, 39.0), 24))
    chosen, full = SparseWMMSE()(network), PowerAction(power_w=network.max_power_w)
    scores = [SparseSumRate().evaluate(network, action).objective for action in (full, chosen)]
    assert scores[1] > 1.2 * scores[0]


def test_arguments() -> None:
    sparse, _ = draw(2)
    with pytest.raises(ValueError, match="max_steps: must be at least 1, received 0"):
        SparseWMMSE(0)
    with pytest.raises(ValueError, match="tol: must not be negative, received -1"):
        SparseWMMSE(tol=-1)
    with pytest.raises(ValueError, match="neighbour: must be a link, 0 to 19, received 20"):
        SparseWMMSE()(replace(sparse, neighbour=sparse.neighbour.clamp(min=1) + (sparse.neighbour == 19)))
    with pytest.raises(ValueError, match=r"neighbour_gain: expected shape \[2, 20, 6\], got \[2, 20, 5\]"):
        SparseWMMSE()(replace(sparse, neighbour_gain=sparse.neighbour_gain[..., :5]))
