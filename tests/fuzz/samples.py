"""Valid inputs that targets start from."""

import functools
import json

import torch

from torchrrm.bench import Measure, Results, Row
from torchrrm.policies.control import Window
from torchrrm.setups import workbench
from torchrrm.setups.demands import DemandNames, DemandRun, SlotStream, Timetable, control_loop
from torchrrm.setups.links import LinkSource

_ROW = Row(
    problem="data-rate",
    setting="Munich",
    allocator="exact",
    kind="solver",
    objective=1.0,
    objective_ci95=(0.9, 1.1),
    bound=1.1,
    bound_kind="certified",
    optimality=0.9,
    optimality_ci95=(0.8, 1.0),
    violation_max=0.0,
    violation_rate=0.0,
    served_fraction=1.0,
    p50_us=10.0,
    p99_us=20.0,
    instances=3,
    infeasible=0,
    measures={"mean rate": Measure(1.0, (0.5, 1.5))},
)
RESULTS = Results("torchrrm evaluate", 0, [_ROW], {"users": 5}, commit="a", threads=1).to_json()
json.loads(RESULTS)


@functools.cache
def _loop_and_stream() -> tuple[object, SlotStream]:
    channels = workbench.find_channels(None, "rayleigh", DemandNames.scenarios)
    allocator = workbench.find_allocator("max-power", DemandNames())
    return control_loop("max-power", allocator, "time-sharing", step=None, sharing=None, seed=0), SlotStream(
        LinkSource(channels, 2)
    )


def demand_run(blocks: int) -> DemandRun:
    """A run of two links, so many blocks of three done."""
    loop, stream = _loop_and_stream()
    timetable = Timetable.of((Window((0.5, 1.0), 50), Window((1.0, 0.5), 25)))
    run = DemandRun(loop, stream, timetable, generator=torch.Generator().manual_seed(0))  # pyright: ignore
    for _ in range(blocks):
        run.advance()
    return run
