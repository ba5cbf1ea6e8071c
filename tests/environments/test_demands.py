import importlib
import math
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from torchrrm.channels import bundled_snapshot, rayleigh_scenario, seven_cell_scenario
from torchrrm.environments import DemandsEnv, DemandsSettings, links_of
from torchrrm.problems import PowerAction, WeightedSumRate
from torchrrm.setups.links import SEVEN_CELL_TERMS, LinkSource, LinkTerms

TERMS = LinkTerms.at_snr(15.0)
RANGE = DemandsSettings(LinkSource(rayleigh_scenario(), (2, 6), TERMS), slots=40, window=10)
SETTINGS = {
    "default": DemandsSettings(),
    "range": RANGE,
    "cells": DemandsSettings(
        LinkSource(seven_cell_scenario(), 20, SEVEN_CELL_TERMS, redraw_every=50), slots=120
    ),
    "city": DemandsSettings(LinkSource(bundled_snapshot("munich_d2d"), (1, 8)), slots=20, window=7),
}
SCHEDULE = ((0.5, 0.0, 1.0), (0.0, 2.0, 0.25))
SCHEDULED = DemandsSettings(
    LinkSource(rayleigh_scenario(), 3, TERMS), slots=12, window=4, schedule_bps_hz=SCHEDULE, averaging_slots=2
)


def play(env: DemandsEnv, actions: np.ndarray, seed: int = 3) -> list[tuple]:
    env.reset(seed=seed)
    return [env.step(action) for action in actions]


