"""Slices of scenarios and snapshots."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from torchrrm.channels import SCENARIOS, Snapshot, bundled_snapshot
from torchrrm.channels.snapshot import THERMAL_NOISE_PSD_W_PER_HZ
from torchrrm.problems import KINDS
from torchrrm.records import index
from torchrrm.setups.slicing import (
    SliceSource,
    SliceTerms,
    cell_slice,
    given_cell,
    slice_task,
    station_uplink,
)

MUNICH = bundled_snapshot("munich_cell_uplink")


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("channels", [SCENARIOS["hml"](), MUNICH], ids=["scenario", "snapshot"])
@pytest.mark.parametrize("kind", list(KINDS))
def test_draws_are_instances_of_each_kind_and_of_the_seed(channels: Any, kind: str) -> None:
    problem = KINDS[kind]
    task = slice_task(problem, SliceSource(channels, 7))
    drawn, again = (task.sample(3, generator=generator()) for _ in range(2))
    problem.validate(drawn)
    assert drawn.cn0_hz.shape == (3, 7)
    assert torch.equal(drawn.cn0_hz, again.cn0_hz)
    assert bool(drawn.active.all())


def test_users_of_a_snapshot_differ_and_are_its_own() -> None:
    drawn = SliceSource(MUNICH, 20)(5, generator=generator())
    known = cell_slice(MUNICH, SliceTerms()).cn0_hz
    for i in range(5):
        users = index(drawn, i).cn0_hz
        assert len(users.unique()) == 20
        assert bool(torch.isin(users, known).all())


def test_an_effective_capacity_averages_over_the_fading_itself() -> None:
    source = SliceSource(SCENARIOS["hml"](), 7)
    for problem in KINDS.values():
        averages = "effective-capacity" in problem.name
        assert slice_task(problem, source).sample.fading is not averages  # pyright: ignore


@pytest.mark.parametrize("fading", [True, False])
def test_gains_have_fading_unless_it_is_switched_off(fading: bool) -> None:
    scenario, terms = SCENARIOS["hml"](), SliceTerms()
    drawn = SliceSource(scenario, 7, fading=fading)(3, generator=generator())
    draw = scenario.sample(3, transmitters=7, receivers=2, generator=generator())
    gain = draw.gain if fading else draw.large_scale_gain
    cn0_hz = gain * (terms.power_w / THERMAL_NOISE_PSD_W_PER_HZ)
    torch.testing.assert_close(drawn.cn0_hz, cn0_hz[:, 0])
    torch.testing.assert_close(drawn.eavesdropper_cn0_hz, cn0_hz[:, 1])


def test_a_cell_has_its_users_in_order_and_where_they_stand() -> None:
    given = given_cell(MUNICH, SliceTerms(bandwidth_hz=1e6), eavesdropper=1)
    assert given.instance.bandwidth_hz.item() == 1e6
    ratio = MUNICH.gain.reshape(-1, *MUNICH.gain.shape[-2:])[0, 0] / given.instance.cn0_hz
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))
    assert set(given.place) == {"x_m", "y_m", "station_x_m", "station_y_m"}


class TestEnds:
    """Who is the station: 3GPP users on upper floors are above it, so heights do not tell."""

    GAIN = torch.tensor([[1e-9, 2e-9], [3e-9, 4e-9], [5e-9, 6e-9]])
    DOWN = Snapshot(
        gain=GAIN,
        tx_role="station",
        rx_position_m=torch.tensor([[0.0, 0, 22.5], [1, 0, 22.5], [2, 0, 22.5]]),
        tx_position_m=torch.tensor([[9.0, 0, 10.0], [8, 0, 10.0]]),
    )

    @pytest.mark.parametrize("station", [0, 1])
    def test_a_downlink_is_turned_round_to_one_station(self, station: int) -> None:
        for snapshot in (self.DOWN, self.DOWN.reciprocal()):
            given = given_cell(station_uplink(snapshot, station), SliceTerms())
            own = self.GAIN[:, station]
            torch.testing.assert_close(given.instance.cn0_hz / given.instance.cn0_hz[0], own / own[0])
            assert given.place["x_m"].tolist() == [0, 1, 2]
            assert given.place["station_x_m"].tolist() == [9 - station]
            assert f"station {station} of 2, with all users" in given.notes

    @pytest.mark.parametrize("make", [SliceSource, lambda cell: cell_slice(cell, SliceTerms())])
    def test_several_stations_must_be_told_apart(self, make: Callable[[Snapshot], object]) -> None:
        with pytest.raises(ValueError, match=r"^station: must be chosen with --station, 0 to 1"):
            make(self.DOWN)

    def test_what_is_no_uplink_is_refused(self) -> None:
        with pytest.raises(
            ValueError, match=r"^direction: .* does not say which of its 3 receivers and 1 transmitter "
        ):
            SliceSource(Snapshot(gain=self.GAIN[:, :1]))
        with pytest.raises(
            ValueError, match=r"^direction: must be uplink or downlink, received device-to-device"
        ):
            SliceSource(bundled_snapshot("munich_d2d"))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: SliceTerms(power_w=0.0), "power_w: must be positive and finite, received 0.0"),
        (lambda: SliceSource(MUNICH, 0), "users: must be 1 to "),
        (lambda: SliceSource(MUNICH, 10**6), "users: must be 1 to "),
        (lambda: cell_slice(MUNICH, SliceTerms(), drop=-1), "drop: must be 0 to "),
        (lambda: cell_slice(MUNICH, SliceTerms(), eavesdropper=99), "eavesdropper: must be 0 to "),
    ],
)
def test_what_there_is_not_is_refused(make: Callable[[], Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()
