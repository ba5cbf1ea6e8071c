"""A problem described in a few lines, and the layer of Algorithm 1 on it."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from torchrrm.policies.unrolled import ConstrainedProgram, UPGDNet, onto_budget, unroll


def share(gain, start):
    """Minimise minus `sum_k ln(1 + g_k x_k)` under a budget of 1; the last user is owed 0.2."""

    def owed(x):
        missing = torch.zeros_like(gain)
        missing[..., -1] = 0.2 - x[..., -1, 0]
        return {"owed": missing}

    active = torch.ones_like(gain, dtype=torch.bool)
    return ConstrainedProgram(
        start=start,
        objective=lambda x: -torch.log1p(gain * x[..., 0]).sum(-1),
        projections=(onto_budget(0, 1.0, active),),
        coupled=owed,
        features=lambda x: (torch.stack([gain, x[..., 0]], dim=-1),),
        active=active,
    )


class Constant(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, node):
        return self.value.expand_as(node[..., :1])


@dataclass
class Sharing:
    layers: nn.ModuleList

    def begin(self, instance):
        return torch.zeros_like(instance)[..., None]

    def describe(self, instance, state):
        return share(instance, state)

    def advance(self, instance, state, x):
        return x


GAIN = torch.tensor([[1.0, 2.0, 4.0], [3.0, 0.5, 1.0]])


def test_a_layer_is_algorithm_1_by_hand():
    layer = UPGDNet(Constant(0.1), Constant(0.02))
    start = torch.full((2, 3, 1), 0.3)
    gradient = -GAIN / (1 + GAIN * 0.3)
    estimate = 0.3 - 0.1 * gradient + 0.02
    excess = (estimate.sum(-1, keepdim=True) - 1).clamp_min(0) / 3
    torch.testing.assert_close(layer(share(GAIN, start))[..., 0], estimate - excess)


def test_the_step_descends():
    program = share(GAIN, torch.full((2, 3, 1), 0.1))
    x = UPGDNet(Constant(0.05), Constant(0.0))(program)
    assert (program.objective(x) < program.objective(program.start)).all()


def test_slopes_given_and_differentiated_agree_and_carry_gradients():
    start = torch.full((2, 3, 1), 0.3, requires_grad=True)
    program = share(GAIN, start)
    torch.testing.assert_close(program.gradient(start)[..., 0], -GAIN / (1 + GAIN * 0.3))
    with torch.no_grad():
        torch.testing.assert_close(program.gradient(start)[..., 0], -GAIN / (1 + GAIN * 0.3))
    curved = torch.autograd.grad(program.gradient(start).sum(), start)[0]
    torch.testing.assert_close(curved[..., 0], (GAIN / (1 + GAIN * 0.3)).square())


def test_networks_that_are_equivariant_make_it_equivariant(generator):
    torch.manual_seed(0)
    layer = UPGDNet(nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)), nn.Linear(2, 1))
    start = torch.rand(2, 3, 1, generator=generator)
    order = torch.tensor([2, 0, 1])
    moved = layer(share(GAIN[:, order], start[:, order]))
    torch.testing.assert_close(moved, layer(share(GAIN, start))[:, order])


def test_who_does_not_exist_stays():
    program = share(GAIN, torch.full((2, 3, 1), 0.3))
    active = torch.tensor([True, True, False]).expand(2, 3)
    some = ConstrainedProgram(**{**vars(program), "active": active})
    x = UPGDNet(Constant(0.1), Constant(0.5))(some)
    assert torch.equal(x[:, 2], program.start[:, 2])
    assert not some.violation(torch.zeros_like(x))["owed"].any()
    assert program.violation(torch.zeros_like(x))["owed"][:, 2].tolist() == pytest.approx([0.2, 0.2])


def test_layers_follow_each_other():
    layers = nn.ModuleList(UPGDNet(Constant(0.1 * n), Constant(0.0)) for n in (1, 2))
    policy = Sharing(layers)
    first = layers[0](share(GAIN, torch.zeros(2, 3, 1)))
    assert torch.equal(unroll(policy, GAIN, 1), first)
    assert torch.equal(unroll(policy, GAIN), layers[1](share(GAIN, first)))
    assert torch.equal(unroll(policy, GAIN, 0), torch.zeros(2, 3, 1))
