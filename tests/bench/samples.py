"""Results, and an instance to look at, for tests of reports."""

import dataclasses

from torchrrm.bench import Display, Places, Scene, Service
from torchrrm.bench.results import Results, Row

ROW = Row(
    problem="sharing",
    setting="three users",
    allocator="equal",
    kind="policy",
    objective=19.5,
    objective_ci95=(1.0, 38.0),
    bound=22.5,
    bound_kind="certified",
    optimality=0.87,
    optimality_ci95=None,
    violation_max=0.0,
    violation_rate=0.0,
    served_fraction=1.0,
    p50_us=12.5,
    p99_us=20.0,
    instances=4,
    infeasible=None,
)
RESULTS = Results(
    command="torchrrm evaluate", seed=3, rows=[ROW], settings={"users": 3, "gap": {"max": 1e-9}}
)
SHOWN = Display("sum rate", "Mbit/s", 2.0, "rate / (kbit/s)", 10.0)
EVIL = '</script><img src=x onerror="alert(1)">&<!--'
ROWS = [
    dataclasses.replace(ROW, utility_quantiles=tuple(map(float, range(41)))),
    dataclasses.replace(ROW, allocator="winner", kind="trivial", violation_rate=0.5),
    dataclasses.replace(
        ROW, setting="else", allocator="winner", bound=None, bound_kind="none", optimality=None
    ),
    dataclasses.replace(ROW, setting="else", allocator=EVIL, bound_kind="best known"),
]
TWO = dataclasses.replace(RESULTS, rows=ROWS)
PLACES = Places([[0, 0, 1.5], [10, 5, 1.5]], [[3, 3, 20], [8, 8, 5]], [True, False], [[[1, 1, 0], [2, 2, 9]]])
SCENE = Scene(
    "two users",
    {
        "all": Service([0, 1], [1.0, 2.0], [3.0, 4.0], [50.0, 20.0], "2 of 2 served"),
        EVIL: Service([-1, 0], [0.0, 3.0], [0.0, 7.0], [46.0, float("nan")], "1 of 2 served"),
    },
    amount="bandwidth / MHz",
    rate="rate / (Mbit/s)",
    station_amount="power / dBm",
    places=PLACES,
    attribution="somebody",
)
