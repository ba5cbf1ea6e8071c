"""The learned benchmarks of ALCOR at their smallest."""

import dataclasses

import pytest
import torch

from torchrrm.recipes.alcor.cases import FIG1, TABLE3, TABLE4, Case, generator_of
from torchrrm.recipes.alcor.networks import (
    DynamicTraining,
    FixedTraining,
    StepTraining,
    mean_rates,
    random_demand_task,
)
from torchrrm.recipes.jobs import Start, Workers, run_jobs

FIXED = FixedTraining(TABLE4[2], (12, 8), sort=False, steps=2, draws=20)
DYNAMIC = DynamicTraining(hidden=(12, 8), vectors=3, draws=10, steps=2)
STEP = StepTraining(vectors=2, draws=20, steps=3)


def test_networks_have_the_printed_layers():
    sizes = {
        FixedTraining(TABLE3[50], (400, 400)): [(400, 2500), (400, 400), (50, 400)],
        FixedTraining(TABLE4[2], (100, 50), sort=False): [(100, 25), (50, 100), (5, 50)],
        DynamicTraining(): [(200, 30), (100, 200), (5, 100)],
    }
    for job, expected in sizes.items():
        found = [tuple(value.shape) for value in job.policy().parameters() if value.ndim == 2]
        assert found == expected
    found = [tuple(value.shape) for value in STEP.policy(0).parameters() if value.ndim == 2]
    assert found == [(25, 25), (25, 25), (5, 25)]


def test_jobs_give_parameters_and_buffers_and_are_kept(tmp_path):
    workers = Workers(tmp_path, processes=0, progress=False)
    jobs = [FIXED, DYNAMIC, STEP]
    first = run_jobs("networks", jobs, workers)
    again = run_jobs("networks", jobs, workers)
    for job in jobs:
        assert all(torch.equal(value, again[job][name]) for name, value in first[job].items())
    for job in (FIXED, DYNAMIC):
        policy = job.trained(first[job])
        rate = mean_rates(policy, TABLE4[1], draws=50, generator=generator_of(1))
        assert rate.shape == (5,)
        assert (rate >= 0).all()
    assert "log_step" in first[STEP]


def test_a_start_is_gone_on_from():
    found = FIXED()
    nothing = dataclasses.replace(FIXED, start=Start("there", found), steps=0)()
    assert all(torch.equal(value, found[name]) for name, value in nothing.items())


def test_a_policy_that_reads_demands_is_told_those_of_the_case():
    policy = DYNAMIC.trained(DYNAMIC())
    one, other = (mean_rates(policy, TABLE4[i], draws=100, generator=generator_of(1)) for i in (1, 3))
    assert not torch.allclose(one, other)


def test_random_demands_are_one_vector_for_all_draws_of_an_instance():
    instance = random_demand_task(5, 5.0, 7).sample(4, generator=generator_of(2))
    assert instance.gain.shape == (4, 7, 5, 5)
    assert instance.min_rate_bps_hz.shape == (4, 5)
    assert (instance.min_rate_bps_hz > 2.5).any()
    assert (instance.min_rate_bps_hz <= 5.0).all()


@pytest.mark.parametrize("vanilla", [False, True])
def test_retraining_gives_a_curve_of_each_link(vanilla):
    found = STEP.retrained(STEP(), FIG1, vanilla=vanilla, iterations=6, generator=generator_of(3))
    assert found.rate_bps_hz.shape == (6, 5)
    assert found.rate_bps_hz.isfinite().all()


def test_demands_are_learned_to_be_met():
    case = Case("two links", (0.5, 2.0))
    job = FixedTraining(case, (16,), sort=False, steps=60, draws=200)
    rate = mean_rates(job.trained(job()), case, draws=4000, generator=generator_of(4))
    assert (rate > 0.98 * case.demand).all()
