"""The bench: every allocator meets the same instances, and every table carries what it takes to judge it."""

from torchrrm.bench.assessment import (
    Assessment,
    Bound,
    Eases,
    Judged,
    assess,
    best_of,
    comparable,
    in_double,
    judged,
    kind_of,
    timed,
)
from torchrrm.bench.completeness import incomplete
from torchrrm.bench.metrics import Latency
from torchrrm.bench.page import Plate, html_report
from torchrrm.bench.report import Display, console, markdown_rows, markdown_table, terminal_table
from torchrrm.bench.results import Measure, Results, Row, on_front, plain, source_commit
from torchrrm.bench.runner import best_known, certified, label_of, rows_of, score
from torchrrm.bench.scene import Places, Scene, Service

__all__ = [
    "Assessment",
    "Bound",
    "Display",
    "Eases",
    "Judged",
    "Latency",
    "Measure",
    "Places",
    "Plate",
    "Results",
    "Row",
    "Scene",
    "Service",
    "assess",
    "best_known",
    "best_of",
    "certified",
    "comparable",
    "console",
    "html_report",
    "in_double",
    "incomplete",
    "judged",
    "kind_of",
    "label_of",
    "markdown_rows",
    "markdown_table",
    "on_front",
    "plain",
    "rows_of",
    "score",
    "source_commit",
    "terminal_table",
    "timed",
]
