"""Distributed power control: what is measured, when, by whom; neighbours, memory, messages."""

import math
from itertools import chain

import numpy as np
import pytest
import torch
from tests.testing.links import LINKS, sample

from torchrrm.policies import LocalPower
from torchrrm.policies.local_power import LocalMemory
from torchrrm.policies.weights import read_tensors, write_tensors
from torchrrm.problems import WeightedSumRate, ergodic_instance, link_instance, relative_gain
from torchrrm.records import index, pad, replace, to
from torchrrm.testing import check_policy

PROBLEM = WeightedSumRate()


@pytest.fixture
def policy():
    torch.manual_seed(3)
    made = LocalPower(rounds=3).double()
    with torch.no_grad():  # powers of an untrained network hardly differ: make them
        made.get_parameter("score.layers.6.weight").mul_(20.0)
    return made.eval()


def rayleigh(links: int, batch: int, generator: torch.Generator, snr: float = 30.0):
    gain = torch.empty(batch, links, links, dtype=torch.float64).exponential_(generator=generator)
    return link_instance(gain, noise_power_w=2.0, max_power_w=2.0 * snr)


def over_slots(gain: torch.Tensor):
    return ergodic_instance(gain, noise_power_w=2.0, max_power_w=60.0, min_rate_bps_hz=0.0)


def some_memory(policy, links, generator):
    """Memory after two slots of random powers on other channels."""
    memory = policy.start(links)
    for _ in range(2):
        shape = links.max_power_w.shape
        gain = torch.empty(links.gain.shape, dtype=torch.float64).exponential_(generator=generator)
        share = torch.rand(shape, generator=generator, dtype=torch.float64)
        memory = policy.observe(replace(links, gain=gain), share * links.max_power_w, memory)
    return memory


@pytest.mark.parametrize("weighted", [False, True])
def test_it_conforms(weighted):
    torch.manual_seed(0)
    check_policy(LocalPower(rounds=2, weighted=weighted), PROBLEM, sample, expected=LINKS)


@pytest.mark.parametrize("links", [1, 3, 5, 9])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_core_decides_as_the_policy_does(weighted, links):
    torch.manual_seed(2)
    policy = LocalPower(rounds=3, weighted=weighted).double().eval()
    generator = torch.Generator().manual_seed(links)
    drawn = to(sample(6, generator=generator, links=links), dtype=torch.float64)
    active = torch.rand(6, links, generator=generator) > 0.3
    drawn = replace(drawn, active=active, weight=0.5 + torch.rand(6, links, generator=generator).double())
    given = [drawn.weight] if weighted else []
    with torch.no_grad():
        found = policy.core(relative_gain(drawn), *given, drawn.max_power_w, active).power_w
        wanted = policy(drawn).power_w
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=0.0)
    assert found[active].std() > 0 or links == 1


class Slot:
    """A slot as one user sees it: gains, powers and the noise of one instance, in watts."""

    def __init__(self, gain, power, noise):
        self.gain, self.power, self.noise, self.links = gain, power, noise, len(power)

    def disturbance(self, i):
        others = sum(self.gain[i, j] * self.power[j] for j in range(self.links) if j != i)
        return others + self.noise

    def rate(self, i):
        return math.log2(1 + self.gain[i, i] * self.power[i] / self.disturbance(i))

    def interferers(self, i):
        found = [j for j in range(self.links) if j != i and self.gain[i, j] * self.power[j] > self.noise]
        return sorted(found, key=lambda j: -self.gain[i, j] * self.power[j])[:5]

    def affected(self, i):
        found = [j for j in range(self.links) if j != i and self.gain[j, i] * self.power[i] > self.noise]
        return sorted(found, key=lambda j: -self.gain[j, i] * self.power[i])[:5]


def fives(values):
    return [*values, *[0.0] * (5 - len(values))]


def level(value, noise):
    return math.log2(1 + value / noise) / 5


def reference(i, now, last, older, limit):
    """The 41 numbers of user `i`, one by one: gains now, and the two slots before."""
    noise = last.noise

    def heard(gain, slot):
        others = sum(gain[i, j] * slot.power[j] for j in range(slot.links) if j != i)
        strongest = [level(gain[i, j] * slot.power[j], noise) for j in slot.interferers(i)]
        return [
            level(others, noise),
            *fives(strongest),
            *fives([slot.rate(j) / 5 for j in slot.interferers(i)]),
        ]

    affected = last.affected(i) or older.affected(i)
    sent = last if last.affected(i) else older
    told = [
        fives([math.log2(1 + sent.gain[j, i] * sent.power[i] / last.disturbance(j)) for j in affected]),
        fives([level(last.gain[j, j] * limit[j], noise) for j in affected]),
        fives([last.rate(j) / 5 for j in affected]),
    ]
    own = [last.power[i] / limit[i], last.rate(i) / 5]
    direct = [level(gain[i, i] * limit[i], noise) for gain in (now, last.gain)]
    return [*own, *direct, *heard(now, last), *heard(last.gain, older), *chain(*told)]


