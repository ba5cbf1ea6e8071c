import math

import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchrrm.channels import CellularLinks, Colocated, DiscCell, PairedLinks, SquareCell
from torchrrm.channels.topology import _too_close
from torchrrm.records import batch_shape

TOPOLOGIES = [
    SquareCell(),
    DiscCell(100.0, 10.0),
    PairedLinks(),
    PairedLinks(min_transmitter_spacing_m=100.0),
    CellularLinks(),
    CellularLinks(rings=2, min_distance_m=0.0, radius_m=100.0),
    Colocated(),
]


def uniform_pvalue(sample: torch.Tensor, low: float, high: float) -> float:
    return scipy.stats.kstest(sample.flatten().numpy(), scipy.stats.uniform(low, high - low).cdf).pvalue


class TestSquareCell:
    def test_the_paper_cell(self, generator):
        drop = SquareCell().sample(
            500, transmitters=20, receivers=2, generator=generator, dtype=torch.float64
        )
        assert torch.equal(drop.rx_position_m[:, 0], torch.zeros(500, 3, dtype=torch.float64))
        for coordinate in (
            drop.tx_position_m[..., 0],
            drop.tx_position_m[..., 1],
            drop.rx_position_m[:, 1, 0],
        ):
            assert uniform_pvalue(coordinate, -100.0, 100.0) > 1e-3
        assert torch.equal(drop.tx_position_m[..., 2], torch.zeros(500, 20, dtype=torch.float64))

    def test_heights(self, generator):
        cell = SquareCell(50.0, station_height_m=25.0, user_height_m=1.5)
        drop = cell.sample(transmitters=3, receivers=3, generator=generator)
        assert drop.rx_position_m[:, 2].tolist() == [25.0, 1.5, 1.5]
        assert drop.tx_position_m[:, 2].tolist() == [1.5, 1.5, 1.5]
        assert float(drop.tx_position_m[:, :2].abs().max()) <= 25.0


def test_disc_cell_is_uniform_by_area(generator):
    drop = DiscCell(100.0, 30.0).sample(transmitters=20_000, generator=generator, dtype=torch.float64)
    radius = drop.tx_position_m[:, :2].norm(dim=-1)
    assert float(radius.min()) >= 30.0
    assert float(radius.max()) <= 100.0
    assert uniform_pvalue(radius.square(), 900.0, 10_000.0) > 1e-3
    angle = torch.atan2(drop.tx_position_m[:, 1], drop.tx_position_m[:, 0])
    assert uniform_pvalue(angle, -math.pi, math.pi) > 1e-3


def test_paired_links_keep_their_distances(generator):
    links = PairedLinks(500.0, 10.0, 50.0, transmitter_height_m=3.0, receiver_height_m=1.5)
    drop = links.sample(200, transmitters=20, receivers=20, generator=generator, dtype=torch.float64)
    offset = drop.rx_position_m - drop.tx_position_m
    assert uniform_pvalue(offset[..., :2].norm(dim=-1), 10.0, 50.0) > 1e-3
    assert uniform_pvalue(torch.atan2(offset[..., 1], offset[..., 0]), -math.pi, math.pi) > 1e-3
    assert uniform_pvalue(drop.tx_position_m[..., 0], -250.0, 250.0) > 1e-3
    torch.testing.assert_close(offset[..., 2], torch.full((200, 20), -1.5, dtype=torch.float64))


