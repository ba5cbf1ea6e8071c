"""Conformance of a policy."""

import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torchrrm.files import parse_header, to_json
from torchrrm.policies.weights import load_policy, save_weights
from torchrrm.problems import Problem
from torchrrm.testing.allocator import AllocatorSuite
from torchrrm.testing.expected import ConformanceError, Expected, require, require_close
from torchrrm.testing.extremes import ExtremesSuite
from torchrrm.testing.surgery import Sample, emptied

__all__ = ["check_policy"]


def check_policy(
    policy: nn.Module,
    problem: Problem[Any, Any],
    sample: Sample,
    *,
    expected: Expected | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Check that a policy allocates as every allocator does, that it can be trained, and that it can be kept.

    For the first see `check_solver`. Gradients of the objective reach every parameter and are finite, also
    where nobody is active; those of a discrete decision are of `problem.relaxed(instance, policy.relax(instance))`.
    Its class makes it anew from its `arguments`, which are JSON; weights written by `save_weights` and read by
    `load_policy` give the same actions. A copy in double precision takes instances in double precision. The policy
    itself is left as it is.

    Raises:
        ConformanceError: naming the first rule that is broken.
    """
    require(
        isinstance(policy, nn.Module),
        "form",
        f"a policy must be an nn.Module, received {type(policy).__name__}",
    )
    suite = AllocatorSuite(problem, sample, expected, generator)
    subject = copy.deepcopy(policy).eval()
    suite.run(subject)
    suite.check_precision(copy.deepcopy(subject).float(), torch.float32)
    suite.check_precision(copy.deepcopy(subject).double(), torch.float64)
    if suite.expected.extremes:
        with torch.no_grad():
            ExtremesSuite(problem, sample, expected, generator).run(subject)
    _check_gradient(subject, suite)
    _check_keeping(subject, suite)


def _check_gradient(policy: nn.Module, suite: AllocatorSuite) -> None:
    instance = suite.draw()
    _backward(policy, suite, instance)
    trained = {
        name: parameter
        for name, parameter in policy.named_parameters()
        if parameter.requires_grad and not name.startswith(suite.expected.auxiliary)
    }
    for name, parameter in trained.items():
        require(
            parameter.grad is not None,
            "gradient",
            f"the objective must depend on {name}, received no gradient",
        )
    # Not of each: that of a bias before a softmax is zero but for rounding.
    some = any(bool(parameter.grad.any()) for parameter in trained.values() if parameter.grad is not None)
    require(some, "gradient", "the objective must depend on the parameters, received gradients of zero")
    _require_finite(policy, "gradient")
    for case, empty in emptied(instance).items():
        _backward(policy, suite, empty)
        _require_finite(policy, f"gradient, {case}")
    policy.zero_grad()


def _backward(policy: nn.Module, suite: AllocatorSuite, instance: Any) -> None:
    policy.zero_grad()
    relax, relaxed = getattr(policy, "relax", None), getattr(suite.problem, "relaxed", None)
    if relax is None or relaxed is None:
        objective = suite.problem.evaluate(instance, policy(instance)).objective.sum()
    else:
        objective = relaxed(instance, relax(instance)).sum()
    require(objective.requires_grad, "gradient", "the objective must be differentiable by the parameters")
    objective.backward()


def _require_finite(policy: nn.Module, rule: str) -> None:
    for name, parameter in policy.named_parameters():
        if parameter.grad is not None:
            finite = bool(torch.isfinite(parameter.grad).all())
            require(finite, rule, f"the gradient of {name} must be finite")


def _check_keeping(policy: nn.Module, suite: AllocatorSuite) -> None:
    """`arguments` and `state_dict` are all that makes the policy."""
    name, arguments = type(policy).__name__, getattr(policy, "arguments", None)
    require(
        isinstance(arguments, Mapping),
        "arguments",
        f"{name} must expose its constructor's arguments as a dictionary",
    )
    try:
        made = type(policy)(**parse_header(to_json(arguments, header=True), name="arguments"))
    except (TypeError, ValueError, KeyError) as error:
        raise ConformanceError(
            f"arguments: {name} must be made anew from {arguments}, received {error}"
        ) from error
    again = getattr(made, "arguments", None)
    require(
        again == arguments, "arguments", f"{name} made anew must have the same, {arguments}, received {again}"
    )
    instance = suite.draw()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        path = Path(folder) / "policy.safetensors"
        save_weights(path, policy, {})
        try:
            loaded = load_policy(path, {name: type(policy)})
        except ValueError as error:
            raise ConformanceError(
                f"weights: {name} must be loaded from its weights, received {error}"
            ) from error
        for field, value in vars(policy(instance)).items():
            require_close(
                getattr(loaded(instance), field), value, 0.0, "weights", f"{field} of the loaded policy"
            )
