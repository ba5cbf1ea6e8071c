"""Time sharing and the online dual: probabilities, the three updates, compiled loops, changing demands."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from tests.testing.links import rayleigh_slots
from torch import Tensor

from torchrrm.bench.demands import shortfall
from torchrrm.kernels import control as kernels
from torchrrm.policies import OnlineDual, SharingSettings, TimeSharing, UnfoldedPower
from torchrrm.policies.control import Controller, Window, asking, follow
from torchrrm.policies.control.time_sharing import _chance
from torchrrm.records import map_tensors, pad, replace
from torchrrm.solvers import WMMSE, GreedyLinks, MaxPower

UPDATES = ("simple", "printed", "corrected")
DEMANDS = torch.tensor([0.0, 1.0, 1.5, 2.0, 0.0])


def loops(batch: int = 10):
    for update in UPDATES:
        settings = SharingSettings(update=update, batch=batch, decay=0.1)
        yield TimeSharing(WMMSE(30), DEMANDS, settings)
    yield OnlineDual(WMMSE(30, starts=2), DEMANDS)
    yield OnlineDual(WMMSE(30), DEMANDS, slack_penalty=4.0)
    yield OnlineDual(GreedyLinks(), DEMANDS)
    yield OnlineDual(UnfoldedPower().double(), DEMANDS)
    yield TimeSharing(UnfoldedPower().double(), DEMANDS, SharingSettings(batch=10))


@pytest.mark.parametrize("loop", list(loops()), ids=lambda loop: type(loop).__name__)
def test_compiled_loops_do_what_the_loops_in_torch_do(loop, generator):
    instance = rayleigh_slots(generator, runs=2)
    fast, after = loop.track(instance, loop.start(instance))
    slow, expected = Controller.track(loop, instance, loop.start(instance))
    for name in vars(slow):
        torch.testing.assert_close(getattr(fast, name), getattr(slow, name), atol=1e-9, rtol=1e-9)
    for name in vars(expected):
        torch.testing.assert_close(getattr(after, name), getattr(expected, name), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("loop", list(loops()), ids=lambda loop: type(loop).__name__)
def test_a_loop_that_is_stopped_and_resumed_goes_on_as_if_it_had_not_been(loop, generator):
    instance = rayleigh_slots(generator, runs=2)
    whole, _ = loop.track(instance, loop.start(instance))
    state = loop.start(instance)
    for first, last in ((0, 7), (7, 33), (33, 60)):  # within batches, too
        part, state = loop.track(instance.between(first, last), state)
        state = map_tensors(torch.clone, state)
        torch.testing.assert_close(part.power_w, whole.power_w[:, first:last])


def test_updates_are_those_of_the_paper(generator):
    """Against Algorithm 1 written down plainly, symbol by symbol, for rates that do not depend on the draws."""
    batch, gamma, alpha, decay, users = 3, 2.0, 0.7, 0.4, 4
    rate = torch.rand(60, users, generator=generator, dtype=torch.float64)
    demand = torch.tensor([0.2, 0.5, 0.9, 0.0], dtype=torch.float64)
    links = rayleigh_slots(generator, runs=1, links=users)
    for update in UPDATES:
        settings = SharingSettings(update=update, batch=batch, step=gamma, damping=alpha, decay=decay)
        loop = TimeSharing(MaxPower(), demand, settings)
        state, seen = loop.start(links), []
        for row in rate:
            state = loop.observe(row[None], state)
            seen.append(state.multiplier[0])
        expected = plain_algorithm(update, demand - rate, batch, gamma, alpha, decay)
        torch.testing.assert_close(torch.stack(seen[batch - 1 :: batch]), expected)


def plain_algorithm(update, gap, batch, gamma, alpha_0, decay):
    """The multipliers that draw after each batch."""
    estimates = gap.unflatten(0, (-1, batch)).mean(1)
    zero = torch.zeros_like(estimates[0])
    if update == "simple":
        value, out = zero, []
        for k, F in enumerate(estimates):
            value = torch.clamp(value + gamma * alpha_0 / math.sqrt(1 + decay * k) * F, min=0)
            out.append(value)
        return torch.stack(out)
    lbar, lbar_before, h, drawing, out = zero, zero, zero, zero, []
    for k in range(len(estimates) // 2):
        alpha = alpha_0 / math.sqrt(1 + decay * k)
        first, second = estimates[2 * k], estimates[2 * k + 1]
        h = lbar + gamma * first + (1 - alpha) * (h - lbar_before - gamma * first)
        ahead = torch.clamp(h, min=0)
        out.append(ahead if update == "corrected" else drawing)
        lbar_before, lbar = lbar, lbar - alpha * (h - ahead - gamma * second)
        drawing = torch.clamp(lbar, min=0) if update == "corrected" else ahead
        out.append(drawing)
    return torch.stack(out)


def test_users_are_on_with_their_probabilities_and_independently(generator):
    instance = replace(
        rayleigh_slots(generator, runs=4000, slots=1),
        active=torch.tensor([True] * 4 + [False]).expand(4000, 5),
    )
    loop = TimeSharing(MaxPower())
    state = loop.start(instance)
    state = replace(
        state, multiplier=torch.tensor([0.0, 1.0, 3.0, 0.0, 9.0], dtype=torch.float64).expand(4000, 5)
    )
    links = instance.slot(0)
    expected = torch.tensor([0.25, 0.5, 1.0, 0.25, 0.0], dtype=torch.float64)
    torch.testing.assert_close(loop.probability(links, state)[0], expected)
    on = loop.select(links, state).double()
    torch.testing.assert_close(on.mean(0), expected, atol=0.03, rtol=0)
    torch.testing.assert_close(
        torch.cov(on[:, [0, 1, 3]].mT), torch.diag(torch.tensor([3, 4, 3]) / 16).double(), atol=0.015, rtol=0
    )
    other = loop.select(links, replace(state, slot=state.slot + 1)).double()
    assert abs(((on - expected) * (other - expected))[:, :4].mean()) < 0.01


def test_chance_is_uniform_and_the_same_in_both_forms():
    key = torch.arange(500)[:, None] - 250
    drawn = _chance(key, torch.tensor(7), torch.arange(200))
    assert drawn.min() >= 0
    assert drawn.max() < 1
    torch.testing.assert_close(
        drawn.histc(10, 0, 1) / drawn.numel(), torch.full((10,), 0.1, dtype=torch.float64), atol=0.004, rtol=0
    )
    assert kernels.chance(np.int64(-250), np.int64(7), np.int64(3)) == drawn[0, 3].item()


@pytest.mark.parametrize("update", ["simple", "printed"])
def test_time_sharing_meets_demands_and_narrows_only(update, generator):
    instance = rayleigh_slots(generator, runs=8, slots=3000)
    loop = TimeSharing(WMMSE(40), DEMANDS, SharingSettings(update=update))
    track, _ = loop.track(instance, loop.start(instance))
    met = track.rate_bps_hz[:, 1000:].mean((0, 1))
    assert shortfall(met, DEMANDS.double()) < 0.03
    assert track.rate_bps_hz[:, 1000:].sum(-1).mean() > 5.0


def _shared(demands: Tensor) -> Controller[Any]:
    return TimeSharing(WMMSE(20), demands, SharingSettings(batch=5))


def _dual(demands: Tensor) -> Controller[Any]:
    return OnlineDual(WMMSE(20), demands)


@pytest.mark.parametrize("make", [_shared, _dual])
def test_padding_changes_nothing(make, generator):
    instance = rayleigh_slots(generator, runs=1)
    wide = pad(instance, rx=7, tx=7)
    narrow, _ = make(DEMANDS).track(instance, make(DEMANDS).start(instance))
    loop = make(torch.cat([DEMANDS, torch.ones(2)]))
    padded, _ = loop.track(wide, loop.start(wide))
    torch.testing.assert_close(padded.power_w[..., :5], narrow.power_w)
    assert not padded.power_w[..., 5:].any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: OnlineDual(WMMSE(20), ceiling=50.0),
        lambda: TimeSharing(WMMSE(20), settings=SharingSettings(ceiling=50.0)),
    ],
    ids=["dual", "sharing"],
)
def test_demands_out_of_reach_neither_diverge_nor_starve_the_numbers(make, generator):
    instance = rayleigh_slots(generator, runs=2, slots=10_000)
    instance = replace(instance, min_rate_bps_hz=torch.full((2, 5), 4.0, dtype=torch.float64))
    loop = make()
    track, _ = loop.track(instance, loop.start(instance))
    assert torch.isfinite(track.power_w).all()
    assert track.multiplier.amax() <= 50.0
    assert track.rate_bps_hz[:, -2000:].sum(-1).mean() > 2.5


@pytest.mark.parametrize("solver", [MaxPower(), WMMSE(5)], ids=["torch", "compiled"])
@pytest.mark.parametrize("update", UPDATES)
def test_multipliers_stop_at_the_ceiling(update, solver, generator):
    instance = rayleigh_slots(generator, runs=2)
    settings = SharingSettings(update=update, batch=2, ceiling=7.0)
    loop = TimeSharing(solver, torch.tensor([1e3, 1e3, 0.0, 0.0, 0.0]), settings)
    track, state = loop.track(instance, loop.start(instance))
    assert track.multiplier.amax() == 7.0
    assert max(state.base.max(), state.extrapolated.max()) <= 7.0


def test_changed_minima_draw_other_users(generator):
    instance = rayleigh_slots(generator, runs=2)
    loop = TimeSharing(MaxPower())
    first = loop.start(instance)
    again = loop.retarget(first, instance)
    assert not torch.equal(first.key, again.key)
    many = torch.rand(2, 5, generator=generator, dtype=torch.float64) * 3
    links = [
        loop.select(instance.slot(0), replace(state, multiplier=many, slot=state.slot + slot))
        for state in (first, again)
        for slot in range(50)
    ]
    assert not torch.equal(torch.stack(links[:50]), torch.stack(links[50:]))


def test_a_schedule_carries_the_state_from_window_to_window(generator):
    instance = rayleigh_slots(generator, runs=2)
    windows = [Window((0.5,) * 5, 20), Window((1.0,) * 5, 40)]
    loop = TimeSharing(WMMSE(5), settings=SharingSettings(batch=5))
    _, second = follow(loop, instance, windows)
    first, rest = asking(instance.between(0, 20), windows[0]), asking(instance.between(20, 60), windows[1])
    _, state = loop.track(first, loop.start(first))
    expected, _ = loop.track(rest, loop.retarget(state, rest))
    assert torch.equal(second.power_w, expected.power_w)


def test_multipliers_of_the_dual_bound_the_shortfall(generator):
    instance, step = rayleigh_slots(generator, runs=3, slots=400), 0.05
    loop = OnlineDual(WMMSE(20), DEMANDS, step=step)
    track, state = loop.track(instance, loop.start(instance))
    gap = DEMANDS.double() - track.rate_bps_hz.mean(-2)
    assert (gap <= state.multiplier / (step * 400) + 1e-12).all()


def test_a_schedule_is_followed_and_time_sharing_starts_anew(generator):
    instance = rayleigh_slots(generator, runs=2, slots=40)
    schedule = [Window((0.5,) * 5, 20), Window((0.0, 0.0, 2.0, 0.0, 0.0), 20)]
    loop = TimeSharing(WMMSE(20), settings=SharingSettings(batch=5))
    first, second = follow(loop, instance, schedule)
    assert first.power_w.shape == second.power_w.shape == (2, 20, 5)
    assert not second.multiplier[:, 0].any()
    dual = OnlineDual(WMMSE(20))
    _, later = follow(dual, instance, schedule)
    assert not later.multiplier[..., [0, 1, 3, 4]].any()


@pytest.mark.parametrize(
    "wrong", [[-0.1, 0, 0, 0, 0], [math.nan, 0, 0, 0, 0], [math.inf, 0, 0, 0, 0], [1.0, 1.0]]
)
@pytest.mark.parametrize("make", [OnlineDual, TimeSharing])
def test_bad_demands_are_told_in_one_line(make, wrong, generator):
    with pytest.raises(ValueError, match=r"^demands: must be .*, received [^\n]*$"):
        make(MaxPower(), torch.tensor(wrong)).start(rayleigh_slots(generator, runs=2))


@pytest.mark.parametrize(
    ("demands", "slots", "message"),
    [((-1.0,), 3, "demands: must be finite"), ((1.0,), 0, "slots: must be at least 1")],
)
def test_bad_windows_are_told(demands, slots, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Window(demands, slots)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ([], "schedule: must hold at least one window, received none"),
        ([Window((1.0,), 3)], "demands: must be one a link, received 1 for 5 links"),
        ([Window((1.0,) * 5, 61)], "schedule: must have at most the instance's 60 slots, received 61"),
    ],
)
def test_bad_schedules_are_told(schedule, message, generator):
    with pytest.raises(ValueError, match=f"^{message}$"):
        follow(OnlineDual(MaxPower()), rayleigh_slots(generator, runs=2), schedule)


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": 0},
        {"step": 0.0},
        {"damping": 1.5},
        {"decay": -1.0},
        {"ceiling": math.inf},
        {"update": "none"},
    ],
)
def test_bad_settings_are_told(wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: must"):
        SharingSettings(**wrong)
