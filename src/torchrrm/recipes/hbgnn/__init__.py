"""Ultra-dense networks: Figs. 6 to 12 and Tables II to IV of [Zhang2022HBGNN], then Munich."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from torchrrm.bench import Results
from torchrrm.policies.weights import save_weights
from torchrrm.recipes.exhibits import Told, write_reproduction
from torchrrm.recipes.hbgnn import plan, tables
from torchrrm.recipes.hbgnn.cases import PAPER, Case, munich_cases
from torchrrm.recipes.hbgnn.convergence import convergence, table2
from torchrrm.recipes.hbgnn.density import density
from torchrrm.recipes.hbgnn.front import front_exhibit
from torchrrm.recipes.hbgnn.judging import CaseResult, judge
from torchrrm.recipes.hbgnn.learned import policy_of
from torchrrm.recipes.hbgnn.maps import network, scene
from torchrrm.recipes.hbgnn.settings import SCALES, HbgnnSettings
from torchrrm.recipes.jobs import Workers
from torchrrm.setups import workbench

__all__ = ["HbgnnSettings", "reproduce"]

_TOLD = Told(
    "HBGNN",
    "HBGNN: who serves whom in ultra-dense networks",
    """Made by `{command}` at commit `{commit}`, seed {seed}, {threads} thread(s) a worker.

Sums of rates in bit/s/Hz on drops that nothing was trained or chosen on. `GRL` is the edge-scored network, trained
offline, one set of weights for all tables; `SRL` goes on training it on the drop at hand. `refined`: followed by
rounds of matching and WMMSE (SRL: after each step), `searched`: by 200 restarts of these around the result, too;
latencies count them. `HungarianWMMSE` matches and runs WMMSE in turn; with 20 s it is what others are held against, and
no optimum.
""",
)


def reproduce(*, scale: Literal["smoke", "quick", "full"], out: Path, seed: int, command: str) -> Results:
    """Figures, tables and weights of the recipe in `out`; a stopped run goes on where it was.

    Writes `README.md`, `exhibits.json`, `results.json`, a PNG a figure, `report.html` and `weights/`.
    """
    settings = SCALES[scale]
    workers = Workers(out / "jobs", settings.processes)
    trained = plan.train(settings, workers, seed)
    provenance = workbench.provenance(command, seed, asdict(settings)) | {"recipe": "hbgnn"}
    (out / "weights").mkdir(parents=True, exist_ok=True)
    save_weights(out / "weights" / "hbgnn.safetensors", policy_of(trained.start), provenance)
    found = judge("drops", plan.asked(settings, trained.start), workers)
    timed = plan.timings(found, settings, trained.start)  # with no worker beside it
    rows = plan.rows(found, timed)
    paper = found[PAPER]
    exhibits = [
        *convergence(trained.converging),
        table2(),
        tables.table3(paper, settings.drops),
        tables.figure10(paper, settings.drops),
        density("fig11", "Fig. 11: numbers of users", _of(found, plan.user_cases(settings)), settings),
        density("fig12", "Fig. 12: numbers of stations", _of(found, plan.station_cases(settings)), settings),
        tables.table4(paper, timed[PAPER]),
        tables.hidden(paper),
        tables.munich(_of(found, munich_cases())),
        *(network(case, trained.start) for case in (PAPER, *munich_cases())),
        front_exhibit(rows, settings),
    ]
    results = Results(command=command, seed=seed, rows=rows, settings=asdict(settings) | {"scale": scale})
    write_reproduction(out, _TOLD, results, exhibits, scenes=[scene(trained.start)])
    return results


def _of(found: plan.Found, cases: list[Case]) -> dict[Case, CaseResult]:
    return {case: found[case] for case in cases}
