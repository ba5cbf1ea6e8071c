import dataclasses

import pytest
import torch

from torchrrm.channels import SCENARIOS, Snapshot, bundled_snapshot, rayleigh_scenario
from torchrrm.problems.association import SumRateAssociation
from torchrrm.setups.association import (
    CellSource,
    CellTerms,
    cell_task,
    downlink,
    draw_cells,
    macros_of,
    snapshot_cells,
)

MUNICH = bundled_snapshot("munich_hudn_200m")
HUDN = SCENARIOS["hudn"]()
SOURCES = {
    "square": CellSource(HUDN, 12, 9),
    "square's ranges": CellSource(HUDN, (3, 12), (6, 9)),
    "double": CellSource(HUDN, 12, 9, dtype=torch.float64),
    "no city": CellSource(rayleigh_scenario(), 12, 9, CellTerms(small_power_w=1.0, noise_power_w=0.1)),
    "city": CellSource(MUNICH, 12, 9),
    "city's ranges": CellSource(MUNICH, (3, 12), (6, 9), drops=(2, 5)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_source(name: str) -> None:
    source = SOURCES[name]
    task = cell_task(source, SumRateAssociation())
    instances = [task.sample(8, generator=torch.Generator().manual_seed(2)) for _ in range(2)]
    instance = SumRateAssociation().validate(instances[0])
    assert instance.gain.shape == (8, 12, 9)
    assert instance.gain.dtype == source.dtype
    assert torch.equal(instance.gain, instances[1].gain)
    for mask, (least, most) in (
        (instance.active_user, source.user_span),
        (instance.active_bs, source.station_span),
    ):
        count = mask.sum(-1)
        assert bool(((count >= least) & (count <= most)).all())
        assert len(count.unique()) > (1 if least < most else 0)
        assert torch.equal(mask, torch.arange(mask.shape[-1]) < count[:, None])
    both = instance.active_user[:, :, None] & instance.active_bs[:, None]
    assert float(instance.gain[~both].sum()) == 0.0
    assert bool(((instance.max_power_w > 0) == instance.active_bs).all())


def test_terms_of_the_paper(generator: torch.Generator) -> None:
    """50 and 20 dBm, 20 MHz of -174 dBm/Hz, five macro stations of 105, 120 users."""
    instance = draw_cells(CellSource(HUDN), 2, generator=generator)
    assert instance.gain.shape == (2, 120, 105)
    assert instance.max_power_w[:, :5].flatten().tolist() == pytest.approx([100.0] * 10)
    assert instance.max_power_w[:, 5:].flatten().tolist() == pytest.approx([0.1] * 200)
    assert instance.bandwidth_hz.tolist() == [20e6] * 2
    assert instance.noise_power_w.tolist() == pytest.approx([20e6 * 10**-20.4] * 2, rel=1e-6, abs=0.0)


def test_noise_follows_band_and_density(generator: torch.Generator) -> None:
    loud = dataclasses.replace(MUNICH, noise_psd_w_per_hz=1e-19)
    wide = CellTerms(bandwidth_hz=1e8)
    for channels, density in ((MUNICH, 10**-20.4), (loud, 1e-19), (HUDN, 10**-20.4)):
        instance = draw_cells(CellSource(channels, 2, 2, wide), 1, generator=generator)
        assert float(instance.noise_power_w) == pytest.approx(1e8 * density, rel=1e-6, abs=0.0)
    given = draw_cells(CellSource(loud, 2, 2, CellTerms(noise_power_w=1e-12)), 1, generator=generator)
    assert float(given.noise_power_w) == pytest.approx(1e-12, rel=1e-6, abs=0.0)


class TestSnapshots:
    def test_all_of_munich(self) -> None:
        cells = snapshot_cells(MUNICH, dtype=torch.float64)
        assert torch.equal(cells.gain, MUNICH.gain.double())
        assert (cells.max_power_w == 100.0).sum(-1).tolist() == [5] * 20
        whole = draw_cells(CellSource(MUNICH, drops=(3, 4)), 2, generator=torch.Generator())
        assert torch.equal(whole.gain, MUNICH.gain[3].expand(2, -1, -1))

    def test_users_and_stations_are_different_ones(self, generator: torch.Generator) -> None:
        users, stations, drops = 4, 6, 3
        code = torch.arange(1, 1 + drops * users * stations).reshape(drops, users, stations) / 100
        kind = ("macro", "small", "macro", "unknown", "small", "small")
        macro = torch.tensor([word == "macro" for word in kind])
        snapshot = Snapshot(gain=code, tx_kind=kind)
        drawn = draw_cells(CellSource(snapshot, 3, (2, 5), drops=(1, 3)), 200, generator=generator)
        told = (100 * drawn.gain).round().long() - 1
        seen = set()
        for cells, active, limit in zip(told, drawn.active_bs, drawn.max_power_w, strict=True):
            own = cells[:, active]
            drop, user = own // (users * stations), own // stations % users
            station = (own % stations)[0]
            assert len(drop.unique()) == 1
            assert bool((user == user[:, :1]).all())
            assert bool((user[:, 0].diff() > 0).all())
            assert bool((station.diff() > 0).all())
            assert torch.equal(limit[active] == 100.0, macro[station])
            seen |= {(int(drop[0, 0]), *station.tolist())}
        assert {place[0] for place in seen} == {1, 2}
        assert {index for place in seen for index in place[1:]} == set(range(stations))

    def test_an_uplink_is_turned_round(self) -> None:
        uplink = bundled_snapshot()  # one station hears 200 users, and 50 eavesdroppers do
        cells = snapshot_cells(uplink)
        assert cells.gain.shape == (1, 200, 1)
        assert torch.equal(cells.gain[0, :, 0], uplink.gain[0])
        assert cells.max_power_w.tolist() == [[pytest.approx(0.1)]]

    @pytest.mark.parametrize(("station_m", "user_m"), [(25.0, 1.5), (10.0, 22.5)])
    def test_roles_tell_directions_and_heights_do_not(self, station_m: float, user_m: float) -> None:
        down = Snapshot(
            gain=torch.rand(2, 3),
            rx_position_m=torch.full((2, 3), user_m),
            tx_position_m=torch.full((3, 3), station_m),
            tx_role="station",
        )
        assert downlink(down) is not down.reciprocal()
        assert torch.equal(downlink(down).gain, down.gain)
        turned = downlink(down.reciprocal())
        assert torch.equal(turned.gain, down.gain)
        assert turned.notes == (
            "turned round from uplink to downlink",
            "3 stations of unknown kind with the limit of small ones",
        )

    @pytest.mark.parametrize("shape", [(3, 2), (2, 3), (2, 2)])
    def test_unknown_roles_are_refused(self, shape: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match=r"^direction: .* --direction uplink .* or --direction downlink"):
            downlink(Snapshot(gain=torch.rand(shape)))

    def test_devices_are_refused(self) -> None:
        with pytest.raises(
            ValueError, match=r"^direction: must be uplink or downlink, received device-to-device"
        ):
            downlink(bundled_snapshot("munich_d2d"))

    def test_kinds(self) -> None:
        gain = torch.full((2, 3), 1e-9)
        kinds = ("macro", "small", "unknown")
        assert macros_of(Snapshot(gain=gain, tx_kind=kinds), 3).tolist() == [True, False, False]
        assert macros_of(Snapshot(gain=gain, tx_kind="macro"), 3).tolist() == [True] * 3
        assert macros_of(Snapshot(gain=gain), 3).tolist() == [False] * 3
        assert macros_of(HUDN, 7).tolist() == [True] * 5 + [False] * 2
        assert macros_of(rayleigh_scenario(), 2).tolist() == [False] * 2

    def test_eavesdroppers_alone(self) -> None:
        with pytest.raises(ValueError, match="channels: must have a receiver that is no eavesdropper"):
            downlink(Snapshot(gain=torch.full((1, 2), 1e-9), rx_role="eavesdropper"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CellSource(HUDN, 0), "users: must be 1 to inf, or an ascending range in it, received 0"),
        (lambda: CellSource(HUDN, 3, (5, 2)), r"stations: .* received \(5, 2\)"),
        (lambda: CellSource(MUNICH, 121), "users: must be 1 to 120"),
        (lambda: CellSource(MUNICH, 4, 106), "stations: must be 1 to 105, .*, received 106"),
        (
            lambda: CellSource(MUNICH, drops=(5, 21)),
            r"drops: must be an ascending range in 0 to 20, received \(5, 21\)",
        ),
        (lambda: CellSource(HUDN, drops=(0, 5)), r"drops: must be None for a scenario, received \(0, 5\)"),
        (lambda: CellTerms(macro_power_w=0.0), "macro_power_w: must be positive and finite, received 0.0"),
        (
            lambda: CellTerms(noise_power_w=float("nan")),
            "noise_power_w: must be positive and finite, received nan",
        ),
    ],
)
def test_bad_sources(make, message):
    with pytest.raises(ValueError, match=message):
        make()
