import pytest
import torch

from torchrrm.channels import (
    CorrelatedRayleigh,
    Nakagami,
    Snapshot,
    bundled_snapshot,
    metagnn_scenario,
    rayleigh_scenario,
    seven_cell_scenario,
)
from torchrrm.problems import ErgodicAction, ErgodicPower, PowerAction, WeightedSumRate
from torchrrm.problems.links import relative_gain
from torchrrm.setups.links import (
    SEVEN_CELL_TERMS,
    LinkSource,
    LinkTerms,
    draw_configurations,
    draw_links,
    ergodic_task,
    paused,
    sum_rate_task,
)

MUNICH = bundled_snapshot("munich_d2d")
SOURCES = {
    "devices": LinkSource(metagnn_scenario(), 8),
    "correlated": LinkSource(metagnn_scenario(fading=CorrelatedRayleigh()), 8),
    "independent": LinkSource(rayleigh_scenario(), 8, LinkTerms.at_snr(15.0)),
    "faded city": LinkSource(MUNICH, 8),
    "city": LinkSource(MUNICH, 8, fading=None),
    "ranges": LinkSource(metagnn_scenario(), (2, 8)),
    "seven cells": LinkSource(seven_cell_scenario(), 8, SEVEN_CELL_TERMS),
    "redrawn": LinkSource(seven_cell_scenario(), 8, SEVEN_CELL_TERMS, redraw_every=2),
    "redrawn city's": LinkSource(MUNICH, 8, fading=None, redraw_every=2),
    "city's ranges": LinkSource(MUNICH, (1, 8)),
}


@pytest.mark.parametrize("name", SOURCES)
class TestEverySource:
    def test_one_slot(self, name):
        task = sum_rate_task(SOURCES[name])
        instances = [task.sample(16, generator=torch.Generator().manual_seed(2)) for _ in range(2)]
        instance = WeightedSumRate().validate(instances[0])
        assert instance.gain.shape == (16, 8, 8)
        assert torch.equal(instances[0].gain, instances[1].gain)
        assert torch.equal(instance.weight, instance.active.float())
        evaluation = task.problem.evaluate(instance, PowerAction(power_w=instance.max_power_w))
        assert bool((evaluation.objective > 0.0).all())

    def test_many_slots(self, name):
        task = ergodic_task(SOURCES[name], slots=5)
        instances = [task.sample(16, generator=torch.Generator().manual_seed(2)) for _ in range(2)]
        instance = ErgodicPower().validate(instances[0])
        assert instance.gain.shape == (16, 5, 8, 8)
        assert instance.mean_gain.shape == (16, 8, 8)
        assert torch.equal(instances[0].gain, instances[1].gain)
        power = instance.slots().max_power_w
        action = ErgodicAction(power_w=power, slack_bps_hz=torch.zeros_like(instance.max_power_w))
        assert bool(task.problem.evaluate(instance, action).objective.isfinite().all())

    def test_limits_are_the_terms(self, name):
        source = SOURCES[name]
        instance = draw_configurations(source, 4, slots=2, generator=torch.Generator().manual_seed(0))
        mask = instance.active.float()
        torch.testing.assert_close(instance.max_power_w, mask * source.terms.max_power_w)
        torch.testing.assert_close(instance.min_rate_bps_hz, mask * source.terms.min_rate_bps_hz)
        torch.testing.assert_close(instance.noise_power_w, torch.full((4,), source.terms.noise_power_w))


def test_mean_gain_is_the_mean_over_many_slots(generator):
    """Asymmetric configurations: their transposes are far away."""
    instance = draw_configurations(LinkSource(MUNICH, 5), 3, slots=4000, generator=generator)
    mean = instance.gain.mean(dim=1)
    torch.testing.assert_close(mean, instance.mean_gain, rtol=0.1, atol=0.0)
    assert not torch.allclose(mean, instance.mean_gain.mT, rtol=0.5)


def test_signal_to_noise_ratio(generator):
    instance = draw_links(
        LinkSource(rayleigh_scenario(), 4, LinkTerms.at_snr(15.0)), 4000, generator=generator
    )
    assert float(relative_gain(instance).mean()) == pytest.approx(10**1.5, rel=0.03)


