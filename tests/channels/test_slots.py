import pytest
import torch

from torchrrm.channels import (
    SCENARIOS,
    CorrelatedRayleigh,
    Nakagami,
    Rayleigh,
    Snapshot,
    SnapshotError,
    hml_scenario,
    metagnn_scenario,
    rayleigh_scenario,
    slot_fading,
    snapshot_slots,
)


def snapshot(*, channel: bool = True, antennas: int = 1) -> Snapshot:
    """Three drops of four pairs at five frequencies: gains and responses tell their indices."""
    generator = torch.Generator().manual_seed(8)
    gain = torch.rand(3, 4, 4, generator=generator) * 1e-8
    gain[1, 2, 0] = 0.0
    response = torch.randn(3, 5, 4, antennas, 4, 1, generator=generator, dtype=torch.complex64)
    response = response * gain[:, None, :, None, :, None].sqrt()
    offset = torch.arange(5.0)
    return Snapshot(
        gain=gain,
        channel=response if channel else None,
        frequency_offset_hz=offset if channel else None,  # pyright: ignore[reportArgumentType]
    )


DROP = torch.tensor([2, 1])
LINK = torch.tensor([[3, 0], [0, 2]])


class TestScenario:
    @pytest.mark.parametrize("name", SCENARIOS)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_shapes_and_reproducibility(self, name, dtype):
        draws = [
            SCENARIOS[name]().sample_slots(
                2,
                3,
                slots=7,
                transmitters=4,
                receivers=4,
                generator=torch.Generator().manual_seed(3),
                dtype=dtype,
            )
            for _ in range(2)
        ]
        assert draws[0].gain.shape == draws[0].small_scale_gain.shape == (2, 3, 7, 4, 4)
        assert draws[0].large_scale_gain.shape == (2, 3, 4, 4)
        assert draws[0].gain.dtype == dtype
        assert torch.equal(draws[0].gain, draws[1].gain)
        product = draws[0].large_scale_gain[:, :, None] * draws[0].small_scale_gain
        assert torch.equal(draws[0].gain, product)

    def test_large_scale_gain_is_that_of_a_single_draw(self):
        """The same generator gives the same drop, whether its fading goes on or not."""
        one = metagnn_scenario().sample(
            4, transmitters=5, receivers=5, generator=torch.Generator().manual_seed(1)
        )
        many = metagnn_scenario().sample_slots(
            4, slots=3, transmitters=5, receivers=5, generator=torch.Generator().manual_seed(1)
        )
        assert torch.equal(one.large_scale_gain, many.large_scale_gain)

    @pytest.mark.parametrize("fading", [Rayleigh(), Nakagami(3.0)], ids=str)
    def test_independent_slots_are_exchangeable(self, fading, generator):
        """Any two slots, near or far, are uncorrelated."""
        draw = rayleigh_scenario(fading=fading).sample_slots(
            2000, slots=6, transmitters=4, receivers=4, generator=generator
        )
        slots = draw.gain.movedim(1, 0).reshape(6, -1)
        correlation = torch.corrcoef(slots) - torch.eye(6)
        assert float(correlation.abs().max()) < 5.0 / slots.shape[1] ** 0.5
        assert float((slots.mean(dim=1) - 1.0).abs().max()) < 5.0 / slots.shape[1] ** 0.5

    def test_correlated_slots_are_selected_by_the_fading(self, generator):
        """Slots in another order are no longer alike: `E[g g'] - 1 = J_0^2` for neighbours is almost 1."""
        draw = rayleigh_scenario(CorrelatedRayleigh()).sample_slots(
            500, slots=200, transmitters=3, receivers=3, generator=generator
        )
        slots = draw.gain.movedim(1, 0).reshape(200, -1)
        assert float(torch.corrcoef(slots[:2])[0, 1]) > 0.99
        assert float(torch.corrcoef(slots[[0, 199]])[0, 1]) < 0.5

    def test_correlated_small_scale_gain_has_unit_mean(self, generator):
        draw = metagnn_scenario(fading=CorrelatedRayleigh(speed_m_per_s=30.0)).sample_slots(
            20, slots=100, transmitters=10, receivers=10, generator=generator
        )
        assert float(draw.small_scale_gain.mean()) == pytest.approx(1.0, abs=0.02)

    def test_the_station_is_receiver_zero(self, generator):
        draw = hml_scenario(shadowing_db=0.0).sample_slots(
            slots=2, transmitters=6, receivers=3, generator=generator
        )
        assert draw.gain.shape == (2, 3, 6)

    def test_no_slots(self, generator):
        with pytest.raises(ValueError, match=r"^slots: must be at least 1, received 0$"):
            rayleigh_scenario().sample_slots(slots=0, transmitters=2, receivers=2, generator=generator)


