"""The recipe of HML at smoke scale, and the tasksets that it draws from."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from torchrrm.bench import Results
from torchrrm.channels import Nakagami, Rice
from torchrrm.policies import SliceGNN, load_policy
from torchrrm.problems import KINDS
from torchrrm.recipes.hml import reproduce, studies
from torchrrm.recipes.hml.settings import SCALES
from torchrrm.recipes.hml.tasksets import OneOf, PreparedSource, TrainingSet, meta_test_source, pooled_task
from torchrrm.recipes.hml.training import report_stream
from torchrrm.recipes.jobs import Workers


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    out = tmp_path_factory.mktemp("hml")
    return out, reproduce(scale="smoke", out=out, seed=0, command="torchrrm reproduce hml --scale smoke")


def test_every_figure_is_made(smoke: tuple[Path, Results]) -> None:
    out, _ = smoke
    pictures = {path.stem for path in out.glob("*.png")}
    assert pictures >= {"fig03", "fig04", "fig05to07-raw", "fig08a", "fig08b", "fig08c", "fig09", "fig10"}
    text = (out / "README.md").read_text()
    assert all(f"Fig. {number}" in text for number in (3, 4, 8, 9, 10))
    assert "98.55" in text  # the published number stands beside ours
    assert set(json.loads((out / "exhibits.json").read_text())) >= pictures


def test_rows_follow_the_honesty_rules(smoke: tuple[Path, Results]) -> None:
    _, results = smoke
    assert {row.problem for row in results.rows} == set(KINDS)
    for row in results.rows:
        assert row.bound_kind == "certified"
        assert row.infeasible is not None
        assert row.violation_max <= 1e-5
        assert row.optimality is not None
        assert row.optimality <= 1 + 1e-6
    trivial = {row.allocator for row in results.rows if row.kind == "trivial"}
    assert trivial == {"equal-surplus", "one-winner"}


def test_weights_load_with_their_provenance(smoke: tuple[Path, Results]) -> None:
    out, _ = smoke
    policy = load_policy(str(out / "weights" / "slice-gnn-marginal.safetensors"))
    assert isinstance(policy, SliceGNN)
    assert policy.features == "marginal"


def test_a_second_run_takes_the_finished_jobs(smoke: tuple[Path, Results]) -> None:
    out, _ = smoke
    stamps = {path: path.stat().st_mtime_ns for path in (out / "jobs").iterdir()}
    workers = Workers(out / "jobs", 0, progress=False)
    random = studies.starts(
        TrainingSet(KINDS["secrecy"], "raw"), "base", ["random"], SCALES["smoke"], workers
    )
    studies.convergence(random, SCALES["smoke"], workers)
    assert {path: path.stat().st_mtime_ns for path in (out / "jobs").iterdir()} == stamps


def test_training_tasks_stay_within_table_iii() -> None:
    drawn = TrainingSet(KINDS["secrecy"], "raw", min_rate_mbps=OneOf(1, 10), bandwidth_mhz=OneOf(10, 100))
    generator = torch.Generator().manual_seed(0)
    samples = [drawn(generator).sample for _ in range(200)]
    sources: list[Any] = [sample.source for sample in samples if isinstance(sample, PreparedSource)]
    assert len(sources) == 200
    assert {source.users for source in sources} == set(range(10, 31))
    assert {source.channels.path_loss.exponent for source in sources} == {2, 3}
    assert {source.channels.shadowing_db for source in sources} == {3, 4, 5}
    assert {type(source.channels.fading) for source in sources} == {Rice, Nakagami}
    assert {round(source.terms.min_rate_bps / 1e6) for source in sources} == set(range(1, 11))
    assert min(source.terms.bandwidth_hz for source in sources) >= 10e6


def test_training_and_reporting_share_no_slice() -> None:
    reported = report_stream("secrecy", meta_test_source(users=5), 4)
    task = pooled_task(KINDS["secrecy"], "marginal", 1, 4, torch.Generator().manual_seed(1_000_000))
    drawn = task.sample(4, generator=torch.Generator().manual_seed(0))
    assert not set(drawn.cn0_hz.flatten().tolist()) & set(reported.cn0_hz.flatten().tolist())


def test_epochs_to_converge() -> None:
    curve = torch.tensor(
        [[0.5, 0.9, 0.994, 0.996, 0.996], [1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 0.5, 1.0, 0.9, 1.0]]
    )
    assert studies.epochs_to_converge(curve).tolist() == [2.0, 0.0, 4.0]