def test_defaults_are_those_of_the_paper():
    """-174 dBm/Hz over 10 MHz and 10 dBm."""
    assert LinkTerms().noise_power_w == pytest.approx(10**-13.4, rel=1e-6, abs=0.0)
    assert LinkTerms().max_power_w == pytest.approx(0.01)
    assert LinkTerms().min_rate_bps_hz == 1.0


def test_ranges_are_padded(generator):
    instance = draw_configurations(SOURCES["ranges"], 500, slots=2, generator=generator)
    count = instance.active.sum(dim=-1)
    assert count.unique().tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert torch.equal(instance.active, torch.arange(8) < count[:, None])
    both = instance.active[:, :, None] & instance.active[:, None, :]
    assert float(instance.mean_gain[~both].abs().max()) == 0.0
    assert float(instance.gain.movedim(1, -1)[~both].abs().max()) == 0.0
    assert float(instance.mean_gain[both].min()) > 0.0


class TestRedraw:
    """Places that are drawn anew every so many slots."""

    def test_large_scale_gains_change_with_the_blocks_only(self, generator):
        """Without fading (Nakagami of a huge m) gains are the large-scale ones."""
        channels = metagnn_scenario(fading=Nakagami(1e9))
        source = LinkSource(channels, 4, redraw_every=50, dtype=torch.float64)
        instance = draw_configurations(source, 3, slots=120, generator=generator)
        gain = instance.gain
        assert gain.shape == (3, 120, 4, 4)
        starts = gain[:, [0, 50, 100]]
        blocks = starts.repeat_interleave(torch.tensor([50, 50, 20]), dim=1)
        torch.testing.assert_close(gain, blocks, rtol=1e-3, atol=0.0)
        distance = (starts.log() - starts.roll(1, 1).log()).abs().flatten(1).amax(-1)
        assert float(distance.min()) > 0.1
        torch.testing.assert_close(instance.mean_gain, gain.mean(1), rtol=1e-3, atol=0.0)

    def test_blocks_are_independent_configurations(self):
        """Drawing in blocks is drawing more configurations."""
        channels = seven_cell_scenario()
        draws = [torch.Generator().manual_seed(3) for _ in range(2)]
        blocks = draw_configurations(LinkSource(channels, 9, redraw_every=5), 2, slots=15, generator=draws[0])
        apart = draw_configurations(LinkSource(channels, 9), 6, slots=5, generator=draws[1])
        assert torch.equal(blocks.gain.reshape(6, 5, 9, 9), apart.gain)
        torch.testing.assert_close(blocks.mean_gain, apart.mean_gain.view(2, 3, 9, 9).mean(1))

    @pytest.mark.parametrize("every", [None, 4, 7])
    def test_never_within_the_slots(self, every):
        draws = [
            draw_configurations(
                LinkSource(metagnn_scenario(), (2, 5), redraw_every=redraw_every),
                3,
                slots=4,
                generator=torch.Generator().manual_seed(1),
            )
            for redraw_every in (None, every)
        ]
        assert torch.equal(draws[0].gain, draws[1].gain)
        assert torch.equal(draws[0].mean_gain, draws[1].mean_gain)


def test_limits_of_the_seven_cells():
    """38 dBm is 6.30957 W, -114 dBm is 3.98107e-15 W: 152 dB apart."""
    assert SEVEN_CELL_TERMS.max_power_w == pytest.approx(6.30957, rel=1e-5)
    assert SEVEN_CELL_TERMS.noise_power_w == pytest.approx(3.98107e-15, rel=1e-5, abs=0.0)


