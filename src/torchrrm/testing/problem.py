"""Conformance of a problem: how it scores."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from torchrrm.problems import Evaluation, Problem
from torchrrm.records import axis_names, axis_sizes, batch_shape, map_tensors, mask_axes, pad, to
from torchrrm.testing.expected import ConformanceError, Expected, require, require_close
from torchrrm.testing.surgery import (
    Sample,
    draw,
    draw_action,
    each,
    emptied,
    mask_of,
    permutation,
    reshape_batch,
    take,
    user_axes,
)

__all__ = ["check_problem"]

_BATCH = 6
_PADDING = 3
DrawAction = Callable[..., Any]


def check_problem(
    problem: Problem[Any, Any],
    sample: Sample,
    *,
    draw_action: DrawAction | None = None,
    expected: Expected | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Check that a problem scores as every problem does.

    Its evaluation has the shapes, precision and device of the instance and is finite, also with one user and
    with nobody active; the objective is the sum of the utilities; inactive users count for nothing;
    renumbering users renumbers the scores; padding changes nothing; a batch, in any shape, is scored as one
    by one; the same input scores the same and is left as it is; gradients by the action are right (float64,
    central differences).

    Args:
        problem: what is checked.
        sample: `sample(batch_size, *, generator) -> instance`.
        draw_action: `draw_action(instance, *, generator) -> action`; by default see
            `torchrrm.testing.surgery.draw_action`.
        expected: what holds for this problem and not for all.
        generator: of all random numbers; by default of seed 0.

    Raises:
        ConformanceError: naming the first rule that is broken.
    """
    _Suite(
        problem, sample, draw_action, expected or Expected(), generator or torch.Generator().manual_seed(0)
    ).run()


