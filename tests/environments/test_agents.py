import gymnasium
import numpy as np
import pytest
import torch

from torchrrm.channels import rayleigh_scenario
from torchrrm.environments import AllocatorAgent, ControllerAgent, DemandsEnv, DemandsSettings, links_of
from torchrrm.policies.control import OnlineDual, SharingSettings, TimeSharing, Window, follow
from torchrrm.problems import ErgodicInstance, WeightedSumRate
from torchrrm.setups.links import LinkSource, LinkTerms
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


@pytest.mark.parametrize(
    "controller",
    [
        OnlineDual(WMMSE(max_steps=20), step=0.5),
        TimeSharing(WMMSE(max_steps=20), settings=SharingSettings(batch=3)),
    ],
    ids=["dual", "sharing"],
)
def test_a_control_loop_follows_demands(controller):
    """As `follow` does over windows; after a reset it does the same again."""
    demands = ((0.5,) * 5, (0.0, 1.0, 1.5, 2.0, 0.0))
    env = DemandsEnv(DemandsSettings(FIVE, slots=20, window=10, schedule_bps_hz=demands))
    agent, seen, actions = ControllerAgent(controller), [], []
    for _ in range(2):
        agent.reset()
        observation, _ = env.reset(seed=1)
        for _ in range(20):
            seen.append(links_of(observation))
            actions.append(agent(observation))
            observation, *_ = env.step(actions[-1])
    assert all(np.array_equal(first, again) for first, again in zip(actions[:20], actions[20:], strict=True))
    slots = torch.stack([links.gain for links in seen[:20]])
    whole = ErgodicInstance(
        gain=slots,
        mean_gain=slots.mean(0),
        noise_power_w=torch.ones(()),
        max_power_w=torch.ones(5),
        min_rate_bps_hz=torch.zeros(5),
        active=torch.ones(5, dtype=torch.bool),
    )
    tracks = follow(controller, whole, [Window(demand, 10) for demand in demands])
    power = torch.cat([track.power_w for track in tracks])
    np.testing.assert_allclose(np.stack(actions[:20]), power.numpy(), atol=1e-4)


def test_the_number_of_users_may_change():
    settings = DemandsSettings(
        LinkSource(rayleigh_scenario(), (2, 8), LinkTerms.at_snr(15.0)), slots=60, window=10
    )
    env = DemandsEnv(settings)
    loops = ControllerAgent(OnlineDual(WMMSE())), ControllerAgent(TimeSharing(WMMSE()))
    for agent in (AllocatorAgent(WMMSE()), *loops):
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