class TestSpacing:
    def test_transmitters_keep_it(self, generator):
        topology = PairedLinks(min_transmitter_spacing_m=35.0)
        drop = topology.sample(40, 2, transmitters=50, receivers=50, generator=generator)
        place = drop.tx_position_m.double()
        apart = (place[..., :, None, :] - place[..., None, :, :]).norm(dim=-1) + 1e9 * torch.eye(50)
        assert 35.0 - 1e-4 <= float(apart.min()) < 36.0
        assert float(place[..., :2].abs().max()) <= 250.0

    def test_only_offenders_are_drawn_again(self):
        """The first transmitter never is, and where there is room the drop is that without a spacing."""
        drops = [
            PairedLinks(min_transmitter_spacing_m=spacing).sample(
                300, transmitters=4, receivers=4, generator=torch.Generator().manual_seed(1)
            )
            for spacing in (0.0, 80.0)
        ]
        free, spaced = (drop.tx_position_m for drop in drops)
        assert torch.equal(free[:, 0], spaced[:, 0])
        fits = (torch.cdist(free, free) + 1e9 * torch.eye(4)).amin(dim=(-2, -1)) >= 80.0
        assert 0 < int(fits.sum()) < 300
        assert torch.equal(free[fits], spaced[fits])
        assert not torch.equal(free, spaced)

    @pytest.mark.parametrize("spacing_m", [1e-12, 0.5, 10.0, 50.0, 99.0, 200.0])
    def test_offenders_are_those_of_all_distances(self, spacing_m, generator):
        """Places on both sides of the origin, and on the borders of cells."""
        place = 100.0 * torch.rand(6, 40, 2, generator=generator, dtype=torch.float64) - 50.0
        place[3:] = (place[3:] / 10.0).round() * 10.0
        distance = (place[:, :, None] - place[:, None]).norm(dim=-1)
        expected = (distance < spacing_m).tril(diagonal=-1).any(dim=-1)
        assert torch.equal(_too_close(place, spacing_m), expected)

    @pytest.mark.parametrize("spacing_m", [45.0, 60.0])
    def test_no_room(self, spacing_m, generator):
        """Not to be packed at all, or not at random."""
        topology = PairedLinks(side_m=100.0, min_transmitter_spacing_m=spacing_m)
        message = (
            "^min_transmitter_spacing_m: must leave room for 12 transmitters in a square of 100 m, received "
        )
        with pytest.raises(ValueError, match=message):
            topology.sample(3, transmitters=12, receivers=12, generator=generator)

    def test_large_networks_without_spacing(self, generator):
        drop = PairedLinks(10_000.0).sample(transmitters=100_000, receivers=100_000, generator=generator)
        assert drop.tx_position_m.shape == (100_000, 3)