class _Suite:
    """The checks of one problem."""

    def __init__(
        self,
        problem: Problem[Any, Any],
        sample: Sample,
        draw_action: DrawAction | None,
        expected: Expected,
        generator: torch.Generator,
    ):
        self.problem, self.sample, self.own_action = problem, sample, draw_action
        self.expected, self.generator = expected, generator

    def run(self) -> None:
        instance = draw(self.sample, _BATCH, self.generator)
        action = self.action(instance)
        before = [map_tensors(torch.clone, record) for record in (instance, action)]
        evaluation = self.check_form(instance, action)
        self.check_sum(evaluation)
        self.check_purity([instance, action], before, evaluation)
        self.check_permutation(instance, action, evaluation)
        self.check_batches(instance, action, evaluation)
        self.check_hard_instances(instance)
        self.check_precision(instance, action, evaluation)
        self.check_gradient()
        if mask_axes(type(instance)):
            self.check_inactive(instance, evaluation)
            self.check_padding(instance, action, evaluation)

    def action(self, instance: Any) -> Any:
        if self.own_action is not None:
            return self.own_action(instance, generator=self.generator)
        return draw_action(self.problem, instance, self.generator)

    def check_form(self, instance: Any, action: Any, rule: str = "form") -> Evaluation:
        """Shapes, precision, device, finite values."""
        evaluation = self.problem.evaluate(instance, action)
        batch = batch_shape(instance)
        like = next(tensor for tensor in vars(instance).values() if tensor.is_floating_point())
        shape = list(evaluation.objective.shape)
        require(shape == list(batch), rule, f"objective must have shape {list(batch)}, received {shape}")
        require(isinstance(evaluation.violation, Mapping), rule, "violation must map names to tensors")
        for name, value in _parts(evaluation).items():
            shape = list(value.shape[: len(batch)])
            require(
                shape == list(batch),
                rule,
                f"{name} must begin with shape {list(batch)}, received {list(value.shape)}",
            )
            same = value.dtype == like.dtype and value.device == like.device
            require(
                same,
                rule,
                f"{name} must be {like.dtype} on {like.device}, received {value.dtype} on {value.device}",
            )
            require(
                bool(torch.isfinite(value).all()),
                rule,
                f"{name} must be finite, received {_first_odd(value)}",
            )
        return evaluation

    def check_sum(self, evaluation: Evaluation) -> None:
        if self.expected.utility_sums:
            total = evaluation.utility.flatten(evaluation.objective.ndim).sum(-1)
            require_close(
                evaluation.objective,
                total,
                self.expected.closeness,
                "sum",
                "objective, as the sum of the utilities,",
            )

    def check_purity(self, records: list[Any], before: list[Any], evaluation: Evaluation) -> None:
        """The same input, left as it was before, scores the same."""
        for record, kept in zip(records, before, strict=True):
            for name, value in vars(kept).items():
                require(torch.equal(getattr(record, name), value), "purity", f"{name} must be left as it is")
        again = _parts(self.problem.evaluate(*records))
        for name, value in _parts(evaluation).items():
            require(name in again, "determinism", f"violation must keep its names, received {sorted(again)}")
            require_close(again[name], value, 0.0, "determinism", name)

    def check_inactive(self, instance: Any, evaluation: Evaluation) -> None:
        """Neither utility nor violation where a user is inactive and gets nothing."""
        for name, value in _parts(evaluation).items():
            mask = mask_of(instance, value.shape)
            if mask is not None:
                odd = value[~getattr(instance, mask) & (value != 0)]
                message = f"{name} must be 0 outside {mask}, received {_first(odd)}"
                require(not odd.numel(), "inactive", message)

    def check_permutation(self, instance: Any, action: Any, evaluation: Evaluation) -> None:
        chosen = permutation(instance, self.expected, self.generator)
        moved = self.problem.evaluate(take(instance, chosen), take(action, chosen))
        wanted = self._renumbered(instance, evaluation, chosen)
        self._agree(moved, wanted, "permutation")

    def _renumbered(self, instance: Any, evaluation: Evaluation, chosen: dict[str, Tensor]) -> Evaluation:
        """The evaluation with its values of users, or of what else has a mask, in another order; others stay."""

        def move(value: Tensor) -> Tensor:
            names = mask_axes(type(instance)).get(mask_of(instance, value.shape) or "", ())
            for axis, name in enumerate(names, start=-len(names)):
                value = value.index_select(axis, chosen[name]) if name in chosen else value
            return value

        violation = {name: move(value) for name, value in evaluation.violation.items()}
        return Evaluation(evaluation.objective, move(evaluation.utility), violation)

    def check_padding(self, instance: Any, action: Any, evaluation: Evaluation) -> None:
        sizes = axis_sizes(instance)
        longer = {
            name: sizes[name] + _PADDING for group in user_axes(instance, self.expected) for name in group
        }
        longer_instance = pad(instance, **longer)
        padded = self.problem.evaluate(longer_instance, _pad_action(action, longer))
        for name, wanted in _parts(evaluation).items():
            received, mask = _parts(padded)[name], mask_of(instance, wanted.shape)
            if mask is not None and received.shape == getattr(longer_instance, mask).shape:
                cut = tuple(slice(0, size) for size in wanted.shape)
                rest = torch.ones_like(received, dtype=torch.bool)
                rest[cut] = False
                odd = received[rest & (received != 0)]
                require(not odd.numel(), "padding", f"{name} of padding must be 0, received {_first(odd)}")
                received = received[cut]
            if received.shape == wanted.shape:
                self._close(received, wanted, "padding", name)

    def check_batches(self, instance: Any, action: Any, evaluation: Evaluation) -> None:
        batch = evaluation.objective.shape[0]
        shaped = self.problem.evaluate(reshape_batch(instance, 2, -1), reshape_batch(action, 2, -1))
        singles = [self.problem.evaluate(i, a) for i, a in zip(each(instance), each(action), strict=True)]
        for name, wanted in _parts(evaluation).items():
            received = _parts(shaped)[name]
            shape = (2, batch // 2, *wanted.shape[1:])
            self._close(received, wanted.reshape(shape), "batch", name, f" of batch [2, {batch // 2}]")
            alone = torch.stack([_parts(single)[name] for single in singles])
            self._close(alone, wanted, "batch", name, " of single instances")

    def check_hard_instances(self, instance: Any) -> None:
        alone = {
            name: torch.zeros(1, dtype=torch.int64)
            for group in user_axes(instance, self.expected)
            for name in group
        }
        one = take(instance, alone)
        self.check_form(one, self.action(one), "one user")
        for case, empty in emptied(instance).items():
            evaluation = self.check_form(empty, self.action(empty), case)
            if self.expected.utility_sums:
                zero = not bool(evaluation.objective.any())
                require(zero, case, f"objective must be 0, received {_first_odd(evaluation.objective)}")

    def _close(self, received: Tensor, wanted: Tensor, rule: str, name: str, part: str = "") -> None:
        """Agreement of one part of an evaluation; violations are relative already."""
        unit = 1.0 if name.startswith("violation") else 0.0
        require_close(received, wanted, self.expected.closeness, rule, name + part, unit=unit)

    def check_precision(self, instance: Any, action: Any, evaluation: Evaluation) -> None:
        for dtype in (torch.float32, torch.float64):
            other = self.check_form(to(instance, dtype=dtype), to(action, dtype=dtype), "precision")
            require_close(other.objective, evaluation.objective, 1e-4, "precision", f"objective in {dtype}")

    def check_gradient(self) -> None:
        """`gradcheck` of the sum of everything in an evaluation, at actions scaled to order 1."""
        instance = to(draw(self.sample, 2, self.generator), dtype=torch.float64)
        action = self.action(instance)
        numbers = {
            name: value
            for name, value in vars(action).items()
            if value.is_floating_point() or value.is_complex()
        }
        scales = {name: value.abs().max().clamp(min=1e-300) for name, value in numbers.items()}
        unit = self.problem.evaluate(instance, action).objective.detach().abs().clamp(min=1e-300)

        def scored(*values: Tensor) -> tuple[Tensor, ...]:
            moved = {name: value * scales[name] for name, value in zip(numbers, values, strict=True)}
            evaluation = self.problem.evaluate(instance, type(action)(**(vars(action) | moved)))
            return (evaluation.objective / unit, *evaluation.violation.values())

        inputs = [(value / scales[name]).requires_grad_() for name, value in numbers.items()]
        if not inputs:
            return
        differentiable = scored(*inputs)[0].requires_grad
        require(differentiable, "gradient", "the objective must be differentiable by the action")
        try:
            torch.autograd.gradcheck(scored, inputs, eps=1e-6, atol=1e-5, rtol=1e-3, nondet_tol=0.0)
        except (
            RuntimeError
        ) as error:  # of gradcheck itself, or of an evaluation that cannot be differentiated
            raise ConformanceError(
                f"gradient: evaluate must have right gradients by its action; {error}"
            ) from error

    def _agree(self, received: Evaluation, wanted: Evaluation, rule: str) -> None:
        names = sorted(_parts(received))
        require(names == sorted(_parts(wanted)), rule, f"violation must keep its names, received {names}")
        for name, value in _parts(wanted).items():
            self._close(_parts(received)[name], value, rule, name)


def _pad_action(action: Any, sizes: dict[str, int]) -> Any:
    known = {name for names in axis_names(type(action)).values() for name in names}
    return pad(action, **{name: size for name, size in sizes.items() if name in known})


def _parts(evaluation: Evaluation) -> dict[str, Tensor]:
    """Everything in an evaluation, by name."""
    violation = {f"violation {name!r}": value for name, value in evaluation.violation.items()}
    return {"objective": evaluation.objective, "utility": evaluation.utility, **violation}


def _first(values: Tensor) -> Any:
    return values.flatten()[0].item() if values.numel() else None


def _first_odd(values: Tensor) -> Any:
    """The first value that is not finite, else the first that is not zero."""
    odd = values[~torch.isfinite(values)]
    return _first(odd if odd.numel() else values[values != 0])
