"""What a run leaves behind: rows, and the circumstances in which they were measured, as JSON."""

import dataclasses
import math
import os
import re
import subprocess
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal

import torch

import torchrrm
from torchrrm.files import MemoryLimitError, atomic_write_text, parse_json, read_json, to_json
from torchrrm.files import json_values as plain

__all__ = [
    "BoundKind",
    "Kind",
    "Measure",
    "Results",
    "Row",
    "case_names",
    "on_front",
    "plain",
    "source_commit",
]

Kind = Literal["policy", "solver", "trivial"]
BoundKind = Literal["certified", "best known", "none"]
Interval = tuple[float, float] | None
_EQUAL = 1e-5
_NUMBERS = re.compile(r"\[\s+((?:-?[\d.]+(?:e[-+]?\d+)?,?\s+)+)\]")


def source_commit() -> str:
    """The commit of the package's sources (`-dirty` if changed since), or its release outside of git."""
    folder = Path(torchrrm.__file__).parent
    release = f"release {torchrrm.__version__}"
    try:
        # Installed into somebody else's repository, the package is no file of it.
        _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        return _git(folder, "describe", "--always", "--dirty", "--abbrev=12") or release
    except (OSError, subprocess.SubprocessError):
        return release


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()


@dataclass(frozen=True)
class Measure:
    """A number that a problem has besides its objective, with its 95 % interval (none for a single instance)."""

    value: float
    ci95: Interval


@dataclass(frozen=True)
class Row:
    """Score of an allocator on the instances of a setting.

    Attributes:
        objective: mean over the instances, with its 95 % interval (Student's t; none for a single instance).
        bound: mean upper bound of the same instances, or None.
        optimality: mean objective over mean bound, with its 95 % interval (paired, delta method); None without a bound,
            or if an action violates a constraint that the objective has no price for.
        violation_max: largest violation of any constraint, as the problem defines it; 0 is none.
        violation_rate: fraction of the instances with a violation above the tolerance.
        served_fraction: fraction of the active users that are served; None if nobody is active.
        p50_us: median latency of a single-instance call, in microseconds; `p99_us` its 99th percentile.
        infeasible: instances whose demands cannot all be met; None if the problem cannot tell.
        left_out: how many of these all but the latency leave out; 0 where they count like the others.
        published: the published counterpart of `optimality`, where there is one.
        measures: what the problem tells besides, such as the least rate of a link; the names carry units.
        utility_quantiles: of levels 0, 1 / 40, ..., 1, of the utilities of all active users of all instances
            together; empty if they were not kept.
    """

    problem: str
    setting: str
    allocator: str
    kind: Kind
    objective: float
    objective_ci95: Interval
    bound: float | None
    bound_kind: BoundKind
    optimality: float | None
    optimality_ci95: Interval
    violation_max: float
    violation_rate: float
    served_fraction: float | None
    p50_us: float
    p99_us: float
    instances: int
    infeasible: int | None
    published: float | None = None
    left_out: int = 0
    measures: Mapping[str, Measure] = field(default_factory=dict)
    utility_quantiles: Sequence[float] = ()


def case_names(rows: Sequence[Row]) -> list[str]:
    """What tells a row's case from those of the others: its problem, its setting, or both."""
    if len({row.problem for row in rows}) == 1:
        return [row.setting for row in rows]
    one_setting = len({row.setting for row in rows}) == 1
    return [row.problem if one_setting else f"{row.problem}, {row.setting}" for row in rows]


def on_front(row: Row, rows: Sequence[Row]) -> bool:
    """Whether the row violates nothing, and no other of its case that does not beats it.

    Others beat it that are better and no slower, or as good, to 1e-5 of the bound, and faster.
    """
    return row.violation_rate == 0 and not any(
        (other.problem, other.setting) == (row.problem, row.setting)
        and other.violation_rate == 0
        and _beats(other, row)
        for other in rows
    )


