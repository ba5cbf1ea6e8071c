"""What allocators must survive: zeros, denormal and huge numbers, and what is no number at all."""

import warnings
from typing import Any

import torch
from torch import Tensor

from torchrrm.problems import Allocator, Problem
from torchrrm.records import (
    active_like,
    axis_names,
    batch_shape,
    index,
    mask_axes,
    replace,
    stack,
)
from torchrrm.testing.allocator import AllocatorSuite
from torchrrm.testing.expected import ConformanceError, Expected, require
from torchrrm.testing.surgery import Sample

__all__ = ["ExtremesSuite", "check_extremes", "numeric_fields"]

_HUGE = 1e30


def numeric_fields(instance: Any) -> list[str]:
    """Names of the fields that hold real or complex numbers."""
    fields = vars(instance).items()
    return [name for name, value in fields if value.is_floating_point() or value.is_complex()]


class ExtremesSuite(AllocatorSuite):
    """The checks of extreme instances; see `check_solver` for what must hold."""

    def run(self, allocator: Allocator[Any, Any]) -> None:
        """Every check, on an instance of the sample and what becomes of it."""
        instance = index(self.sample(1, generator=self.generator), 0)
        self.check_boundary(instance)
        self.check_numbers(allocator, instance)
        self.check_refused(allocator, instance)
        if mask_axes(type(instance)):
            self.check_nan_of_inactive(allocator)

    def check_boundary(self, instance: Any) -> None:
        """`problem.validate`, if there is one, refuses what is no number, and negative ones, by name in one line."""
        validate = getattr(self.problem, "validate", None)
        if validate is None:
            return
        for case, broken in no_numbers(instance).items():
            try:
                validate(broken)
            except ValueError as error:
                told, name = str(error), case.split(" ")[0]
                fits = name in told and "\n" not in told and "received" in told
                require(fits, "boundary", f"{case} must be refused by name in one line, received {told!r}")
            else:
                raise ConformanceError(f"boundary: {case} must be refused, received no error")

    def check_numbers(self, allocator: Allocator[Any, Any], instance: Any) -> None:
        """Zeros, denormal and huge numbers that the boundary accepts: a finite action within the constraints."""
        cases = {case: one for case, one in extreme_numbers(instance).items() if self._accepts(one)}
        huge = {case: one for case, one in cases.items() if "huge" in case}
        for part, kept in ((cases.keys() - huge.keys(), True), (huge.keys(), False)):
            if part:
                self._require_served(allocator, {case: cases[case] for case in sorted(part)}, kept)

    def check_refused(self, allocator: Allocator[Any, Any], instance: Any) -> None:
        """What the boundary refuses ends, with an action or an error of one line, and stays in its instance."""
        cases = {case: one for case, one in extreme_numbers(instance).items() if not self._accepts(one)}
        cases |= no_numbers(instance)
        wanted = allocator(stack([instance]))
        for case, broken in cases.items():
            try:
                action = allocator(stack([instance, broken]))
            except ValueError as error:
                require("\n" not in str(error), case, f"the error must be of one line, received {error}")
                continue
            except Exception as error:
                raise ConformanceError(
                    f"{case}: an action or a ValueError must come, received {error!r}"
                ) from error
            self._decide_alike(stack([instance]), index(action, slice(0, 1)), wanted, f"beside {case}")

    def check_nan_of_inactive(self, allocator: Allocator[Any, Any]) -> None:
        """What is no number in the fields of inactive users does not matter."""
        instance = self.draw()
        wanted = allocator(instance)
        for value in (torch.nan, torch.inf):
            changed = {}
            for name in numeric_fields(instance):
                mask = active_like(instance, axis_names(type(instance))[name])
                if mask is not None:
                    changed[name] = torch.where(mask, getattr(instance, name), value)
            received = allocator(replace(instance, **changed))
            self._decide_alike(instance, received, wanted, f"{value} of inactive")

    def _accepts(self, instance: Any) -> bool:
        validate = getattr(self.problem, "validate", None)
        try:
            if validate is not None:
                validate(instance)
        except ValueError:
            return False
        return True

    def _require_served(self, allocator: Allocator[Any, Any], cases: dict[str, Any], kept: bool) -> None:
        """Finite actions without a warning, all at once and, if that fails, one by one; `kept`: within constraints."""
        try:
            self._require_one(allocator, stack(list(cases.values())), "extremes", kept)
        except ConformanceError:  # one of them, which is to be named
            for case, instance in cases.items():
                self._require_one(allocator, instance, case, kept)
            raise

    def _require_one(self, allocator: Allocator[Any, Any], instance: Any, case: str, kept: bool) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                action = self.check_form(allocator, instance, case)
            except (ArithmeticError, RuntimeError, ValueError, Warning) as error:
                raise ConformanceError(f"{case}: an action must come, received {error!r}") from error
        if not kept:
            return
        feasible = self.expected.feasible or getattr(self.problem, "feasible", None)
        if feasible is None:
            self.check_feasible(instance, action, case)
            return
        able = torch.atleast_1d(feasible(instance))
        if able.any():
            rows = [record if batch_shape(record) else stack([record]) for record in (instance, action)]
            self.check_feasible(index(rows[0], able), index(rows[1], able), case)


def check_extremes(
    allocator: Allocator[Any, Any],
    problem: Problem[Any, Any],
    sample: Sample,
    *,
    expected: Expected | None = None,
    generator: torch.Generator | None = None,
) -> None:
    """Check an allocator at the ends of what an instance's numbers may be, and beyond; see `check_solver`.

    It is part of `check_solver` and `check_policy`; this alone is for compositions, and for other precisions of the
    sample.

    Raises:
        ConformanceError: naming the first case that is not served.
    """
    with torch.no_grad():
        ExtremesSuite(problem, sample, expected, generator).run(allocator)


def extreme_numbers(instance: Any) -> dict[str, Any]:
    """The instance with a field of zeros, of denormal or of huge numbers, or with one such, by what it is."""
    found = {}
    for name in numeric_fields(instance):
        least = float(torch.finfo(getattr(instance, name).dtype).smallest_normal) / 64
        for word, value in {"zero": 0.0, "denormal": least, "huge": _HUGE}.items():
            tensor = getattr(instance, name)
            found[f"{name} all {word}"] = replace(instance, **{name: torch.full_like(tensor, value)})
            found[f"{name} once {word}"] = replace(instance, **{name: _once(instance, name, value)})
    return found


def no_numbers(instance: Any) -> dict[str, Any]:
    """The instance with one value that is no number, or negative, in a field, by what it is."""
    found = {}
    for name in numeric_fields(instance):
        values = {"nan": torch.nan, "inf": torch.inf}
        if not getattr(instance, name).is_complex():
            values |= {"-inf": -torch.inf, "negative": -1.0}
        for word, value in values.items():
            found[f"{name} {word}"] = replace(instance, **{name: _once(instance, name, value)})
    return found


def _once(instance: Any, name: str, value: float) -> Tensor:
    """The field with the value at its first active entry."""
    tensor = getattr(instance, name).clone()
    mask = active_like(instance, axis_names(type(instance))[name])
    place = 0 if mask is None else int(mask.expand_as(tensor).flatten().int().argmax())
    tensor.view(-1)[place] = value
    return tensor