def random_actions(settings: DemandsSettings, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((settings.slots, settings.max_links), np.float32)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.filterwarnings("error")
def test_gymnasium_finds_nothing_to_say(name):
    check_env(gymnasium.make("torchrrm/Demands-v0", settings=SETTINGS[name]).unwrapped)


@pytest.mark.parametrize("name", SETTINGS)
def test_episodes(name):
    """Truncated after the last slot, never terminated, observations in their space, all of it by the seed."""
    settings = SETTINGS[name]
    env, actions = DemandsEnv(settings), random_actions(settings)
    steps, again = play(env, actions), play(DemandsEnv(settings), actions)
    assert [step[3] for step in steps] == [False] * (settings.slots - 1) + [True]
    assert not any(step[2] for step in steps)
    assert all(step[0] in env.observation_space for step in steps)
    for step, other in zip(steps, again, strict=True):
        assert step[1] == other[1]
        for key, value in step[0].items():
            assert np.array_equal(value, other[0][key])
    assert play(env, actions, seed=4)[0][1] != steps[0][1]
    with pytest.raises(
        ValueError, match=f"^step: must be one of {settings.slots} after a reset, received one"
    ):
        env.step(actions[0])


@pytest.mark.parametrize("name", SETTINGS)
def test_the_reward_is_the_sum_rate_of_the_observed_links(name):
    settings = SETTINGS[name]
    env = DemandsEnv(settings)
    observation, _ = env.reset(seed=1)
    for action in random_actions(settings)[:8]:
        links = WeightedSumRate().validate(links_of(observation))
        power = links.max_power_w.new_tensor(action) * links.active
        score = WeightedSumRate().evaluate(links, PowerAction(power_w=power))
        observation, reward, *_, info = env.step(action)
        assert reward == pytest.approx(float(score.objective), rel=1e-4)
        np.testing.assert_allclose(info["rate_bps_hz"], score.utility.numpy(), rtol=1e-3, atol=1e-4)


def test_gains_are_relative_to_the_noise_at_full_power():
    """15 dB on average, in the order receiver, transmitter: powers of one transmitter scale one column."""
    env = DemandsEnv(DemandsSettings(LinkSource(rayleigh_scenario(), 4, TERMS), slots=2000))
    gains = [env.reset(seed=0)[0]["gain_db"]] + [step[0]["gain_db"] for step in play(env, np.ones((999, 4)))]
    mean = (10.0 ** (np.stack(gains) / 10.0)).mean(0)
    np.testing.assert_allclose(10.0 * np.log10(mean), 15.0, atol=0.6)
    observation, _ = env.reset(seed=0)
    snr = 10.0 ** (observation["gain_db"].astype(float) / 10.0)
    rate = env.step(np.array([1.0, 0.5, 0.0, 0.0]))[-1]["rate_bps_hz"]
    assert rate[0] == pytest.approx(math.log2(1.0 + snr[0, 0] / (1.0 + 0.5 * snr[0, 1])), rel=1e-4)
    assert rate[1] == pytest.approx(math.log2(1.0 + 0.5 * snr[1, 1] / (1.0 + snr[1, 0])), rel=1e-4)
    assert rate[2:].tolist() == [0.0, 0.0]


class TestPadding:
    def test_says_nothing(self):
        env = DemandsEnv(RANGE)
        seen = set()
        for observation, *_ in play(env, random_actions(RANGE)):
            active = observation["active"].astype(bool)
            seen.add(int(active.sum()))
            both = active[:, None] & active[None, :]
            assert (observation["gain_db"][~both] == RANGE.gain_range_db[0]).all()
            assert (observation["demand_bps_hz"][~active] == 0.0).all()
            assert (observation["mean_rate_bps_hz"][~active] == 0.0).all()
        assert len(seen) > 1
        assert seen <= set(range(2, 7))

    def test_does_nothing(self):
        """Whatever is transmitted there."""
        actions = random_actions(RANGE)
        changed = actions.copy()
        env = DemandsEnv(RANGE)
        active = [step[-1]["active"] for step in play(env, actions)]
        padding = np.stack(active) == 0
        changed[padding] = 1.0 - changed[padding]
        assert padding.any()
        for step, other in zip(play(env, actions), play(env, changed), strict=True):
            assert step[1] == other[1]
            assert np.array_equal(step[-1]["shortfall_bps_hz"], other[-1]["shortfall_bps_hz"])


class TestDemands:
    def test_the_schedule_comes_round(self):
        env = DemandsEnv(SCHEDULED)
        first, info = env.reset(seed=3)
        assert info == {"slot": 0, "changes": "slot 0: 3 users, demands 0.5, 0, 1 bit/s/Hz"}
        steps = play(env, np.ones((12, 3)))
        demands = [first["demand_bps_hz"].tolist()] + [step[0]["demand_bps_hz"].tolist() for step in steps]
        assert demands[:12] == [list(SCHEDULE[slot // 4 % 2]) for slot in range(12)]
        changes = [step[-1]["changes"] for step in steps]
        assert changes[3] == "slot 4: 3 users, demands 0, 2, 0.25 bit/s/Hz"
        assert [slot for slot, text in enumerate(changes) if text] == [3, 7]
        elapsed = [step[0]["elapsed"].item() for step in steps]
        assert elapsed == [0.25, 0.5, 0.75, 0.0] * 3

    def test_random_ones_are_uniform(self):
        settings = DemandsSettings(slots=400, window=1, demand_range_bps_hz=(0.5, 2.0))
        demands = np.stack(
            [step[0]["demand_bps_hz"] for step in play(DemandsEnv(settings), np.ones((400, 5)))]
        )
        assert 0.5 <= demands.min() < 0.51
        assert 1.99 < demands.max() <= 2.0
        assert demands.mean() == pytest.approx(1.25, abs=0.04)

    def test_means_start_anew_with_each_window(self):
        """The mean of the first two slots, then with a step of one half."""
        steps = play(DemandsEnv(SCHEDULED), random_actions(SCHEDULED))
        for window in range(3):
            infos = [step[-1] for step in steps[4 * window : 4 * window + 4]]
            rates = np.stack([info["rate_bps_hz"] for info in infos])
            mean = rates[0]
            for slot, info in enumerate(infos):
                mean = mean if slot == 0 else 0.5 * (mean + rates[slot])
                np.testing.assert_allclose(info["mean_rate_bps_hz"], mean, rtol=1e-5)
                observed = steps[4 * window + slot][0]["mean_rate_bps_hz"]
                np.testing.assert_allclose(observed, 0.0 if slot == 3 else mean, rtol=1e-5)

    def test_constraint_signals(self):
        """Eq. (12) by hand; users without a demand do not count."""
        for step in play(DemandsEnv(SCHEDULED), random_actions(SCHEDULED)):
            info = step[-1]
            demand = np.array(SCHEDULE[info["slot"] // 4 % 2])
            missing = demand - info["mean_rate_bps_hz"]
            np.testing.assert_allclose(info["shortfall_bps_hz"], missing, atol=1e-6)
            asked = demand > 0
            violation = (missing[asked].clip(min=0.0) / demand[asked]).max()
            assert info["violation"] == pytest.approx(violation, abs=1e-6)

    def test_no_demands_are_no_violation(self):
        settings = DemandsSettings(slots=5, demand_range_bps_hz=(0.0, 0.0))
        assert {step[-1]["violation"] for step in play(DemandsEnv(settings), np.zeros((5, 5)))} == {0.0}


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda env: env.step(np.ones(4)), r"action: must have shape \(5,\), received \(4,\)"),
        (
            lambda env: env.step(np.array([0, 1, 1.5, 0, 0])),
            r"action: must lie in \[0, 1\], received 1.5 at 2",
        ),
        (lambda env: env.step(np.full(5, np.nan)), r"action: must lie in \[0, 1\], received nan at 0"),
        (lambda env: DemandsEnv().step(np.ones(5)), "step: must follow a reset, received none"),
        (lambda env: DemandsSettings(window=0), "window: must be at least 1, received 0"),
        (
            lambda env: DemandsSettings(demand_range_bps_hz=(1.0, 0.5)),
            r"demand_range_bps_hz: must be ascending, finite and not negative, received \(1.0, 0.5\)",
        ),
        (
            lambda env: DemandsSettings(gain_range_db=(0.0, math.inf)),
            r"gain_range_db: must be ascending and finite, received \(0.0, inf\)",
        ),
        (
            lambda env: DemandsSettings(schedule_bps_hz=((1.0, 2.0),)),
            r"schedule_bps_hz: must have rows of 5 demands, received \[2\]",
        ),
        (
            lambda env: DemandsSettings(schedule_bps_hz=()),
            "schedule_bps_hz: must have rows of 5 demands, received none",
        ),
        (
            lambda env: DemandsSettings(schedule_bps_hz=((0, 0, -1.0, 0, 0),)),
            "schedule_bps_hz: must be finite and not negative, received -1.0",
        ),
    ],
)
def test_bad_arguments(act, message):
    env = DemandsEnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"^{message}$"):
        act(env)


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    monkeypatch.delitem(sys.modules, "torchrrm.environments")
    message = r"^gymnasium: must be installed, received no such package; pip install 'torchrrm\[gym\]'$"
    with pytest.raises(ImportError, match=message):
        importlib.import_module("torchrrm.environments")