def _beats(other: Row, row: Row) -> bool:
    gain = (other.optimality or 0.0) - (row.optimality or 0.0)
    return other.p50_us <= row.p50_us if gain > _EQUAL else gain >= -_EQUAL and other.p50_us < row.p50_us


@dataclass(frozen=True)
class Results:
    """Rows of one run and what is needed to run it again."""

    command: str
    seed: int
    rows: Sequence[Row]
    settings: Mapping[str, Any] = field(default_factory=dict)
    commit: str = field(default_factory=source_commit)
    device: str = "cpu"
    threads: int = field(default_factory=torch.get_num_threads)
    schema: int = 1

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """The run as JSON, also written to `path` if one is given; what is not finite becomes null."""
        text = to_json(dataclasses.asdict(self), indent=2) + "\n"
        text = _NUMBERS.sub(
            lambda found: f"[{' '.join(found[1].split())}]", text
        )  # a list of numbers is a line
        if path is not None:
            atomic_write_text(path, text)
        return text

    @classmethod
    def from_json(cls, source: str | os.PathLike[str]) -> "Results":
        """The run that `to_json` wrote, from its text or from the file at a path.

        Raises:
            ValueError: if it is not JSON or not of this schema, or if a key is missing, unknown or mistyped.
        """
        try:
            if isinstance(source, os.PathLike):
                data = read_json(source, name="results")
            else:
                data = parse_json(source, name="results")
        except MemoryLimitError:
            raise
        except ValueError as error:
            received = os.fspath(source) if isinstance(source, os.PathLike) else repr(source[:40])
            raise ValueError(f"results: must be JSON, received {received} ({error})") from error
        if not isinstance(data, dict) or data.get("schema") != 1:
            received = data.get("schema") if isinstance(data, dict) else type(data).__name__
            raise ValueError(f"results: must have schema 1, received {received!r}")
        rows = data.get("rows")
        if not isinstance(rows, list):
            raise ValueError(f"results: rows must be a list, received {type(rows).__name__}")
        return _build(cls, {**data, "rows": [_row(row) for row in rows]})


T = typing.TypeVar("T", Measure, Row, Results)


def _row(data: Any) -> Row:
    """A row from JSON data; the first files of this schema lack its last three keys."""
    if isinstance(data, dict) and data:
        measures = data.get("measures", {})
        if not isinstance(measures, dict):
            raise ValueError(f"row.measures: must be an object, received {measures!r:.40}")
        built = {name: _build(Measure, measure) for name, measure in measures.items()}
        data = {"left_out": 0, "utility_quantiles": [], **data, "measures": built}
    return _build(Row, data)


def _build(cls: type[T], data: Any) -> T:
    """An object of the dataclass from JSON data, its keys and types checked."""
    name = cls.__name__.lower()
    if not isinstance(data, dict):
        raise ValueError(f"{name}: must be an object, received {type(data).__name__}")
    hints = typing.get_type_hints(cls)
    if set(data) != set(hints):
        missing, unknown = sorted(set(hints) - set(data)), sorted(set(data) - set(hints))
        raise ValueError(f"{name}: must have exactly its keys, received missing {missing}, unknown {unknown}")
    return cls(**{key: _checked(f"{name}.{key}", value, hints[key]) for key, value in data.items()})


def _checked(name: str, value: Any, hint: Any) -> Any:
    if hint is float and value is None:  # what was not finite
        return math.nan
    options = typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if not any(_is_a(value, option) for option in options):
        raise ValueError(f"{name}: must be {getattr(hint, '__name__', hint)}, received {value!r:.40}")
    if hint == Sequence[float] or (hint == Interval and value is not None):
        return tuple(_checked(name, item, float) for item in value)
    return value


def _is_a(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint) or hint
    if origin is Literal:
        return value in typing.get_args(hint)
    if origin is tuple:
        return isinstance(value, list) and [item is None or _is_a(item, float) for item in value] == [
            True,
            True,
        ]
    if hint == Sequence[float]:
        return isinstance(value, list)
    if origin in (int, float):
        return isinstance(value, (int, origin)) and not isinstance(value, bool)
    return isinstance(value, origin)
