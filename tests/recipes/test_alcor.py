"""The ALCOR recipe: its demands, loops and tables."""

import pytest
import torch

from torchrrm.bench.demands import NEVER
from torchrrm.policies import PowerGNN
from torchrrm.problems import WeightedSumRate
from torchrrm.recipes.alcor.augmented import draw_demands
from torchrrm.recipes.alcor.bounds import DualCertificate
from torchrrm.recipes.alcor.cases import CASES, TABLE2, TABLE3, TABLE4, rayleigh
from torchrrm.recipes.alcor.loops import LoopScore, LoopSettings, draw_runs
from torchrrm.recipes.alcor.plan import DUAL, loops_of
from torchrrm.recipes.alcor.tables import blocks_text


def test_demands_are_those_of_the_paper():
    assert len(CASES) == 9
    assert sum(TABLE2[10].demand_bps_hz) == pytest.approx(2.5)
    assert TABLE2[20].demand_bps_hz.count(0.1) == 12
    assert TABLE2[50].demand_bps_hz[:16] == (0.05,) * 15 + (0.0,)
    strict = TABLE3[20].demand_bps_hz
    assert (strict[4], strict[6], strict[11], strict[18], strict[0], strict[10]) == (
        0.4,
        0.6,
        0.2,
        0.8,
        0.1,
        0.0,
    )
    assert TABLE3[50].demand_bps_hz[19:30] == (0.3,) * 11
    assert TABLE4[3].demand_bps_hz == (0.0, 0.0, 0.0, 1.0, 3.0)


def test_channels_are_circularly_symmetric_at_15_db(generator):
    runs = draw_runs(rayleigh(4), TABLE4[1].demand[:4], 50, 200, generator)
    torch.testing.assert_close(runs.gain.mean((0, 1)), torch.ones(4, 4), atol=0.05, rtol=0)
    assert 10 * (runs.max_power_w / runs.noise_power_w[:, None]).log10().mean() == pytest.approx(15.0)


def test_random_demands_have_their_total(generator):
    demand = draw_demands(500, 7, generator=generator)
    total = demand.sum(-1)
    assert (demand >= 0).all()
    assert total[total > 0].min() >= 0.19
    assert total.max() <= 4.51


def test_a_loop_meets_what_it_is_asked_and_stays_below_the_certificate():
    case = TABLE4[2]
    settings = LoopSettings(runs=4, settle=500, slots=1500)
    score = LoopScore(case, "dual", DUAL, "greedy", None, None, settings)()
    reached = score["rate"].mean(0)
    assert (reached >= 0.97 * case.demand).all()
    bound = DualCertificate(case, 400)()
    assert float(reached.sum()) < float(bound["interval"][1])
    assert float(reached.sum()) > 0.9 * float(bound["bound"])


def test_names_of_loops_are_of_one_kind():
    for links in (5, 50):
        titles = [loop.title for loop in loops_of(links)]
        assert len(set(titles)) == len(titles)


def test_blocks_are_told_with_their_spread():
    assert blocks_text(torch.tensor([0, 2, 5])) == "2 (0 to 5)"
    assert blocks_text(torch.tensor([0, NEVER])) == "0 (0 to 0), 1 of 2 never"
    assert blocks_text(torch.tensor([NEVER])) == "never"


def test_power_nets_of_means_serve_any_number_of_links(generator):
    policy = PowerGNN("weight", edges="mean", widths=(16, 16))
    with torch.no_grad():
        for links in (1, 3, 60):
            runs = draw_runs(rayleigh(links), torch.zeros(links), 2, 1, generator)
            power = policy(runs.slot(0)).power_w
            assert torch.isfinite(WeightedSumRate().rate(runs.slot(0), power)).all()
