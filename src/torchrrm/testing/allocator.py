"""What every allocator must hold, solvers and policies alike."""

from typing import Any

import torch
from torch import Tensor

from torchrrm.problems import Allocator, Problem
from torchrrm.records import (
    active_like,
    axis_names,
    axis_sizes,
    batch_shape,
    index_axes,
    map_tensors,
    mask_axes,
    pad,
    replace,
    to,
)
from torchrrm.testing.expected import Expected, require, require_close
from torchrrm.testing.surgery import (
    Sample,
    draw,
    each,
    emptied,
    permutation,
    reshape_batch,
    take,
    user_axes,
)

__all__ = ["AllocatorSuite"]

_BATCH = 6
_PADDING = 3
_TIE = 1e-6
"""Relative difference of objectives below which two different actions count as equally good."""


class AllocatorSuite:
    """The checks that solvers and policies share.

    Args:
        problem: judges the actions.
        sample: `sample(batch_size, *, generator) -> instance`.
        expected: what holds for this problem and not for all.
        generator: of all random numbers.
    """

    def __init__(
        self,
        problem: Problem[Any, Any],
        sample: Sample,
        expected: Expected | None,
        generator: torch.Generator | None,
    ):
        self.problem, self.sample = problem, sample
        self.expected = expected or Expected()
        self.generator = generator or torch.Generator().manual_seed(0)

    def draw(self, batch_size: int = _BATCH) -> Any:
        """Instances, some of their users inactive."""
        return draw(self.sample, batch_size, self.generator)

    def run(self, allocator: Allocator[Any, Any]) -> None:
        """Every check but that of precision, for which a policy must be converted."""
        instance = self.draw()
        before = map_tensors(torch.clone, instance)
        action = self.check_form(allocator, instance)
        self.check_purity(allocator, instance, before, action)
        self.check_feasible(instance, action)
        self.check_permutation(allocator, instance, action)
        self.check_batches(allocator, instance, action)
        self.check_hard_instances(allocator, instance)
        if mask_axes(type(instance)):
            self.check_inactive(allocator, instance, action)
        if mask_axes(type(instance)) and self.expected.any_size:
            self.check_padding(allocator, instance, action)

    def check_form(self, allocator: Allocator[Any, Any], instance: Any, rule: str = "form") -> Any:
        """Shapes by the named axes, precision, device, finite values, nothing for inactive users."""
        action, sizes, batch = allocator(instance), axis_sizes(instance), list(batch_shape(instance))
        like = next(tensor for tensor in vars(instance).values() if tensor.is_floating_point())
        for name, axes in axis_names(type(action)).items():
            value: Tensor = getattr(action, name)
            shape = list(value.shape)
            fits = len(shape) == len(batch) + len(axes) and shape[: len(batch)] == batch
            fits = fits and all(
                sizes.get(axis, size) == size for axis, size in zip(axes, shape[len(batch) :], strict=True)
            )
            named = [*batch, *(sizes.get(axis, axis) for axis in axes)]
            require(fits, rule, f"{name} must have shape {named}, received {shape}")
            require(
                value.device == like.device, rule, f"{name} must be on {like.device}, received {value.device}"
            )
            if value.is_floating_point() or value.is_complex():
                dtype = like.dtype.to_complex() if value.is_complex() else like.dtype
                require(value.dtype == dtype, rule, f"{name} must be {dtype}, received {value.dtype}")
                odd = value[~torch.isfinite(value)]
                require(not odd.numel(), rule, f"{name} must be finite, received {odd[:1].tolist()}")
            nothing = -1 if name in index_axes(type(action)) else 0
            mask = active_like(instance, axes)
            odd = value[:0] if mask is None else value[~mask.expand_as(value) & (value != nothing)]
            received = f"received {odd[:1].tolist()}"
            require(
                not odd.numel(), rule, f"{name} of inactive {'/'.join(axes)} must be {nothing}, {received}"
            )
        self._check_indices(action, sizes, rule)
        return action

    @staticmethod
    def _check_indices(action: Any, sizes: dict[str, int], rule: str) -> None:
        """Fields that name entries of an axis name those that are there, or -1."""
        for name, axis in index_axes(type(action)).items():
            value = getattr(action, name)
            require(value.dtype == torch.int64, rule, f"{name} must be torch.int64, received {value.dtype}")
            odd = value[(value < -1) | (value >= sizes[axis])]
            received = f"received {odd[:1].tolist()}"
            require(
                not odd.numel(), rule, f"{name} must be -1 or an index of {sizes[axis]} {axis}, {received}"
            )

    def check_purity(self, allocator: Allocator[Any, Any], instance: Any, before: Any, action: Any) -> None:
        """The same instance, left as it was before, gets the same action."""
        for name, value in vars(before).items():
            require(torch.equal(getattr(instance, name), value), "purity", f"{name} must be left as it is")
        again = allocator(instance)
        for name, value in vars(action).items():
            require_close(getattr(again, name), value, 0.0, "determinism", name)

    def check_feasible(self, instance: Any, action: Any, rule: str = "feasibility") -> None:
        """Every constraint is satisfied to its tolerance."""
        for name, value in self.problem.evaluate(instance, action).violation.items():
            limit = self.expected.violation.get(name, self.expected.violation_otherwise)
            worst = float(value.detach().to(torch.float64).nan_to_num(torch.inf).max())
            require(
                worst <= limit, rule, f"violation {name!r} must be at most {limit:g}, received {worst:.3g}"
            )

    def check_permutation(self, allocator: Allocator[Any, Any], instance: Any, action: Any) -> None:
        """Renumbering the users renumbers the action."""
        chosen = permutation(instance, self.expected, self.generator)
        moved = take(instance, chosen)
        self._decide_alike(moved, allocator(moved), take(action, chosen), "permutation")

    def check_inactive(self, allocator: Allocator[Any, Any], instance: Any, action: Any) -> None:
        """What the fields of inactive users hold does not matter: they get those of another instance."""
        changed, masks = {}, mask_axes(type(instance))
        for name, axes in axis_names(type(instance)).items():
            mask, value = active_like(instance, axes), getattr(instance, name)
            if mask is not None and name not in masks:
                changed[name] = torch.where(mask, value, value.roll(1, dims=0))
        received = allocator(replace(instance, **changed))
        self._decide_alike(instance, received, action, "inactive")

    def check_padding(self, allocator: Allocator[Any, Any], instance: Any, action: Any) -> None:
        """Padding gets nothing and changes nothing."""
        sizes = axis_sizes(instance)
        longer = {
            name: sizes[name] + _PADDING for group in user_axes(instance, self.expected) for name in group
        }
        received = self.check_form(allocator, pad(instance, **longer), "padding")
        cut = take(received, {name: torch.arange(sizes[name]) for name in longer})
        self._decide_alike(instance, cut, action, "padding")

    def check_batches(self, allocator: Allocator[Any, Any], instance: Any, action: Any) -> None:
        """A batch, in any shape, is allocated as one by one."""
        shaped = reshape_batch(instance, 2, -1)
        self._decide_alike(shaped, allocator(shaped), reshape_batch(action, 2, -1), "batch")
        for single, wanted in zip(each(instance), each(action), strict=True):
            self._decide_alike(single, allocator(single), wanted, "batch of one by one")

    def check_hard_instances(self, allocator: Allocator[Any, Any], instance: Any) -> None:
        """One user; nobody active."""
        if self.expected.any_size:
            axes = [name for group in user_axes(instance, self.expected) for name in group]
            one = take(instance, dict.fromkeys(axes, torch.zeros(1, dtype=torch.int64)))
            self.check_feasible(one, self.check_form(allocator, one, "one user"), "one user")
        for case, empty in emptied(instance).items():
            self.check_feasible(empty, self.check_form(allocator, empty, case), case)

    def check_precision(self, allocator: Allocator[Any, Any], dtype: torch.dtype) -> None:
        """Form and feasibility in a precision."""
        instance = to(self.draw(), dtype=dtype)
        rule = f"precision {dtype}"
        self.check_feasible(instance, self.check_form(allocator, instance, rule), rule)

    def _decide_alike(self, instance: Any, received: Any, wanted: Any, rule: str) -> None:
        """The actions agree, or they differ where both are as good: a solver may break a tie either way."""
        values = [self.problem.evaluate(instance, action).objective.detach() for action in (received, wanted)]
        shape = batch_shape(instance)
        tied = (values[0] - values[1]).abs() <= _TIE * values[1].abs()
        for name, value in vars(wanted).items():
            found = getattr(received, name)
            same_shape = f"{name} must have shape {list(value.shape)}, received {list(found.shape)}"
            require(found.shape == value.shape, rule, same_shape)
            apart = tied.reshape(shape + (1,) * (value.ndim - len(shape)))
            exact = not (value.is_floating_point() or value.is_complex())
            closeness = 0.0 if exact else self.expected.closeness
            require_close(torch.where(apart, value, found), value, closeness, rule, name)