def test_rayleigh_links_have_unit_gain(generator):
    draw = rayleigh_scenario().sample(
        2000, transmitters=5, receivers=5, generator=generator, dtype=torch.float64
    )
    assert torch.equal(draw.large_scale_gain, torch.ones(2000, 5, 5, dtype=torch.float64))
    assert float(draw.gain.mean()) == pytest.approx(1.0, abs=0.025)
    assert float(draw.gain.square().mean()) == pytest.approx(2.0, abs=0.2)


def test_fading_keeps_the_asymmetry(generator):
    """Row k stays receiver k: over many slots the mean is the large-scale gain, not its transpose."""
    gain = torch.tensor([[1.0, 0.1], [0.5, 2.0]])
    draw = slot_fading(gain, Rayleigh(), slots=20_000, generator=generator)
    torch.testing.assert_close(draw.gain.mean(dim=0), gain, rtol=0.05, atol=0.0)


class TestSnapshot:
    def test_fading_on_the_gain(self, generator):
        source = snapshot()
        draw = snapshot_slots(
            source, drop=DROP, link=LINK, slots=4000, fading=Rayleigh(), generator=generator
        )
        for element, (drop, link) in enumerate(zip([2, 1], [[3, 0], [0, 2]], strict=True)):
            for k in range(2):
                for j in range(2):
                    expected = source.gain[drop, link[k], link[j]]
                    assert draw.large_scale_gain[element, k, j] == expected
                    mean = draw.gain[element, :, k, j].mean()
                    assert float(mean) == pytest.approx(float(expected), rel=0.1)
        assert float(draw.gain[1, :, 1, 0].max()) == 0.0  # no path, in this direction only
        assert float(draw.gain[1, :, 0, 1].min()) > 0.0

    def test_frequencies_as_slots(self, generator):
        source = snapshot()
        draw = snapshot_slots(source, drop=DROP, link=LINK, slots=5, fading=None, generator=generator)
        assert source.channel is not None
        power = source.channel[:, :, :, 0, :, 0].abs().square()  # [drop frequency rx tx]
        for element, (drop, link) in enumerate(zip([2, 1], [[3, 0], [0, 2]], strict=True)):
            expected = power[drop][:, link][:, :, link]
            torch.testing.assert_close(draw.gain[element], expected, rtol=1e-5, atol=0.0)

    def test_fewer_frequencies_ascend(self):
        source, link = snapshot(), torch.tensor([[0, 1, 2, 3]]).expand(300, 4)
        drop = torch.zeros(300, dtype=torch.int64)
        generator = torch.Generator().manual_seed(0)
        draw = snapshot_slots(source, drop=drop, link=link, slots=2, fading=None, generator=generator)
        assert source.channel is not None
        power = source.channel[0, :, :, 0, :, 0].abs().square()
        error = (draw.gain[:, :, None] / power - 1.0).abs().amax(dim=(-2, -1))  # [batch slot frequency]
        chosen = error.argmin(dim=-1)
        assert float(error.amin(dim=-1).max()) < 1e-5
        assert bool((chosen[:, 0] < chosen[:, 1]).all())
        assert chosen.unique().tolist() == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize(
        ("source", "slots", "message"),
        [
            (
                snapshot(channel=False),
                2,
                "channel: must be in the snapshot to take its frequencies as slots, received none",
            ),
            (
                snapshot(antennas=2),
                2,
                "channel: must have one antenna at each end of a link, received 2 and 1",
            ),
            (snapshot(), 6, "slots: must be 1 to 5, the frequencies, received 6"),
            (snapshot(), 0, "slots: must be 1 to 5, the frequencies, received 0"),
        ],
    )
    def test_frequencies_that_are_not_there(self, source, slots, message, generator):
        with pytest.raises(SnapshotError, match=f"^{message}$"):
            snapshot_slots(source, drop=DROP, link=LINK, slots=slots, fading=None, generator=generator)
