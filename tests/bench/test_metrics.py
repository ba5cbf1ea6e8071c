import math
import time
from functools import partial

import pytest
import scipy.stats
import torch

from torchrrm.bench import metrics
from torchrrm.problems.base import Evaluation


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 30, 1000])
def test_t_quantile_agrees_with_scipy(degrees: int) -> None:
    assert metrics.t_975(degrees) == pytest.approx(scipy.stats.t.ppf(0.975, degrees), rel=1e-3)


def test_mean_interval_agrees_with_scipy(generator: torch.Generator) -> None:
    values = torch.randn(20, generator=generator)
    mean, interval = metrics.mean_interval(values)
    expected = scipy.stats.ttest_1samp(values.double().numpy(), 0.0).confidence_interval(0.95)
    assert mean == pytest.approx(values.mean().item())
    assert interval == pytest.approx((expected.low, expected.high), rel=1e-4)


def test_one_sample_has_no_interval() -> None:
    assert metrics.mean_interval(torch.tensor([2.0])) == (2.0, None)


def test_ratio_is_of_means_and_its_interval_is_paired(generator: torch.Generator) -> None:
    bound = 1 + 100 * torch.rand(50, generator=generator)
    ratio, interval = metrics.ratio_interval(0.9 * bound, bound)
    assert ratio == pytest.approx(0.9)
    assert interval == pytest.approx((0.9, 0.9))  # however much the instances differ


def test_ratio_interval_covers_the_truth(generator: torch.Generator) -> None:
    bound = 1 + torch.rand(400, 30, generator=generator)
    objective = bound * (0.8 + 0.2 * torch.rand(400, 30, generator=generator))
    intervals = [metrics.ratio_interval(objective[i], bound[i])[1] for i in range(400)]
    covered = sum(interval is not None and interval[0] <= 0.9 <= interval[1] for interval in intervals)
    assert 0.91 <= covered / 400 <= 0.985


def test_no_ratio_to_a_bound_of_nothing() -> None:
    assert metrics.ratio_interval(torch.zeros(3), torch.zeros(3)) == (None, None)


def evaluation(budget: list[float], rate: list[list[float]]) -> Evaluation:
    utility = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    violation = {"budget": torch.tensor(budget), "rate": torch.tensor(rate)}
    return Evaluation(utility.sum(-1), utility, violation)


def test_violations_over_constraints_of_any_shape() -> None:
    mixed = evaluation([-1.0, 2e-5], [[0.0, -0.5], [0.0, 0.0]])
    assert metrics.worst_violation(mixed) == pytest.approx(2e-5)
    assert metrics.violated(mixed).tolist() == [False, True]
    met = evaluation([-1.0, 0.0], [[0.0, -0.5], [0.0, 0.0]])
    assert metrics.worst_violation(met) == 0.0
    assert not metrics.violated(met).any()


def test_what_is_not_a_number_is_violated() -> None:
    broken = evaluation([0.0, 0.0], [[math.nan, 0.0], [0.0, 0.0]])
    assert metrics.worst_violation(broken) == math.inf
    assert metrics.violated(broken).tolist() == [True, False]


def test_served_needs_utility_and_ones_own_constraint() -> None:
    active = torch.tensor([[True, True], [True, True]])
    assert metrics.served_fraction(evaluation([9.0, 9.0], [[0.0, 0.0], [0.0, 0.0]]), active) == 0.75
    assert metrics.served_fraction(evaluation([0.0, 0.0], [[0.1, 0.0], [0.0, 0.0]]), active) == 0.5
    assert metrics.served_fraction(evaluation([0.0, 0.0], [[0.0, 0.0], [0.0, 0.0]]), ~active) is None
    few = torch.tensor(
        [[True, False], [False, False]]
    )  # the utilities of the others count as little as they do
    assert metrics.served_fraction(evaluation([0.0, 0.0], [[0.0, 0.0], [0.0, 0.0]]), few) == 1.0


def test_latency_takes_calls_in_turn_after_warm_up() -> None:
    order: list[int] = []
    calls = [partial(order.append, i) for i in range(3)]
    p50_us, p99_us = metrics.measure_latency(calls, metrics.Latency(warmup=2, calls=4), torch.device("cpu"))
    assert order == [0, 1, 0, 1, 2, 0]
    assert 0 < p50_us <= p99_us


def test_latencies_are_the_median_and_the_99th_percentile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of calls that take 1 to 100 us on a clock of our own."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def call(number: int) -> None:
        now[0] += 1e-6 * (number + 1)

    calls = [partial(call, number) for number in range(100)]
    how = metrics.Latency(warmup=0, calls=100)
    assert metrics.measure_latency(calls, how, torch.device("cpu")) == pytest.approx((50.5, 99.01))


def test_latency_stops_at_its_budget() -> None:
    count = [0]

    def slow() -> None:
        count[0] += 1
        torch.ones(100_000).sum()

    metrics.measure_latency(
        [slow], metrics.Latency(warmup=0, calls=10**9, budget_s=0.01), torch.device("cpu")
    )
    assert 1 <= count[0] < 10**6


@pytest.mark.parametrize("wrong", [{"warmup": -1}, {"calls": 0}, {"budget_s": 0.0}])
def test_latency_is_validated(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="latency"):
        metrics.Latency(**wrong)  # pyright: ignore[reportArgumentType]


def test_quantile_interval_of_independent_items_agrees_with_the_binomial_one(
    generator: torch.Generator,
) -> None:
    values = torch.rand(4000, 1, generator=generator)
    quantile, interval = metrics.quantile_interval(values, 0.05)
    ranks = scipy.stats.binom.ppf([0.025, 0.975], 4000, 0.05).astype(int)
    ordered = values.flatten().sort().values
    assert quantile == pytest.approx(0.05, abs=0.02)
    assert interval == pytest.approx(ordered[ranks].tolist(), abs=2e-3)


def test_quantile_interval_takes_samples_as_a_whole_and_leaves_out_what_is_no_number() -> None:
    alike = torch.arange(40.0)[:, None].expand(40, 100).clone()  # items of a sample are no news
    single = torch.full((40, 3), torch.nan)
    single[:, 0] = torch.arange(40.0)
    assert metrics.quantile_interval(alike, 0.25)[1] == pytest.approx(
        metrics.quantile_interval(single, 0.25)[1], abs=0.5
    )
    assert metrics.quantile_interval(torch.tensor([[1.0, 2.0, 3.0]]), 0.5) == (2.0, None)