class TestSnapshots:
    def test_pairs_are_kept_together(self, generator):
        """The direct gains of an instance are direct gains of one drop, each taken once."""
        instance = draw_configurations(LinkSource(MUNICH, 6), 40, slots=1, generator=generator)
        own = MUNICH.gain.diagonal(dim1=-2, dim2=-1)  # [drop pair]
        drops = set()
        for gain in instance.mean_gain:
            drop = int((own == gain[0, 0]).nonzero()[0, 0])
            pair = [int((own[drop] == value).nonzero()[0, 0]) for value in gain.diagonal()]
            assert len(set(pair)) == 6
            assert torch.equal(gain, MUNICH.gain[drop][pair][:, pair])
            drops.add(drop)
        assert len(drops) > 10

    def test_drops_can_be_kept_for_testing(self, generator):
        source = LinkSource(MUNICH, 20, drops=(40, 50))
        gain = draw_configurations(source, 200, slots=1, generator=generator).mean_gain
        own = gain.diagonal(dim1=-2, dim2=-1).sort(dim=-1).values
        kept = MUNICH.gain[40:].diagonal(dim1=-2, dim2=-1).sort(dim=-1).values
        found = (own[:, None] == kept).all(dim=-1)  # [instance drop]
        assert bool(found.any(dim=0).all() and found.any(dim=1).all())

    def test_double_precision(self, generator):
        for channels in (MUNICH, metagnn_scenario()):
            source = LinkSource(channels, 4, dtype=torch.float64)
            instance = draw_configurations(source, 2, slots=3, generator=generator)
            assert {instance.gain.dtype, instance.max_power_w.dtype, instance.noise_power_w.dtype} == {
                torch.float64
            }

    def test_a_single_drop(self, generator):
        single = Snapshot(gain=MUNICH.gain[0])
        assert draw_links(LinkSource(single, 3), 2, generator=generator).gain.shape == (2, 3, 3)


def blocked() -> Snapshot:
    gain = MUNICH.gain[:2].clone()
    gain[1, 4, 4] = 0.0
    return Snapshot(gain=gain)


def test_paused_links_are_on_with_their_probability(generator):
    links = draw_links(LinkSource(rayleigh_scenario(), (5, 20)), 4000, generator=generator)
    kappa = torch.linspace(0.0, 1.0, 20)
    active = paused(links, kappa, generator=generator).active
    assert not (active & ~links.active).any()
    share = (active.sum(0) / links.active.sum(0)).double()
    torch.testing.assert_close(share, kappa.double(), rtol=0, atol=0.06)
    each = paused(links, torch.tensor([0.0, 1.0]).repeat(2000)[:, None], generator=generator).active
    assert torch.equal(each[1::2], links.active[1::2])
    assert not each[::2].any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: LinkSource(bundled_snapshot("munich_cell_uplink"), 5),
            r"gain: expected a square matrix \[rx, tx\], got \[1, 200\]. .* use --pair strongest",
        ),
        (
            lambda: LinkSource(blocked(), 5),
            r"channels: must have a path within each pair, received a gain of 0 at \[1, 4\]",
        ),
        (
            lambda: LinkSource(MUNICH, 21),
            "links: must be 1 to 20, or an ascending range in it, received 21",
        ),
        (
            lambda: LinkSource(metagnn_scenario(), (5, 3)),
            r"links: must be 1 to inf, or an ascending range in it, received \(5, 3\)",
        ),
        (
            lambda: LinkSource(MUNICH, 5, drops=(40, 51)),
            r"drops: must be an ascending range in 0 to 50, received \(40, 51\)",
        ),
        (
            lambda: LinkSource(metagnn_scenario(), 5, drops=(0, 1)),
            r"drops: must be None for a scenario, received \(0, 1\)",
        ),
        (
            lambda: LinkSource(metagnn_scenario(), 5, redraw_every=0),
            "redraw_every: must be None or at least 1 slot, received 0",
        ),
        (
            lambda: paused(
                draw_links(SOURCES["independent"], 1, generator=torch.Generator()),
                1.5,
                generator=torch.Generator(),
            ),
            r"kappa: must lie in \[0, 1\], received 1.5",
        ),
        (lambda: LinkTerms(max_power_w=0.0), "max_power_w: must be positive and finite, received 0.0"),
        (
            lambda: LinkTerms(min_rate_bps_hz=-1.0),
            "min_rate_bps_hz: must be at least 0 and finite, received -1.0",
        ),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()
