import gymnasium
import numpy as np
import pytest
import torch

from torchrrm.channels import rayleigh_scenario
from torchrrm.environments import AllocatorAgent, ControllerAgent, DemandsEnv, DemandsSettings, links_of
from torchrrm.policies import OnlineDual
from torchrrm.problems import WeightedSumRate
from torchrrm.recipes.links import LinkSource, LinkTerms
from torchrrm.solvers import WMMSE, MaxPower

FIVE = LinkSource(rayleigh_scenario(), 5, LinkTerms.at_snr(15.0))
STRICT = DemandsSettings(
    FIVE, slots=500, window=250, schedule_bps_hz=((0.5,) * 5, (0.0, 1.0, 1.5, 2.0, 0.0)), averaging_slots=250
)


def played(env: DemandsEnv, agent) -> tuple[float, list[float]]:
    """Mean reward, and the violation at the end of each window."""
    observation, _ = env.reset(seed=1)
    rewards, violations, truncated = [], [], False
    while not truncated:
        observation, reward, _, truncated, info = env.step(agent(observation))
        rewards.append(reward)
        if info["changes"] or truncated:
            violations.append(info["violation"])
    return float(np.mean(rewards)), violations


def test_a_control_loop_meets_demands_and_chance_does_not():
    """Dual weights over WMMSE; chance, full power and WMMSE alone miss the demands, the former the sum rate, too."""
    env, random = DemandsEnv(STRICT), np.random.default_rng(0)
    rate, violations = played(env, ControllerAgent(OnlineDual(WMMSE(starts=4, max_steps=40))))
    assert max(violations) < 0.03
    alone, missed = played(env, AllocatorAgent(WMMSE()))
    assert missed[1] > 0.3
    assert rate > 0.95 * alone
    for agent in (lambda observation: random.random(5, np.float32), AllocatorAgent(MaxPower())):
        chance, missed = played(env, agent)
        assert chance < 0.6 * rate
        assert min(missed) > 0.1


def test_a_control_loop_starts_anew_when_demands_change():
    """What it does after a change is what a new one does."""
    env = DemandsEnv(DemandsSettings(FIVE, slots=20, window=10))
    agent = ControllerAgent(OnlineDual(WMMSE(), step=0.5))
    observation, _ = env.reset(seed=1)
    for slot in range(20):
        action = agent(observation)
        if slot == 10:
            fresh = ControllerAgent(OnlineDual(WMMSE(), step=0.5))
            assert np.array_equal(action, fresh(observation))
        observation, *_ = env.step(action)


def test_the_number_of_users_may_change():
    settings = DemandsSettings(
        LinkSource(rayleigh_scenario(), (2, 8), LinkTerms.at_snr(15.0)), slots=60, window=10
    )
    env = DemandsEnv(settings)
    for agent in (AllocatorAgent(WMMSE()), ControllerAgent(OnlineDual(WMMSE()))):
        observation, _ = env.reset(seed=2)
        for _ in range(60):
            action = agent(observation)
            assert action in env.action_space
            assert (action[observation["active"] == 0] == 0.0).all()
            observation, *_ = env.step(action)


def test_links_of_observations_side_by_side():
    """Leading axes stay, and an allocator serves all environments at once."""
    envs = gymnasium.make_vec("torchrrm/Demands-v0", num_envs=3, vectorization_mode="sync")
    observation, _ = envs.reset(seed=4)  # and 5 and 6
    links = WeightedSumRate().validate(links_of(observation))
    assert links.gain.shape == (3, 5, 5)
    action = AllocatorAgent(WMMSE())(observation)
    for row, seed in enumerate((4, 5, 6)):
        alone, _ = DemandsEnv().reset(seed=seed)
        torch.testing.assert_close(links_of(alone).gain, links.gain[row])
        np.testing.assert_allclose(AllocatorAgent(WMMSE())(alone), action[row], atol=1e-5)
    _, reward, *_ = envs.step(action)
    assert reward == pytest.approx(
        WeightedSumRate().rate(links, torch.from_numpy(action)).sum(-1).numpy(), rel=1e-4
    )
    envs.close()