class TestCellularLinks:
    def test_centres(self):
        """A hexagon and its ring, `sqrt(3) R` apart; two rings make 19 cells."""
        centre = CellularLinks(radius_m=500.0).centres_m()
        assert centre.shape == (7, 2)
        assert centre[0].tolist() == [0.0, 0.0]
        torch.testing.assert_close(
            centre[1:].norm(dim=-1), torch.full((6,), 500 * math.sqrt(3), dtype=torch.float64)
        )
        apart = torch.cdist(centre, centre) + 1e9 * torch.eye(7)
        torch.testing.assert_close(apart.amin(-1), torch.full((7,), 500 * math.sqrt(3), dtype=torch.float64))
        outer = CellularLinks(rings=2).centres_m()
        assert len(outer) == CellularLinks(rings=2).cells == 19
        assert bool((outer[7:].norm(dim=-1) > outer[:7].norm(dim=-1).max() + 1.0).all())
        assert CellularLinks(rings=0).centres_m().tolist() == [[0.0, 0.0]]

    def test_links_are_spread_and_share_their_transmitters_place(self, generator):
        drop = CellularLinks().sample(3, transmitters=50, receivers=50, generator=generator)
        place, count = drop.tx_position_m[0].unique(dim=0, return_counts=True)
        assert place.shape == (7, 3)
        assert sorted(count.tolist()) == [7, 7, 7, 7, 7, 7, 8]
        assert torch.equal(drop.tx_position_m[:, 7:], drop.tx_position_m[:, :-7])
        assert torch.equal(drop.tx_position_m[0], drop.tx_position_m[2])

    def test_receivers_are_uniform_in_their_hexagon(self, generator):
        """Distances within the limits and by area; nearer to the own centre than to any other; no side preferred."""
        cells = CellularLinks()
        drop = cells.sample(200, transmitters=70, receivers=70, generator=generator, dtype=torch.float64)
        offset = (drop.rx_position_m - drop.tx_position_m)[..., :2]
        distance = offset.norm(dim=-1)
        assert 50.0 <= float(distance.min()) < 52.0
        assert 490.0 < float(distance.max()) <= 500.0
        own = torch.cdist(drop.rx_position_m[..., :2], cells.centres_m()).argmin(-1)
        assert torch.equal(own, (torch.arange(70) % 7).expand(200, 70))
        inscribed = 250.0 * math.sqrt(3)
        assert uniform_pvalue(distance[distance <= inscribed] ** 2, 50.0**2, inscribed**2) > 1e-3
        share = (inscribed**2 - 50.0**2) * math.pi / (1.5 * math.sqrt(3) * 500.0**2 - math.pi * 50.0**2)
        assert float((distance <= inscribed).double().mean()) == pytest.approx(share, abs=0.01)
        angle = torch.atan2(offset[..., 1], offset[..., 0]).remainder(math.pi / 3)
        for side in range(6):
            there = (torch.atan2(offset[..., 1], offset[..., 0]) // (math.pi / 3)) == side - 3
            assert float(there.double().mean()) == pytest.approx(1 / 6, abs=0.015)
            assert scipy.stats.kstest(angle[there].numpy(), angle.flatten().numpy()).pvalue > 1e-3


@given(
    topology=st.sampled_from(TOPOLOGIES),
    batch=st.lists(st.integers(0, 3), max_size=3),
    nodes=st.integers(1, 6),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_shapes_and_reproducibility(topology, batch, nodes, dtype):
    drops = [
        topology.sample(
            *batch,
            transmitters=nodes,
            receivers=nodes,
            generator=torch.Generator().manual_seed(7),
            dtype=dtype,
        )
        for _ in range(2)
    ]
    assert drops[0].rx_position_m.shape == drops[0].tx_position_m.shape == (*batch, nodes, 3)
    assert drops[0].rx_position_m.dtype == drops[0].tx_position_m.dtype == dtype
    assert batch_shape(drops[0]) == tuple(batch)
    assert torch.equal(drops[0].tx_position_m, drops[1].tx_position_m)
    assert torch.equal(drops[0].rx_position_m, drops[1].rx_position_m)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SquareCell(0.0), "side_m: must be finite and above 0.0, received 0.0"),
        (lambda: SquareCell(math.nan), "side_m: must be finite and above 0.0, received nan"),
        (
            lambda: SquareCell(user_height_m=-1.0),
            "user_height_m: must be finite and at least 0.0, received -1.0",
        ),
        (lambda: CellularLinks(rings=-1), "rings: must be at least 0, received -1"),
        (lambda: CellularLinks(radius_m=0.0), "radius_m: must be finite and above 0.0, received 0.0"),
        (
            lambda: CellularLinks(min_distance_m=450.0),
            "min_distance_m: must be below 433.013, the inner radius, received 450",
        ),
        (
            lambda: CellularLinks().sample(transmitters=3, receivers=2, generator=torch.Generator()),
            "receivers: must equal the number of transmitters 3, received 2",
        ),
        (lambda: DiscCell(10.0, 10.0), "outer_radius_m: must be finite and above 10.0, received 10.0"),
        (
            lambda: PairedLinks(100.0, 20.0, 10.0),
            "max_distance_m: must be finite and at least 20.0, received 10.0",
        ),
        (
            lambda: PairedLinks(min_transmitter_spacing_m=-1.0),
            "min_transmitter_spacing_m: must be finite and at least 0.0, received -1.0",
        ),
        (
            lambda: SquareCell().sample(transmitters=0, generator=torch.Generator()),
            "transmitters: must be at least 1, received 0",
        ),
        (
            lambda: PairedLinks().sample(transmitters=3, receivers=2, generator=torch.Generator()),
            "receivers: must equal the number of transmitters 3, received 2",
        ),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()
