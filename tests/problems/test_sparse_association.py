"""Lists of the strongest stations: the dense problem where all are listed, bounds of it elsewhere."""

from typing import Any

import pytest
import torch

from torchrrm.channels import Drop
from torchrrm.channels.pathloss import DualSlope
from torchrrm.problems.association import (
    AssociationAction,
    CellInstance,
    SparseAssociation,
    SparseCellInstance,
    SumRateAssociation,
    cell_instance,
    listed,
    sparse_cells,
    sparsify_cells,
)
from torchrrm.records import index, replace, stack

PATH_LOSS = DualSlope(2.0, 4.0, 100.0, 39.0)


def draw(*batch: int, users: int = 9, stations: int = 7) -> CellInstance:
    """Gains over 40 dB, some without a path; users and stations that are not active."""
    generator = torch.Generator().manual_seed(users)
    shape = (*batch, users, stations)
    gain = 10 ** -(9 + 4 * torch.rand(shape, generator=generator, dtype=torch.float64))
    gain = torch.where(torch.rand(shape, generator=generator) < 0.9, gain, 0.0)
    instance = cell_instance(gain, macro=torch.arange(stations) < 2)
    return replace(
        instance,
        active_user=torch.rand(shape[:-1], generator=generator) < 0.8,
        active_bs=torch.rand((*batch, stations), generator=generator) < 0.8,
    )


def any_action(instance: CellInstance, seed: int = 0) -> AssociationAction:
    """Any stations and powers, feasible or not."""
    generator = torch.Generator().manual_seed(seed)
    stations = instance.gain.shape[-1]
    shape = instance.active_user.shape
    return AssociationAction(
        station=torch.randint(-1, stations + 1, shape, generator=generator),
        power_w=instance.max_power_w
        * (0.1 + 1.5 * torch.rand(instance.max_power_w.shape, generator=generator)).double(),
    )


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_stations_are_the_dense_problem(share: float) -> None:
    dense = draw(3, 4)
    problem = SparseAssociation(share)
    sparse = problem.validate(sparsify_cells(dense, 7))
    assert not sparse.residual_w.any()
    for seed in range(5):
        action = any_action(dense, seed)
        wanted, found = SumRateAssociation().evaluate(dense, action), problem.evaluate(sparse, action)
        torch.testing.assert_close(found.utility, wanted.utility)
        torch.testing.assert_close(found.objective, wanted.objective)
        torch.testing.assert_close(found.violation["power"], wanted.violation["power"])
        reached = (wanted.utility > 0) | ~listed(sparse).any(-1)
        assert torch.equal(found.violation["station"] > 0, ~reached)
        alone = problem.evaluate(
            index(index(sparse, 1), 2),
            AssociationAction(station=action.station[1, 2], power_w=action.power_w[1, 2]),
        )
        torch.testing.assert_close(alone.utility, wanted.utility[1, 2])


def test_the_strongest_are_listed() -> None:
    dense = draw(4)
    sparse = sparsify_cells(dense, 3)
    ratio = dense.gain * dense.max_power_w[:, None] * dense.active_bs[:, None] * dense.active_user[..., None]
    torch.testing.assert_close(
        sparse.neighbour_gain * dense.max_power_w[0, sparse.neighbour],
        ratio.sort(-1, descending=True)[0][..., :3],
    )
    torch.testing.assert_close(sparse.residual_w, ratio.sort(-1)[0][..., :-3].sum(-1))
    assert torch.equal(listed(sparse), sparse.neighbour_gain > 0)


def test_shares_of_the_unlisted_are_bounds() -> None:
    dense = draw(50)
    sparse = sparsify_cells(dense, 3)
    first = torch.where(listed(sparse)[..., 0], sparse.neighbour[..., 0], -1)
    power = dense.max_power_w * torch.rand(50, 7, generator=torch.Generator().manual_seed(0)).double()
    action = AssociationAction(station=first, power_w=power)
    exact = SumRateAssociation().evaluate(dense, action)
    low, high = (SparseAssociation(share).evaluate(sparse, action) for share in (1.0, 0.0))
    assert not exact.violation["station"].any()
    assert not low.violation["station"].any()
    assert (low.utility <= exact.utility * (1 + 1e-12)).all()
    assert (high.utility >= exact.utility * (1 - 1e-12)).all()
    assert low.objective.sum() < 0.99 * exact.objective.sum() < 0.98 * high.objective.sum()


def test_a_station_outside_the_list_serves_nobody() -> None:
    sparse = index(sparsify_cells(draw(1), 2), 0)
    outside = torch.tensor([next(j for j in range(7) if j not in row) for row in sparse.neighbour.tolist()])
    found = SparseAssociation().evaluate(
        sparse, AssociationAction(station=outside, power_w=sparse.max_power_w)
    )
    assert not found.objective
    assert torch.equal(found.violation["station"] > 0, listed(sparse).any(-1))


