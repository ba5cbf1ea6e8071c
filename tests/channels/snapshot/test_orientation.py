"""Directions, stations and pairs of snapshots."""

from typing import Any

import numpy as np
import pytest
import torch

from torchrrm.channels import Snapshot, SnapshotError, bundled_snapshot
from torchrrm.channels.ends import Role
from torchrrm.channels.snapshot import one_station, oriented, strongest_pairs

GAIN = torch.tensor([[1e-8, 2e-9], [4e-9, 5e-9], [6e-9, 3e-9]])
"""Of two stations at three users."""
DOWN = Snapshot(gain=GAIN, tx_role="station", name="cell")


class TestOriented:
    @pytest.mark.parametrize("direction", ["uplink", "downlink"])
    def test_keeps_or_turns_what_is_known(self, direction: Any) -> None:
        for snapshot in (DOWN, DOWN.reciprocal()):
            turned = oriented(snapshot, direction)
            assert turned.direction == direction
            assert torch.equal(turned.gain, GAIN if direction == "downlink" else GAIN.mT)
            kept = snapshot.direction == direction
            assert turned.notes == (
                () if kept else (f"turned round from {snapshot.direction} to {direction}",)
            )
            assert oriented(turned, direction) is turned

    @pytest.mark.parametrize("direction", ["uplink", "downlink"])
    @pytest.mark.parametrize("shape", [(3, 2), (2, 3), (2, 2), (1, 3), (3, 1)])
    def test_refuses_what_does_not_say_its_roles(self, shape: tuple[int, int], direction: Any) -> None:
        with pytest.raises(
            SnapshotError, match=r"^direction: .* does not say .* --direction uplink .*downlink"
        ):
            oriented(Snapshot(gain=torch.rand(shape)), direction)

    @pytest.mark.parametrize("direction", ["uplink", "downlink"])
    def test_one_link_has_either_direction(self, direction: Any) -> None:
        snapshot = Snapshot(gain=torch.rand(1, 1))
        assert torch.equal(oriented(snapshot, direction).gain, snapshot.gain)

    def test_refuses_devices_and_eavesdroppers(self) -> None:
        with pytest.raises(
            SnapshotError, match=r"^direction: must be uplink or downlink, received device-to-device"
        ):
            oriented(bundled_snapshot("munich_d2d"), "uplink")
        heard = Snapshot(gain=GAIN, rx_role=("user", "user", "eavesdropper"))
        with pytest.raises(SnapshotError, match=r"^rx_role: must name no eavesdropper to turn links round"):
            oriented(heard, "uplink")


class TestOneStation:
    UP = Snapshot(
        gain=torch.rand(4, 2), rx_role=("eavesdropper", "station", "station", "eavesdropper"), name="two"
    )

    @pytest.mark.parametrize("station", [0, 1])
    def test_comes_before_eavesdroppers(self, station: int) -> None:
        cell = one_station(self.UP, station)
        assert torch.equal(cell.gain, self.UP.gain[[1 + station, 0, 3]])
        assert cell.rx_role == ("station", "eavesdropper", "eavesdropper")
        assert cell.notes == (f"station {station} of 2, with all users",)

    def test_of_a_downlink(self) -> None:
        assert torch.equal(one_station(DOWN, 1).gain, GAIN[:, 1:])
        only = one_station(DOWN, 1)
        assert one_station(only) is only

    @pytest.mark.parametrize(
        ("snapshot", "station", "message"),
        [
            (
                DOWN,
                None,
                "station: must be chosen with --station, 0 to 1, received none for the 2 stations of cell",
            ),
            (DOWN, 2, "station: must be 0 to 1, received 2"),
            (DOWN, -1, "station: must be 0 to 1, received -1"),
            (
                Snapshot(gain=GAIN, rx_role="eavesdropper", tx_role="user"),
                None,
                "station: must be among the receivers, received none for the 0 stations of snapshot",
            ),
        ],
    )
    def test_must_be_chosen(self, snapshot: Snapshot, station: int | None, message: str) -> None:
        with pytest.raises(SnapshotError, match=f"^{message}$"):
            one_station(snapshot, station)


def pairs_by_hand(gain: np.ndarray) -> list[tuple[int, int]]:
    """Users and stations of the rule, by loops over all of them."""
    users, stations = gain.shape
    served = {}
    for station in range(stations):
        own = [
            user
            for user in range(users)
            if gain[user, station] > 0
            and all(gain[user, station] > gain[user, other] for other in range(station))
            and all(gain[user, station] >= gain[user, other] for other in range(station, stations))
        ]
        if own:
            served[station] = max(own, key=lambda user: (gain[user, station], -user))
    return sorted(
        ((user, station) for station, user in served.items()), key=lambda pair: (-gain[pair], pair[0])
    )


class TestStrongestPairs:
    def test_each_station_serves_one_of_its_users(self) -> None:
        pairs = strongest_pairs(DOWN)
        assert torch.equal(pairs.gain, GAIN[:2])
        assert pairs.direction == "downlink"
        told = "2 pairs of users and their strongest stations, one user a station; left out 1 user and 0 stations"
        assert pairs.notes == (told,)

    def test_an_uplink_stays_one(self) -> None:
        pairs = strongest_pairs(DOWN.reciprocal())
        assert torch.equal(pairs.gain, GAIN[:2].mT)
        assert pairs.direction == "uplink"

    @pytest.mark.parametrize("seed", range(40))
    def test_the_rule_with_ties_and_missing_paths(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        users, stations = rng.integers(1, 7, 2)
        gain = rng.integers(0, 4, (users, stations)) * 2.0**-30
        expected = pairs_by_hand(gain)
        snapshot = Snapshot(
            gain=torch.from_numpy(gain),
            tx_role="station",
            rx_position_m=np.arange(3.0 * users).reshape(users, 3),  # pyright: ignore[reportArgumentType]
        )  # pyright: ignore[reportArgumentType]
        if not expected:
            with pytest.raises(SnapshotError, match=r"^gain: must have a path from a user to a station"):
                strongest_pairs(snapshot)
            return
        pairs = strongest_pairs(snapshot)
        user, station = (list(column) for column in zip(*expected, strict=True))
        np.testing.assert_array_equal(pairs.gain.numpy(), gain[np.ix_(user, station)].astype(np.float32))
        assert pairs.rx_position_m is not None
        assert (pairs.rx_position_m[:, 0] / 3).tolist() == user

    def test_drops_keep_as_many_as_the_one_with_the_fewest(self) -> None:
        lonely = torch.tensor([[1e-8, 2e-9], [4e-9, 1e-9], [6e-9, 3e-9]])  # all at station 0
        channel = torch.stack([gain.sqrt().to(torch.complex64) for gain in (GAIN, lonely)])[
            :, None, :, None, :, None
        ]
        both = Snapshot(
            gain=torch.stack((GAIN, lonely)),
            channel=channel,
            frequency_offset_hz=torch.zeros(1),
            tx_role="station",
        )
        pairs = strongest_pairs(both)
        assert torch.equal(pairs.gain, torch.full((2, 1, 1), 1e-8))
        assert pairs.channel is not None
        torch.testing.assert_close(pairs.channel.abs().square().flatten(), pairs.gain.flatten())

    @pytest.mark.parametrize("gain", [GAIN, GAIN.mT])
    @pytest.mark.parametrize("role", ["device", "unknown"])
    def test_directions_must_be_known(self, gain: torch.Tensor, role: Role) -> None:
        with pytest.raises(SnapshotError, match=r"^direction: "):
            strongest_pairs(Snapshot(gain=gain, tx_role=role))
