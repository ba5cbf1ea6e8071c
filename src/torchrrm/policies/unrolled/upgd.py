"""Projected gradient descent of one step, its size and a perturbation learned: Algorithm 1 of [He2022USRMNet]."""

from typing import Protocol, TypeVar

from torch import Tensor, nn

from torchrrm.policies.unrolled.description import ConstrainedProgram, Variables

__all__ = ["UPGDNet", "Unrolled", "unroll"]

I = TypeVar("I", contravariant=True)  # noqa: E741
S = TypeVar("S")


class UPGDNet(nn.Module):
    """One layer: a gradient step of learned size, a learned perturbation, and projections.

        eta = N_eta(features(x_0)),   x^ = x_0 - eta df/dx(x_0),   x = P_N ... P_1 (x^ + N_x(features(x^))).

    Any networks serve that take what the description's `features` give. It is equivariant to the order of users if
    they are and the description is.

    Args:
        step: `N_eta`, whose output multiplies the gradient: `[*batch user variable]` or what broadcasts to it, at
            least 0 if it is to be a descent.
        perturb: `N_x`, with an output `[*batch user variable]`.
    """

    def __init__(self, step: nn.Module, perturb: nn.Module):
        super().__init__()
        self.step, self.perturb = step, perturb

    def forward(self, program: ConstrainedProgram) -> Variables:
        """`x` after the layer, within the last of the projectable sets."""
        start = program.start
        size: Tensor = self.step(*program.features(start))
        estimate = start - size * program.gradient(start)
        return program.project(estimate + self.perturb(*program.features(estimate)))


class Unrolled(Protocol[I, S]):
    """A policy made of such layers, with a state in between that the layers hold fixed, such as beams.

    `layers` are called in turn, each on the description of the instance at the state before it; `advance` makes the
    state after it. This is all that `torchrrm.learning.train_layers` asks for.
    """

    layers: nn.ModuleList

    def begin(self, instance: I) -> S:
        """The state before the first layer."""
        ...

    def describe(self, instance: I, state: S) -> ConstrainedProgram:
        """What the next layer solves."""
        ...

    def advance(self, instance: I, state: S, x: Tensor) -> S:
        """The state after a layer that returned `x`."""
        ...


def unroll(policy: Unrolled[I, S], instance: I, layers: int | None = None) -> S:
    """The state after the first so many layers, by default after all."""
    state = policy.begin(instance)
    for layer in list(policy.layers)[:layers]:
        state = policy.advance(instance, state, layer(policy.describe(instance, state)))
    return state