@pytest.mark.parametrize("links", [2, 4, 9])
def test_measurements_are_those_of_each_user_by_itself(policy, links, generator):
    limit, noise = 2.0 * 8.0, 2.0
    older, last, now = (rayleigh(links, 1, generator, snr=8.0) for _ in range(3))
    powers = [limit * torch.rand(1, links, generator=generator, dtype=torch.float64) for _ in range(2)]
    powers[1][0, 0] *= 1e-3  # nobody hears the first link in the last slot: whom it affects is older
    memory = policy.observe(older, powers[0], policy.start(older))
    measured = policy.measure(now, policy.observe(last, powers[1], memory))[0].numpy()
    slots = [Slot(x.gain[0].numpy(), p[0].numpy(), noise) for x, p in zip((older, last), powers, strict=True)]
    limits = np.full(links, limit)
    for i in range(links):
        expected = reference(i, now.gain[0].numpy(), slots[1], slots[0], limits)
        np.testing.assert_allclose(measured[i], expected, rtol=1e-9, atol=1e-12, err_msg=f"user {i}")


def test_powers_of_the_slot_are_of_no_matter_to_its_decision(policy, generator):
    links = rayleigh(6, 4, generator)
    memory = some_memory(policy, links, generator)
    power = policy.decide(links, memory).power_w
    other = replace(links, gain=links.gain.roll(1, 0))
    # What others send now shows only in the next slot.
    loud, quiet = (policy.observe(links, x * links.max_power_w, memory) for x in (1.0, 0.1))
    torch.testing.assert_close(policy.decide(links, memory).power_w, power, rtol=0, atol=0)
    assert not torch.allclose(policy.measure(other, loud), policy.measure(other, quiet))


def test_a_gain_that_reaches_nobody_near_changes_nothing(policy, generator):
    """A gain moved while the last powers on it are zero, or between links that are not neighbours of a user."""
    links = rayleigh(7, 1, generator)
    memory = some_memory(policy, links, generator)
    measured = policy.measure(links, memory)
    gain = links.gain.clone()
    gain[0, 3, 4] *= 2.0
    after = policy.measure(replace(links, gain=gain), memory)
    changed = (after != measured).any(-1)[0]
    # It is heard by receiver 3 alone; the others learn of it, through messages, a slot later.
    assert changed.tolist() == [user == 3 for user in range(7)]
    later = [policy.observe(x, links.max_power_w, memory) for x in (links, replace(links, gain=gain))]
    told = [policy.measure(links, each)[0] for each in later]
    near = {
        user
        for user in range(7)
        if user == 3 or 3 in later[0].interferer[0, user].tolist() + later[0].affected[0, user].tolist()
    }
    far = [user for user in range(7) if user not in near]
    assert torch.equal(told[0][far], told[1][far])


def test_fewer_than_five_neighbours_are_padded_by_zeros(policy, generator):
    links = rayleigh(3, 2, generator)
    measured = policy.measure(links, policy.start(links))
    for first in (5, 10, 26, 31, 36):
        assert not measured[..., first + 2 : first + 5].any()
        assert measured[..., first : first + 2].any()


def test_no_neighbour_is_below_the_threshold(generator):
    links = rayleigh(8, 3, generator, snr=3.0)
    deaf = LocalPower(threshold=1e6)
    assert not deaf.messages(links, deaf.start(links)).any()
    memory = LocalPower(threshold=2.0).start(links)
    heard = (links.gain * links.max_power_w[:, None, :] / 2.0).gather(-1, memory.interferer)
    own = memory.interferer == torch.arange(8)[:, None]
    assert (heard > 2.0)[~own].all()
    assert own.any()
    assert not own.all()


def test_messages_are_counted_from_the_sets(generator):
    links = rayleigh(12, 5, generator, snr=1e3)
    plain, weighted = LocalPower(), LocalPower(weighted=True)
    assert (plain.messages(links, plain.start(links)) == 20).all()
    assert (weighted.messages(links, weighted.start(links)) == 30).all()
    assert (plain.most_messages, weighted.most_messages) == (20, 30)
    two = replace(links, active=torch.arange(12) < 2).active.expand(5, 12)
    few = replace(links, active=two)
    assert plain.messages(few, plain.start(few)).sum(-1).tolist() == [8] * 5


def test_renumbering_renumbers(policy, generator):
    links = rayleigh(9, 4, generator)
    order = torch.randperm(9, generator=generator)
    moved = replace(links, gain=links.gain[:, order][:, :, order])
    torch.testing.assert_close(policy(moved).power_w, policy(links).power_w[:, order])


def test_padding_and_paused_links_are_invisible(policy, generator):
    links = rayleigh(8, 4, generator)
    active = torch.rand(4, 8, generator=generator) < 0.6
    paused = replace(links, active=active)
    power = policy(paused).power_w
    assert not power[~active].any()
    torch.testing.assert_close(policy(pad(paused, rx=13, tx=13)).power_w[:, :8], power)
    one = index(paused, 0)
    kept = active[0].nonzero()[:, 0]
    alone = link_instance(one.gain[kept][:, kept], noise_power_w=2.0, max_power_w=60.0)
    torch.testing.assert_close(policy(alone).power_w, power[0, kept])


