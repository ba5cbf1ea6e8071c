import copy
import math

import pytest
import torch
from tests.testing.beams import BEAMS, sample

from torchrrm.policies import USRMNet, list_pretrained, load_pretrained
from torchrrm.policies.usrmnet.core import FEATURES, MESSAGES, growth, outlook, settled, uplink
from torchrrm.problems.beamforming import UrllcBeamforming, mmse_error, relative_gram
from torchrrm.recipes.usrmnet.training import Cell, DefaultTraining, TrainingSettings, default_policy, draw_in
from torchrrm.records import index, map_tensors, pad, replace
from torchrrm.solvers import EqualPowerMMSE, GramAscent
from torchrrm.solvers.minimum_power_beamforming import feasible
from torchrrm.testing import check_policy, check_solver

PROBLEM = UrllcBeamforming()
CELLS = [
    Cell(users=6, antennas=64, ring=(30.0, 200.0), snr_db=15.0, blocklength=128, payload_bits=256.0),
    Cell(
        users=12,
        antennas=16,
        ring=(120.0, 140.0),
        snr_db=20.0,
        blocklength=256,
        payload_bits=256.0,
        spread=0.5,
    ),
    Cell(users=5, antennas=3, ring=(30.0, 60.0), snr_db=20.0, blocklength=256, payload_bits=16.0),
    Cell(users=8, antennas=32, ring=(50.0, 300.0), snr_db=25.0, blocklength=256, payload_bits=200.0, paths=3),
]


def policy(**arguments):
    """One that moves powers at random."""
    torch.manual_seed(0)
    made = USRMNet(**arguments).eval()
    with torch.no_grad():
        for name, value in made.named_parameters():
            if "outer" in name:
                value.mul_(30.0)
    return made


def drawn(cell, count=16, seed=0):
    return draw_in(cell, count, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("arguments", [{}, {"depth": 1, "hidden": 3}])
def test_conforms(arguments):
    check_policy(policy(**arguments), PROBLEM, sample, expected=BEAMS)


@torch.no_grad()
def test_the_compiled_form_conforms():
    made = policy()
    check_solver(lambda instance: made(instance), PROBLEM, sample, expected=BEAMS)


@pytest.mark.parametrize("cell", CELLS)
def test_both_forms_agree(cell):
    made, instance = policy(), drawn(cell)
    instance.active[0, 1] = False
    learned = map_tensors(torch.Tensor.detach, made(instance))
    with torch.no_grad():
        compiled, alone = made(instance), made(index(instance, 0))
    limit = instance.max_power_w[:, None]
    torch.testing.assert_close(compiled.power_w / limit, learned.power_w / limit, rtol=0, atol=1e-9)
    torch.testing.assert_close(compiled.beam, learned.beam, rtol=0, atol=1e-7)
    torch.testing.assert_close(alone.power_w, compiled.power_w[0])


@torch.no_grad()
@pytest.mark.parametrize("cell", CELLS[:2])
def test_order_and_padding_of_users_do_not_matter(cell):
    made, instance = policy(), drawn(cell)
    order = torch.randperm(cell.users, generator=torch.Generator().manual_seed(1))
    permuted = replace(
        instance,
        **{
            name: getattr(instance, name)[:, order]
            for name in ("channel", "noise_power_w", "weight", "payload_bits", "active")
        },
    )
    limit, power = instance.max_power_w[:, None], made(instance).power_w
    torch.testing.assert_close(made(permuted).power_w / limit, power[:, order] / limit, rtol=0, atol=1e-7)
    padded = made(pad(instance, user=cell.users + 3)).power_w
    torch.testing.assert_close(padded[:, : cell.users] / limit, power / limit, rtol=0, atol=1e-9)
    assert (padded[:, cell.users :] == 0).all()


@torch.no_grad()
@pytest.mark.parametrize("cell", CELLS)
def test_no_minimum_rate_is_missed_where_all_can_be_kept(cell):
    instance = drawn(cell, 64)
    evaluation = PROBLEM.evaluate(instance, policy()(instance))
    possible = feasible(instance)
    assert possible.any()
    assert evaluation.violation["min_rate"][possible].max() < 1e-9
    assert evaluation.violation["power"].abs().max() < 1e-9


def test_features_are_what_they_are_called():
    instance = drawn(CELLS[0], 3)
    links = uplink(instance)
    share = torch.softmax(torch.randn(3, 6, dtype=torch.float64), dim=-1)
    known = outlook(links, share)
    error = mmse_error(relative_gram(instance), share)
    column = dict(zip(FEATURES, known.node.unbind(-1), strict=True))
    assert set(MESSAGES) < set(FEATURES)
    torch.testing.assert_close(column["error"], error)
    torch.testing.assert_close(column["rate"], -torch.log(error) / 3)
    torch.testing.assert_close(column["share"], torch.log(share * 6) / 2)
    assert ((column["held"] > 0) == (1 / error - 1 <= links.target)).all()
    for k in range(6):  # T by differences
        moved = share.clone()
        moved[:, k] *= 1 + 1e-6
        change = -(torch.log(mmse_error(relative_gram(instance), moved)) - torch.log(error)) / 1e-6
        change[:, k] = 0
        torch.testing.assert_close(-change, known.coupled[:, :, k], rtol=1e-3, atol=1e-7)


def test_changes_and_projected_shares():
    x = torch.tensor([-10.0, -0.4, 0.0, 0.5])
    torch.testing.assert_close(growth(x)[1:], torch.tensor([math.exp(-0.528), 1.0, 1.5]))
    assert 0 < growth(x)[0] < 1e-10
    served = torch.tensor([True, True, True, False])
    share = settled(torch.tensor([0.1, 0.4, 0.5, 0.0]), torch.tensor([0.4, 0.1, 0.1, 0.0]), served)
    torch.testing.assert_close(share, torch.tensor([0.4, 0.6 * 4 / 9, 0.6 * 5 / 9, 0.0]))


def test_gradients_are_finite_with_channels_of_zero_and_more_users_than_antennas():
    made, instance = policy(), drawn(CELLS[2], 4)
    instance.channel[0, 1] = 0.0
    PROBLEM.evaluate(instance, made(instance)).objective.sum().backward()
    for value in made.parameters():
        assert value.grad is not None
        assert torch.isfinite(value.grad).all()
    with torch.no_grad():
        action = made(instance)
    assert torch.isfinite(action.power_w).all()
    assert action.power_w[0, 1] == 0


def test_parameters_that_change_in_place_are_served():
    made, instance = policy(), drawn(CELLS[0], 4)
    with torch.no_grad():
        before = made(instance).power_w
        for value in made.parameters():
            value.mul_(-1.0)
        assert not torch.equal(made(instance).power_w, before)


def test_copies_serve_the_same():
    made, instance = policy(), drawn(CELLS[0], 4)
    with torch.no_grad():
        torch.testing.assert_close(copy.deepcopy(made).double()(instance).power_w, made(instance).power_w)


@pytest.mark.parametrize("name", ["depth", "hidden"])
def test_bad_arguments(name):
    with pytest.raises(ValueError, match=f"{name}: must be at least 1"):
        USRMNet(**{name: 0})


def test_training_learns_and_repeats():
    settings = TrainingSettings(cells=4, draws=8, steps=4, batch_size=4)
    first, second = DefaultTraining(1, settings)(), DefaultTraining(1, settings)()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=0, atol=0)
    assert default_policy(first).arguments == {"depth": 2, "hidden": 8}