def positions(users: int, stations: int, side_m: float = 1500.0) -> Drop:
    generator = torch.Generator().manual_seed(users)
    user = side_m * torch.rand(users, 3, generator=generator, dtype=torch.float64)
    station = side_m * torch.rand(stations, 3, generator=generator, dtype=torch.float64)
    user[:, 2], station[:, 2] = 1.5, 10.0
    station[: stations // 10, 2] = 25.0
    return Drop(rx_position_m=user, tx_position_m=station)


@pytest.mark.parametrize(
    ("users", "stations", "neighbours"), [(300, 80, 12), (40, 5, 5), (1, 30, 3), (0, 9, 2)]
)
def test_lists_of_positions_are_those_of_the_matrix(users: int, stations: int, neighbours: int) -> None:
    drop = positions(users, stations)
    limit = torch.where(drop.tx_position_m[:, 2] > 20.0, 100.0, 0.1).double()
    apart = torch.cdist(drop.rx_position_m[:, :2], drop.tx_position_m[:, :2])
    height = drop.tx_position_m[:, 2].expand_as(apart)
    gain = PATH_LOSS.gain(apart, station_height_m=height, user_height_m=torch.tensor(1.5).expand_as(apart))
    wanted = sparsify_cells(cell_instance(gain, max_power_w=limit), neighbours)
    found = SparseAssociation().validate(sparse_cells(drop, PATH_LOSS, limit, neighbours))
    assert torch.equal(found.neighbour, wanted.neighbour)
    for name in ("neighbour_gain", "residual_w", "noise_power_w", "max_power_w", "bandwidth_hz"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name).to(torch.float64))
    assert found.active_user.all()
    assert found.active_bs.all()
    assert not sparse_cells(drop, PATH_LOSS, limit, neighbours, residual=False).residual_w.any()


def test_padding_changes_nothing() -> None:
    one, two = sparsify_cells(draw(), 3), sparsify_cells(draw(users=5, stations=12), 6)
    both = SparseAssociation().validate(stack([one, two]))
    station = torch.where(listed(both)[..., 0], both.neighbour[..., 0], -1)
    found = SparseAssociation().evaluate(both, AssociationAction(station=station, power_w=both.max_power_w))
    for number, alone in enumerate((one, two)):
        users, stations = len(alone.active_user), len(alone.active_bs)
        action = AssociationAction(station=station[number, :users], power_w=alone.max_power_w)
        wanted = SparseAssociation().evaluate(alone, action)
        torch.testing.assert_close(found.utility[number, :users], wanted.utility)
        assert not found.utility[number, users:].any()
        assert stations <= both.max_power_w.shape[-1]


def good() -> SparseCellInstance:
    full = draw(2)
    active = replace(full, active_user=full.active_user | True, active_bs=full.active_bs | True)
    return sparsify_cells(active, 3)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("neighbour_gain", torch.ones(4), r"neighbour_gain: expected shape \[2, 9, 3\], got \[4\]"),
        ("neighbour_gain", torch.ones(2, 9, 0), "neighbour_gain: expected at least one degree"),
        ("neighbour", torch.zeros(2, 9, 4, dtype=torch.int64), r"neighbour_gain: expected shape \[2, 9, 4\]"),
        ("neighbour", torch.full((2, 9, 3), 7), "neighbour: must be a station, 0 to 6 or -1, received 7"),
        ("neighbour", torch.full((2, 9, 3), 3), "neighbour: must list no station twice, received 3 again"),
        ("residual_w", torch.ones(2, 8), r"residual_w: expected shape \[2, 9\], got \[2, 8\]"),
        ("residual_w", -torch.ones(2, 9), "residual_w: must be finite and not negative"),
        ("active_bs", torch.ones(2, 6, dtype=torch.bool), r"active_bs: expected shape \[2, 7\]"),
        ("noise_power_w", torch.zeros(2), "noise_power_w: must be positive and finite"),
        ("max_power_w", torch.full((2, 7), torch.inf), "max_power_w: must be positive and finite"),
        ("neighbour_gain", torch.full((2, 9, 3), torch.nan), "neighbour_gain: must be finite and not negative"),
    ],
)  # fmt: skip
def test_what_is_no_instance(field: str, value: torch.Tensor, message: str) -> None:
    value = value.double() if value.is_floating_point() else value
    with pytest.raises(ValueError, match=message):
        SparseAssociation().validate(replace(good(), **{field: value}))


def test_arguments() -> None:
    with pytest.raises(ValueError, match="neighbours: must be in 1 to 7, the stations, received 8"):
        sparsify_cells(draw(), 8)
    with pytest.raises(ValueError, match="unlisted_share: must be 0 to 1, received 2"):
        SparseAssociation(2.0)
    limit: Any = torch.ones(5)
    with pytest.raises(ValueError, match="drop: must be one drop, positions"):
        sparse_cells(
            Drop(rx_position_m=torch.zeros(2, 4, 3), tx_position_m=torch.zeros(2, 5, 3)), PATH_LOSS, limit, 2
        )
    with pytest.raises(ValueError, match=r"max_power_w: must broadcast to \[4\], received shape \[5\]"):
        sparse_cells(
            Drop(rx_position_m=torch.zeros(4, 3), tx_position_m=torch.zeros(4, 3)), PATH_LOSS, limit, 2
        )