def test_a_neighbour_that_pauses_falls_silent_at_once(policy, generator):
    links = rayleigh(6, 2, generator)
    memory = some_memory(policy, links, generator)
    active = torch.tensor([True, True, True, False, True, True]).expand(2, 6)
    paused = replace(links, active=active)
    muted = replace(memory, share=memory.share * active)
    torch.testing.assert_close(policy.measure(paused, memory), policy.measure(paused, muted))
    assert (policy.messages(paused, memory) <= policy.messages(links, memory)).all()
    assert not policy.messages(paused, memory)[:, 3].any()


def test_units_are_of_no_matter(policy, generator):
    links = rayleigh(7, 3, generator)
    micro = replace(
        links,
        gain=links.gain * 1e-7,
        noise_power_w=links.noise_power_w * 1e-10,
        max_power_w=links.max_power_w * 1e-3,
    )
    torch.testing.assert_close(policy(micro).power_w, 1e-3 * policy(links).power_w)


def test_rounds_are_slots_of_a_held_channel(policy, generator):
    links = rayleigh(6, 3, generator)
    power, _ = policy.run(over_slots(links.gain[:, None].expand(3, 5, 6, 6)))
    torch.testing.assert_close(power[:, 0], links.max_power_w)
    torch.testing.assert_close(power[:, 1:], policy.rollout(links, 4))
    torch.testing.assert_close(policy(links).power_w, policy.rollout(links, 3)[:, -1])


def test_a_loop_that_is_stopped_and_saved_goes_on_as_it_was(policy, generator, tmp_path):
    slots = over_slots(torch.empty(2, 8, 5, 5, dtype=torch.float64).exponential_(generator=generator))
    power, _ = policy.run(slots)
    first, memory = policy.run(replace(slots, gain=slots.gain[:, :3]))
    write_tensors(tmp_path / "memory.safetensors", vars(memory), {})
    resumed = LocalMemory(**read_tensors(tmp_path / "memory.safetensors")[0])
    second, _ = policy.run(replace(slots, gain=slots.gain[:, 3:]), resumed)
    torch.testing.assert_close(torch.cat([first, second], dim=1), power)


def test_weights_tell_links_apart(generator):
    torch.manual_seed(0)
    policy, links = LocalPower(weighted=True).double().eval(), rayleigh(6, 2, generator)
    memory = policy.start(links)
    measured = policy.measure(links, memory)
    assert measured.shape == (2, 6, 52)
    assert not measured[..., 41:].any()
    weight = links.weight.clone()
    weight[:, 2] = math.e
    weighty = policy.measure(replace(links, weight=weight), memory)
    torch.testing.assert_close(weighty[..., :41], measured[..., :41])
    assert (weighty[:, 2, 41] == 1.0).all()
    for user in range(6):
        among = (
            (memory.interferer[:, user] == 2).double()
            if user != 2
            else -(memory.interferer[:, 2] != 2).double()
        )
        torch.testing.assert_close(weighty[:, user, 42:47], among)


@pytest.mark.parametrize("links", [1, 2, 5, 6, 30])
def test_any_number_of_links(policy, links, generator):
    drawn = rayleigh(links, 2, generator)
    power = policy(drawn).power_w
    assert ((power >= 0) & (power <= drawn.max_power_w)).all()


def test_gradients_go_through_the_rounds(generator):
    torch.manual_seed(0)
    policy = LocalPower(rounds=4).double().train()
    active = torch.rand(16, 7, generator=generator) < 0.7
    links = replace(rayleigh(7, 16, generator), active=active)
    PROBLEM.evaluate(links, policy(links)).objective.mean().backward()
    gradients = [parameter.grad for parameter in policy.parameters()]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient is not None and gradient.any() for gradient in gradients)


def test_statistics_of_a_batch_are_of_active_links(generator):
    torch.manual_seed(0)
    policy = LocalPower(rounds=1).double().train()
    links = rayleigh(4, 8, generator)
    padded = pad(links, rx=9, tx=9)
    torch.testing.assert_close(policy(padded).power_w[:, :4], policy(links).power_w)


def test_physical_instances_in_single_precision(generator):
    torch.manual_seed(0)
    links = sample(4, generator=generator)
    power = LocalPower().eval()(links).power_w
    assert power.dtype == torch.float32
    assert torch.isfinite(power).all()


@pytest.mark.parametrize(("argument", "value"), [("rounds", 0), ("threshold", -1.0), ("threshold", math.nan)])
def test_bad_arguments_are_told_in_one_line(argument, value):
    with pytest.raises(ValueError, match=f"^{argument}: must be .*, received {value}$"):
        LocalPower(**{argument: value})
