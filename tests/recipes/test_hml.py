"""The recipe of HML: the tasksets that it draws from."""

from typing import Any

import torch

from torchrrm.channels import Nakagami, Rice
from torchrrm.problems import KINDS
from torchrrm.recipes.hml import studies
from torchrrm.recipes.hml.tasksets import OneOf, PreparedSource, TrainingSet, meta_test_source, pooled_task
from torchrrm.recipes.hml.training import report_stream


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
