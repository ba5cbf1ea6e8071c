"""The bench: every allocator meets the same instances, and every table carries what it takes to judge it."""

from torchrrm.bench.metrics import Latency
from torchrrm.bench.report import Display, Plate, console, html_report, markdown_table, terminal_table
from torchrrm.bench.results import Measure, Results, Row, on_front, plain, source_commit
from torchrrm.bench.runner import Bound, best_known, certified, kind_of, score

__all__ = [
    "Bound",
    "Display",
    "Latency",
    "Measure",
    "Plate",
    "Results",
    "Row",
    "best_known",
    "certified",
    "console",
    "html_report",
    "kind_of",
    "markdown_table",
    "on_front",
    "plain",
    "score",
    "source_commit",
    "terminal_table",
]
