import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchrrm.channels import (
    LosNlos,
    PowerLaw,
    Rayleigh,
    Scenario,
    SquareCell,
    UrbanDraw,
    UrbanDrop,
    UrbanSquare,
    hudn_scenario,
    line_of_sight,
)
from torchrrm.records import batch_shape, index, stack, to

TOWER = torch.tensor([[[-10.0, -10.0, 0.0], [10.0, 10.0, 30.0]]], dtype=torch.float64)
USER = (-50.0, 0.0, 1.5)


def sees(rx: tuple[float, ...], tx: tuple[float, ...], dtype: torch.dtype = torch.float64) -> bool:
    """Whether the tower leaves a link of two points; the answer is the same both ways."""
    one, other = (torch.tensor([point], dtype=dtype) for point in (rx, tx))
    there, back = line_of_sight(one, other, TOWER.to(dtype)), line_of_sight(other, one, TOWER.to(dtype))
    assert there.shape == back.shape == (1, 1)
    assert bool(there) == bool(back)
    return bool(there)


def oracle(rx: np.ndarray, tx: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Line by line: between crossings of the planes of a box a line is inside or outside, as its middle tells."""
    seen = np.ones((len(rx), len(tx)), bool)
    for k, start in enumerate(rx):
        for j, end in enumerate(tx):
            step = end - start
            for low, high in boxes:
                moving = step != 0
                crossings = np.concatenate([((low - start) / step)[moving], ((high - start) / step)[moving]])
                times = np.unique(np.concatenate(([0.0, 1.0], crossings[(crossings > 0) & (crossings < 1)])))
                middles = start + 0.5 * (times[1:] + times[:-1])[:, None] * step
                seen[k, j] &= not ((low < middles) & (middles < high)).all(axis=1).any()
    return seen


class TestLineOfSight:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_by_hand(self, dtype):
        """From 40 m in front of the wall: over the roof at `0.4 z`, past the corner at `0.4 y`."""
        for station, seen in (
            ((50.0, 0.0, 10.0), False),
            ((-20.0, 0.0, 10.0), True),  # in front of the tower
            ((-90.0, 0.0, 10.0), True),  # behind the user
            ((50.0, 0.0, 72.74), False),  # 1.5 + 0.4 (72.75 - 1.5) = 30
            ((50.0, 0.0, 72.76), True),
            ((50.0, 24.9, 10.0), False),
            ((50.0, -24.9, 10.0), False),
            ((50.0, 25.1, 10.0), True),
            ((50.0, -25.1, 10.0), True),
        ):
            assert sees(USER, station, dtype) == seen, station

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_touching_is_no_contact(self, dtype):
        for rx, tx in (
            ((-50.0, 10.0, 1.5), (50.0, 10.0, 1.5)),  # along a wall
            ((-50.0, 0.0, 30.0), (50.0, 0.0, 30.0)),  # along the roof
            ((-8.0, 0.0, 30.0), (8.0, 3.0, 30.0)),  # both on the roof
            ((0.0, 0.0, 30.0), (90.0, 0.0, 60.0)),  # from the roof upwards
            ((-10.0, 0.0, 30.0), USER),  # from the roof's edge
            ((-10.0, 0.0, 12.0), USER),  # at the wall
            ((-20.0, 0.0, 15.0), (0.0, -20.0, 15.0)),  # past a corner of the walls
            ((0.0, 0.0, 40.0), (0.0, 0.0, 31.0)),  # straight above
        ):
            assert sees(rx, tx, dtype), (rx, tx)
        assert not sees((-50.0, 9.99, 1.5), (50.0, 9.99, 1.5), dtype)
        assert not sees((-50.0, 0.0, 29.99), (50.0, 0.0, 29.99), dtype)

    def test_a_roof_hides_its_station_from_the_ground(self):
        assert not sees(USER, (0.0, 0.0, 30.0))
        assert not sees(USER, (-9.0, 0.0, 30.0))
        assert sees((-50.0, 0.0, 31.0), (0.0, 0.0, 30.0))

    def test_who_is_inside_sees_nobody(self):
        for station in ((50.0, 0.0, 10.0), (0.0, 0.0, 90.0), (1.0, 1.0, 1.0), (5.0, 0.0, 1.5)):
            assert not sees((5.0, 0.0, 1.5), station)

    def test_is_that_of_an_independent_algorithm(self):
        drops = UrbanSquare(buildings=12).sample(
            5, transmitters=14, receivers=16, generator=torch.Generator().manual_seed(5), dtype=torch.float64
        )
        for k in range(5):
            drop = index(drops, k)
            places = (drop.rx_position_m.numpy(), drop.tx_position_m.numpy(), drop.building_m.numpy())
            assert np.array_equal(drop.line_of_sight.numpy(), oracle(*places))
        assert 0.1 < float(drops.line_of_sight.double().mean()) < 0.9

    def test_points_along_lines(self):
        """A line with a point in a box is blocked; one without, of 2000, is so in rare cases only."""
        drop = UrbanSquare(macro_height_m=40.0).sample(
            transmitters=25, receivers=15, generator=torch.Generator().manual_seed(6), dtype=torch.float64
        )
        share = (torch.arange(2000, dtype=torch.float64) + 0.5)[:, None, None, None] / 2000
        point = torch.lerp(drop.rx_position_m[:, None], drop.tx_position_m, share)  # [point rx tx 3]
        met = torch.zeros(2000, 15, 25, dtype=torch.bool)
        for low, high in drop.building_m:
            met |= ((low < point) & (point < high)).all(dim=-1)
        blocked = met.any(dim=0)
        assert not bool((blocked & drop.line_of_sight).any())
        assert float((~blocked & ~drop.line_of_sight).double().mean()) < 0.01

    def test_rows_are_receivers(self):
        rx = torch.tensor([USER, (-50.0, 60.0, 1.5), (50.0, 0.0, 1.5)])
        tx = torch.tensor([(-40.0, 0.0, 10.0), (40.0, 0.0, 10.0)])
        expected = [[True, False], [True, True], [False, True]]
        assert line_of_sight(rx, tx, TOWER.float()).tolist() == expected

    def test_no_building_blocks_nothing_and_padded_ones_neither(self):
        rx, tx = torch.randn(4, 3, 3), torch.randn(4, 2, 3)
        assert bool(line_of_sight(rx, tx, torch.zeros(4, 0, 2, 3)).all())
        assert bool(line_of_sight(rx, tx, torch.zeros(4, 5, 2, 3)).all())


@given(
    batch=st.lists(st.integers(0, 3), max_size=2),
    transmitters=st.integers(1, 8),
    receivers=st.integers(1, 4),
    buildings=st.integers(0, 3),
    layout_seed=st.sampled_from([None, 4]),
    users_outdoors=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_shapes_and_reproducibility(
    batch, transmitters, receivers, buildings, layout_seed, users_outdoors, dtype
):
    square = UrbanSquare(buildings=buildings, users_outdoors=users_outdoors, layout_seed=layout_seed)
    drops = [
        square.sample(
            *batch,
            transmitters=transmitters,
            receivers=receivers,
            generator=torch.Generator().manual_seed(3),
            dtype=dtype,
        )
        for _ in range(2)
    ]
    drop = drops[0]
    assert drop.rx_position_m.shape == (*batch, receivers, 3)
    assert drop.tx_position_m.shape == (*batch, transmitters, 3)
    assert drop.building_m.shape == (*batch, buildings, 2, 3)
    assert drop.line_of_sight.shape == (*batch, receivers, transmitters)
    assert drop.rx_position_m.dtype == drop.tx_position_m.dtype == drop.building_m.dtype == dtype
    assert batch_shape(drop) == tuple(batch)
    for name in ("rx_position_m", "tx_position_m", "building_m", "line_of_sight"):
        assert torch.equal(getattr(drops[0], name), getattr(drops[1], name))


@functools.cache
def sample(square: UrbanSquare, drops: int, seed: int = 0) -> UrbanDrop:
    generator = torch.Generator().manual_seed(seed)
    return square.sample(drops, transmitters=105, receivers=120, generator=generator)


class TestUrbanSquare:
    """The area of Section IV of [Zhang2022HBGNN]."""

    def test_places_and_heights(self):
        drop = sample(UrbanSquare(), 100)
        for places in (drop.rx_position_m, drop.tx_position_m, drop.building_m.mean(dim=-2)):
            ground = places[..., :2]
            assert float(ground.abs().max()) <= 100.0
            assert float(ground.mean()) == pytest.approx(0.0, abs=5 * 57.74 / math.sqrt(ground.numel()))
            assert float(ground.std()) == pytest.approx(200 / math.sqrt(12), rel=0.03)
        sides = drop.building_m[..., 1, :] - drop.building_m[..., 0, :]
        torch.testing.assert_close(sides, torch.tensor([20.0, 20.0, 30.0]).expand(100, 20, 3))
        assert bool((drop.building_m[..., 0, 2] == 0.0).all())
        assert bool((drop.rx_position_m[..., 2] == 1.5).all())
        heights = drop.tx_position_m[..., 2]
        assert heights[:, :5].unique().tolist() == [25.0, 30.0]
        assert heights[:, 5:].unique().tolist() == [10.0, 30.0]

    def test_stations_inside_of_buildings_stand_on_roofs(self):
        drop = sample(UrbanSquare(), 100)
        ground, footprint = drop.tx_position_m[:, :, None, :2], drop.building_m[:, None, :, :, :2]
        inside = ((footprint[..., 0, :] < ground) & (ground < footprint[..., 1, :])).all(-1).any(-1)
        assert torch.equal(drop.tx_position_m[..., 2] == 30.0, inside)
        assert not bool(drop.line_of_sight.mT[inside].any())  # nobody is as high
        # A building's centre is within 10 m of x along an axis with the probability of that much of the square.
        x = (torch.arange(1000) + 0.5) / 1000 * 200
        near = ((x + 10).clamp_max(200) - (x - 10).clamp_min(0)) / 200
        covered = 1 - (1 - near[:, None] * near).pow(20).mean()
        assert float(inside.double().mean()) == pytest.approx(float(covered), abs=0.015)

    def test_a_quarter_of_the_links_is_seen(self):
        assert float(sample(UrbanSquare(), 100).line_of_sight.double().mean()) == pytest.approx(
            0.26, abs=0.015
        )

    def test_macro_base_stations_come_first(self):
        assert UrbanSquare().macro_mask(105).tolist() == [True] * 5 + [False] * 100
        assert UrbanSquare().macro_mask(3).tolist() == [True] * 3
        assert UrbanSquare(macro_stations=0).macro_mask(2).tolist() == [False, False]

    def test_users_outdoors(self):
        anywhere, outdoors = (sample(UrbanSquare(users_outdoors=out), 50) for out in (False, True))
        hidden = [float((~drop.line_of_sight).all(dim=-1).double().mean()) for drop in (anywhere, outdoors)]
        assert hidden[0] > 0.15
        assert hidden[1] < 0.01
        ground, footprint = outdoors.rx_position_m[:, :, None, :2], outdoors.building_m[:, None, :, :, :2]
        inside = (footprint[..., 0, :] < ground) & (ground < footprint[..., 1, :])
        assert not bool(inside.all(-1).any())

    def test_no_room_outdoors(self, generator):
        square = UrbanSquare(side_m=10.0, buildings=1, users_outdoors=True)
        with pytest.raises(
            ValueError, match="buildings: must leave room for users outdoors, received 1 of 20 m in 10"
        ):
            square.sample(transmitters=1, receivers=1, generator=generator)

    def test_cities_differ_but_for_a_layout_seed(self):
        new, fixed = (sample(UrbanSquare(layout_seed=seed), 3) for seed in (None, 8))
        other = sample(UrbanSquare(layout_seed=8), 3, seed=1)
        for name in ("tx_position_m", "building_m"):
            drops = getattr(fixed, name)
            assert torch.equal(drops, drops[:1].expand_as(drops))
            assert torch.equal(drops, getattr(other, name))
            assert not torch.equal(drops[0], getattr(new, name)[0])
            assert not torch.equal(getattr(new, name)[0], getattr(new, name)[1])
            assert not torch.equal(drops, getattr(sample(UrbanSquare(layout_seed=9), 3), name))
        assert not torch.equal(fixed.rx_position_m[0], fixed.rx_position_m[1])
        assert not torch.equal(fixed.rx_position_m, other.rx_position_m)

    def test_a_layout_seed_is_of_all_precisions(self, generator):
        like = {"transmitters": 30, "receivers": 2, "generator": generator}
        single, double = (
            UrbanSquare(layout_seed=0).sample(**like, dtype=dtype) for dtype in (torch.float32, torch.float64)
        )
        torch.testing.assert_close(single.tx_position_m, double.tx_position_m.float(), rtol=0, atol=0)
        torch.testing.assert_close(single.building_m, double.building_m.float(), rtol=0, atol=0)

    @pytest.mark.parametrize(
        ("setting", "rule"),
        [
            ({"side_m": 0.0}, "side_m: must be finite and positive, received 0.0"),
            ({"building_side_m": math.inf}, "building_side_m: must be finite and positive, received inf"),
            ({"building_height_m": -1.0}, "building_height_m: must be finite and positive, received -1.0"),
            ({"macro_height_m": -1.0}, "macro_height_m: must be finite and at least 0, received -1.0"),
            ({"small_height_m": math.nan}, "small_height_m: must be finite and at least 0, received nan"),
            ({"user_height_m": -0.5}, "user_height_m: must be finite and at least 0, received -0.5"),
            ({"macro_stations": -1}, "macro_stations: must be at least 0, received -1"),
            ({"buildings": -2}, "buildings: must be at least 0, received -2"),
        ],
    )
    def test_bad_settings(self, setting, rule):
        with pytest.raises(ValueError, match=f"^{rule}$"):
            UrbanSquare(**setting)

    @pytest.mark.parametrize("counts", [(0, 1), (1, 0)])
    def test_bad_numbers(self, counts, generator):
        with pytest.raises(ValueError, match=r"(transmitters|receivers): must be at least 1, received 0"):
            UrbanSquare().sample(transmitters=counts[0], receivers=counts[1], generator=generator)


class TestScenario:
    def test_losses_of_both_states(self):
        """103.8 - 20.9 = 82.9 and 145.4 - 37.5 = 107.9 dB at 100 m; 41.1 and 32.9 dB at 1 m and below."""
        path_loss = hudn_scenario().path_loss
        assert isinstance(path_loss, LosNlos)
        distance = torch.tensor([1000.0, 100.0, 1.0, 0.2], dtype=torch.float64)
        high, low = torch.full_like(distance, 30.0), torch.zeros_like(distance)
        for seen, expected in ((True, [103.8, 82.9, 41.1, 41.1]), (False, [145.4, 107.9, 32.9, 32.9])):
            state = torch.full_like(distance, seen, dtype=torch.bool)
            loss_db = (
                -10.0
                * path_loss.gain_given(state, distance, station_height_m=high, user_height_m=low).log10()
            )
            torch.testing.assert_close(
                loss_db, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-9
            )

    def test_gains_are_those_of_the_drawn_places(self):
        draw = hudn_scenario().sample(
            3,
            transmitters=105,
            receivers=120,
            generator=torch.Generator().manual_seed(1),
            dtype=torch.float64,
        )
        assert isinstance(draw, UrbanDraw)
        places = (draw.rx_position_m[1].numpy(), draw.tx_position_m[1].numpy())
        distance_km = (
            np.hypot(*(places[0][:, None, :2] - places[1][:, :2]).transpose(2, 0, 1)).clip(1.0) / 1e3
        )
        seen = oracle(places[0][:9], places[1], draw.building_m[1].numpy())
        loss_db = np.where(
            seen, 103.8 + 20.9 * np.log10(distance_km[:9]), 145.4 + 37.5 * np.log10(distance_km[:9])
        )
        np.testing.assert_allclose(-10.0 * draw.gain[1, :9].log10().numpy(), loss_db, atol=1e-9)
        assert np.array_equal(draw.line_of_sight[1, :9].numpy(), seen)
        assert bool((draw.small_scale_gain == 1.0).all())

    def test_users_move_in_a_city_that_stays(self):
        scenario = hudn_scenario(layout_seed=3)
        draws = [
            scenario.sample(transmitters=10, receivers=4, generator=torch.Generator().manual_seed(seed))
            for seed in (1, 2)
        ]
        assert torch.equal(draws[0].tx_position_m, draws[1].tx_position_m)
        assert not torch.equal(draws[0].rx_position_m, draws[1].rx_position_m)

    def test_draws_are_records(self, generator):
        scenario = hudn_scenario(fading=Rayleigh())
        draws = [scenario.sample(transmitters=k, receivers=2, generator=generator) for k in (3, 5)]
        stacked = stack(draws)
        assert isinstance(stacked, UrbanDraw)
        assert stacked.line_of_sight.shape == stacked.gain.shape == (2, 2, 5)
        assert to(stacked, dtype=torch.float64).building_m.dtype == torch.float64
        assert not bool((draws[0].small_scale_gain == 1.0).any())

    def test_shadowing_by_state(self, generator):
        path_loss = LosNlos(PowerLaw(1e-9), PowerLaw(1e-9, loss_at_1m_db=200.0))
        scenario = Scenario(UrbanSquare(), path_loss, shadowing_db=2.0, nlos_shadowing_db=6.0)
        draw = scenario.sample(20, transmitters=50, receivers=50, generator=generator, dtype=torch.float64)
        assert isinstance(draw, UrbanDraw)
        gain_db = 10.0 * draw.large_scale_gain.log10()
        assert torch.equal(gain_db > -100.0, draw.line_of_sight)
        assert float(gain_db[draw.line_of_sight].std()) == pytest.approx(2.0, rel=0.03)
        assert float(gain_db[~draw.line_of_sight].std()) == pytest.approx(6.0, rel=0.03)

    def test_states_need_buildings_or_a_probability(self, generator):
        scenario = Scenario(SquareCell(), LosNlos(PowerLaw(2.0), PowerLaw(4.0)))
        with pytest.raises(ValueError, match="probability: must be given where no buildings tell the state"):
            scenario.sample(transmitters=2, generator=generator)
