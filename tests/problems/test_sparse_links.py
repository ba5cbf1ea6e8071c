import math
from typing import Any

import numpy as np
import pytest
import torch

from torchrrm.channels import Drop, PairedLinks
from torchrrm.channels.pathloss import DualSlope
from torchrrm.problems import PowerAction, WeightedSumRate, link_instance
from torchrrm.problems.links import SparseLinkInstance, SparseSumRate, sparse_links, sparsify
from torchrrm.records import replace

PATH_LOSS = DualSlope(2.0, 4.0, 100.0, 39.0)
HEIGHTS = {"station_height_m": torch.tensor(1.5), "user_height_m": torch.tensor(0.0)}


def matrix(count: int, links: int) -> Any:
    generator = torch.Generator().manual_seed(links)
    gain = torch.empty(count, links, links, dtype=torch.float64).exponential_(generator=generator)
    instance = link_instance(gain, noise_power_w=0.1, max_power_w=1.0)
    limit = 0.5 + torch.rand(count, links, generator=generator, dtype=torch.float64)
    return replace(instance, max_power_w=limit, active=torch.rand(count, links, generator=generator) < 0.8)


def test_all_neighbours_are_the_dense_problem() -> None:
    dense = matrix(5, 9)
    sparse = SparseSumRate().validate(sparsify(dense, 8))
    power = PowerAction(power_w=1.2 * dense.max_power_w * torch.rand(5, 9, dtype=torch.float64))
    wanted, found = WeightedSumRate().evaluate(dense, power), SparseSumRate().evaluate(sparse, power)
    torch.testing.assert_close(found.objective, wanted.objective)
    torch.testing.assert_close(found.utility, wanted.utility)
    torch.testing.assert_close(dict(found.violation), dict(wanted.violation))


def test_the_strongest_are_kept() -> None:
    dense = matrix(4, 9)
    sparse = sparsify(dense, 3)
    for i in range(4):
        for k in range(9):
            received = (dense.gain[i, k] * dense.max_power_w[i] * dense.active[i]).tolist()
            received[k] = 0.0
            wanted = sorted(range(9), key=lambda j: -received[j])[:3]
            assert sparse.neighbour[i, k].tolist() == wanted
            torch.testing.assert_close(
                sparse.neighbour_gain[i, k], dense.gain[i, k, wanted] * dense.active[i, wanted]
            )


def test_less_interference_gives_more_rate() -> None:
    dense = matrix(5, 9)
    rates = [SparseSumRate().rate(sparsify(dense, n), dense.max_power_w).sum() for n in (1, 4, 8)]
    assert rates[0] > rates[1] > rates[2]


@pytest.mark.parametrize(("links", "spread"), [(30, 1.0), (400, 1.0), (400, 0.02), (7, 1.0)])
def test_neighbours_of_a_drop_are_the_nearest(links: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(links)
    drop = PairedLinks(side_m=2000.0, receiver_height_m=1.5).sample(
        transmitters=links, receivers=links, generator=generator, dtype=torch.float64
    )
    flat = torch.tensor(
        [1.0, spread, 1.0], dtype=torch.float64
    )  # a long street is a hard case for square cells
    drop = Drop(rx_position_m=drop.rx_position_m * flat, tx_position_m=drop.tx_position_m * flat)
    degree = min(10, links - 1)
    network = SparseSumRate().validate(sparse_links(drop, PATH_LOSS, degree, noise_power_w=1e-13))
    receiver, transmitter = drop.rx_position_m.numpy(), drop.tx_position_m.numpy()
    distance = np.hypot(*(receiver[:, None, axis] - transmitter[None, :, axis] for axis in (0, 1)))
    distance[np.arange(links), np.arange(links)] = math.inf
    assert np.array_equal(network.neighbour.numpy(), np.argsort(distance, 1)[:, :degree])
    away = torch.from_numpy(np.sort(distance, 1)[:, :degree])
    wanted = PATH_LOSS.gain(away, **HEIGHTS)
    torch.testing.assert_close(network.neighbour_gain, wanted)
    own = torch.from_numpy(np.hypot(*(receiver[:, axis] - transmitter[:, axis] for axis in (0, 1))))
    torch.testing.assert_close(network.direct_gain, PATH_LOSS.gain(own, **HEIGHTS))


def test_all_in_one_place() -> None:
    drop = Drop(rx_position_m=torch.zeros(5, 3), tx_position_m=torch.ones(5, 3))
    network = sparse_links(drop, PATH_LOSS, 4)
    for k in range(5):
        assert sorted(network.neighbour[k].tolist()) == [j for j in range(5) if j != k]


def sparse() -> SparseLinkInstance:
    return sparsify(matrix(2, 5), 2)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("direct_gain", torch.ones(2, 0), "direct_gain: expected at least one link"),
        (
            "neighbour_gain",
            torch.ones(2, 4, 2),
            r"neighbour_gain: expected shape \[2, 5, 2\], got \[2, 4, 2\]",
        ),
        ("neighbour", torch.zeros(2, 5, 3, dtype=torch.int64), r"neighbour_gain: expected shape \[2, 5, 3\]"),
        ("neighbour", torch.full((2, 5, 2), 5), "neighbour: must be a link, 0 to 4, received 5"),
        ("weight", torch.ones(2, 4), r"weight: expected shape \[2, 5\], got \[2, 4\]"),
        ("noise_power_w", torch.zeros(2), "noise_power_w: must be positive and finite"),
        ("neighbour_gain", -torch.ones(2, 5, 2), "neighbour_gain: must be finite and not negative"),
    ],
)
def test_what_is_no_instance(field: str, value: torch.Tensor, message: str) -> None:
    value = value.double() if value.is_floating_point() else value
    with pytest.raises(ValueError, match=message):
        SparseSumRate().validate(replace(sparse(), **{field: value}))


def test_arguments() -> None:
    with pytest.raises(ValueError, match="degree: must be in 1 to 4, below the number of links, received 5"):
        sparsify(matrix(2, 5), 5)
    drop = Drop(rx_position_m=torch.zeros(4, 3), tx_position_m=torch.zeros(5, 3))
    with pytest.raises(ValueError, match="drop: must be one drop of pairs"):
        sparse_links(drop, PATH_LOSS, 2)