@torch.no_grad()
@pytest.mark.skipif("usrmnet" not in list_pretrained(), reason="no weights ship")
@pytest.mark.parametrize(("cell", "least"), [(CELLS[0], 0.995), (CELLS[1], 0.995), (CELLS[3], 0.995)])
def test_the_pretrained_policy_is_near_the_ascent(cell, least):
    instance = drawn(cell, 64, seed=7)
    solved = GramAscent().solve(instance)
    best = PROBLEM.evaluate(instance, solved.action).objective[solved.converged]
    found = PROBLEM.evaluate(instance, load_pretrained("usrmnet")(instance)).objective[solved.converged]
    assert found.mean() > least * best.mean()
    equal = PROBLEM.evaluate(instance, EqualPowerMMSE()(instance)).objective[solved.converged]
    assert found.mean() > equal.mean()


@torch.no_grad()
@pytest.mark.skipif("usrmnet" not in list_pretrained(), reason="no weights ship")
def test_the_pretrained_policy_in_the_papers_cell():
    cell = Cell(users=10, antennas=32, ring=(120.0, 140.0), snr_db=15.0, blocklength=256, payload_bits=256.0)
    instance = drawn(cell, 64, seed=8)
    best = PROBLEM.evaluate(instance, GramAscent()(instance)).objective
    assert (
        PROBLEM.evaluate(instance, load_pretrained("usrmnet")(instance)).objective.mean()
        > 0.999 * best.mean()
    )


@torch.no_grad()
def test_the_compiled_form_follows_parameters_that_change():
    made, instance = policy(), drawn(CELLS[1])
    before = made(instance).power_w
    for value in made.parameters():
        value.add_(0.1)
    after = made(instance).power_w
    state = {name: value - 0.1 for name, value in made.state_dict().items()}
    made.load_state_dict(state, assign=True)
    assert not torch.allclose(before, after, rtol=1e-6)
    torch.testing.assert_close(made(instance).power_w, before, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_untrained_it_is_close_and_training_takes_away_more_than_half_of_what_is_missing():
    torch.manual_seed(0)
    instance = drawn(CELLS[1], count=200, seed=7)
    best = PROBLEM.evaluate(instance, GramAscent()(instance)).objective
    kept = feasible(instance)
    missing = [
        1 - (PROBLEM.evaluate(instance, made(instance)).objective[kept].sum() / best[kept].sum()).item()
        for made in (USRMNet(), load_pretrained("usrmnet"))
    ]
    assert missing[0] < 1e-3
    assert missing[1] < missing[0] / 2
