"""Exhibits of a reproduction: a figure, a table, what they show, and the data behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from torchrrm import bench
from torchrrm.bench import Results, Row, Scene, figures, metrics
from torchrrm.files import atomic_write_text, to_json
from torchrrm.setups import registry

__all__ = [
    "Exhibit",
    "Told",
    "front_exhibit",
    "interval_text",
    "percent_text",
    "write_exhibits",
    "write_reproduction",
]


@dataclass(frozen=True)
class Exhibit:
    """One figure or table of a published system, made anew.

    Attributes:
        name: of its files, such as `fig05`.
        title: what it shows.
        note: how it was made and what it says; Markdown.
        figure: the picture, if there is one.
        header: of the table.
        rows: of the table.
        data: numbers behind the figure, as JSON takes them.
    """

    name: str
    title: str
    note: str
    figure: Figure | None
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    data: Mapping[str, Any] = field(default_factory=dict)

    def markdown(self) -> str:
        """Its section of the report."""
        lines = [f"## {self.title}", ""]
        if self.figure is not None:
            lines += [f"![{self.title}]({self.name}.png)", ""]
        lines += ["| " + " | ".join(self.header) + " |", "|" + " --- |" * len(self.header)]
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        return "\n".join([*lines, "", self.note, ""])


def interval_text(values: Tensor, scale: float = 1.0, digits: int = 2) -> str:
    """Mean and half the 95 % interval over runs: `99.12 ± 0.34`; the mean alone of a single run."""
    mean, interval = metrics.mean_interval(values * scale)
    return f"{mean:.{digits}f}" + (f" ± {mean - interval[0]:.{digits}f}" if interval else "")


def percent_text(share: float | None, digits: int = 2) -> str:
    """A share in per cent; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.{digits}f}"


def front_exhibit(rows: Sequence[Row], note: str) -> Exhibit:
    """The front of quality against latency, drawn for each setting of the rows."""
    table = [
        [
            row.setting,
            row.allocator,
            f"{row.objective:.3f}",
            percent_text(row.optimality),
            row.bound_kind,
            f"{row.p50_us:.0f}",
            "yes" if bench.on_front(row, rows) else "",
        ]
        for row in rows
    ]
    return Exhibit(
        name="front",
        title="Sum rate against latency",
        note=note,
        figure=figures.latency_front(rows),
        header=["", "allocator", "sum rate", "of the bound / %", "bound", "p50 / µs", "on the front"],
        rows=table,
    )


@dataclass(frozen=True)
class Told:
    """What a reproduction says of itself.

    Attributes:
        system: its short name, of the page's title.
        title: of `README.md`.
        introduction: Markdown with `{command}`, `{commit}`, `{seed}` and `{threads}` to fill in.
    """

    system: str
    title: str
    introduction: str


def write_reproduction(
    out: Path,
    told: Told,
    results: Results,
    exhibits: Sequence[Exhibit],
    *,
    table: tuple[str, Results] | None = None,
    scenes: Sequence[Scene | None] = (),
) -> None:
    """What a recipe leaves in `out`: `results.json`, `README.md`, `exhibits.json`, the figures and `report.html`.

    Args:
        out: the folder.
        told: titles and words.
        results: all rows.
        exhibits: figures and tables, plates of the page.
        table: heading and rows of one that goes before the exhibits.
        scenes: instances that the page shows under several allocators.
    """
    results.to_json(out / "results.json")
    introduction = told.introduction.format(
        command=results.command, commit=results.commit, seed=results.seed, threads=torch.get_num_threads()
    )
    if table is not None:
        heading, shown = table
        introduction += f"\n## {heading}\n\n{bench.markdown_table(shown, registry.display_of(shown))}\n"
    write_exhibits(out, told.title, introduction, exhibits)
    bench.html_report(
        out / "report.html",
        results,
        title=f"{told.system} reproduction",
        plates=[
            bench.Plate(exhibit.figure, exhibit.title, f"{exhibit.title}; the numbers are in README.md.")
            for exhibit in exhibits
            if exhibit.figure is not None
        ],
        display=registry.displays(),
        scenes=[scene for scene in scenes if scene is not None],
    )


def write_exhibits(folder: Path, title: str, introduction: str, exhibits: Sequence[Exhibit]) -> None:
    """`README.md` with all tables, a PNG of each figure, and `exhibits.json` with the data."""
    folder.mkdir(parents=True, exist_ok=True)
    for exhibit in exhibits:
        if exhibit.figure is not None:
            figures.save(exhibit.figure, folder / f"{exhibit.name}.png")
    data = {exhibit.name: to_json(_lists(exhibit.data)) for exhibit in exhibits}
    lines = ",\n".join(f"{to_json(name)}: {text}" for name, text in data.items())  # a line an exhibit
    atomic_write_text(folder / "exhibits.json", f"{{\n{lines}\n}}\n")
    sections = [f"# {title}", "", introduction, "", *(exhibit.markdown() for exhibit in exhibits)]
    atomic_write_text(folder / "README.md", "\n".join(sections))


def _lists(data: Any) -> Any:
    """Tensors as lists of rounded numbers."""
    if isinstance(data, Tensor):
        return torch.round(data.double(), decimals=5).tolist()
    if isinstance(data, Mapping):
        return {key: _lists(value) for key, value in data.items()}
    return data
