import math

import pytest
import torch

from torchrrm.recipes.alcor.cases import Case, rayleigh
from torchrrm.recipes.alcor.programs import FeasiblePrograms, feasible_draws
from torchrrm.recipes.jobs import Workers, run_jobs
from torchrrm.setups.links import draw_links
from torchrrm.solvers import is_feasible

CASE = Case("five", (0.0, 0.5, 0.0, 1.0, 0.5))


def test_draws_are_those_of_all_that_are_feasible(generator):
    """As many as among channels of all users, and with the same gains on average where users are asked for."""
    links, feasible = feasible_draws(CASE, 20_000, most=10**6, generator=generator)
    assert links.gain.shape == (feasible, 5, 5)
    assert bool(is_feasible(links, CASE.demand).all())
    drawn = draw_links(rayleigh(5), 20_000, generator=torch.Generator().manual_seed(9))
    met = is_feasible(drawn, CASE.demand)
    share = float(met.float().mean())
    assert 0.02 < share < 0.98
    error = math.sqrt(2 * share * (1 - share) / 20_000)
    assert feasible / 20_000 == pytest.approx(share, abs=5 * error)
    expected = drawn.gain[met]
    error = (expected.std(0) * math.sqrt(2 / len(expected))).clamp(min=1e-3)
    assert bool(((links.gain.mean(0) - expected.mean(0)).abs() < 5 * error).all())


def test_the_first_are_returned_and_all_are_counted():
    draws = [
        feasible_draws(CASE, 2500, most=most, generator=torch.Generator().manual_seed(1), chunk=1000)
        for most in (5, 10**6)
    ]
    assert draws[0][1] == draws[1][1] == len(draws[1][0].gain) > 100
    asking = torch.tensor([1, 3, 4])
    block = (slice(None), asking[:, None], asking)
    assert torch.equal(draws[0][0].gain[block], draws[1][0].gain[block][:5])


def test_the_job(tmp_path):
    """Demands are met on every draw; both solvers of the problem agree nearly, and asking for nothing gives more."""
    job = FeasiblePrograms(CASE, draws=400, programs=12, max_steps=60)
    found = run_jobs("programs", [job], Workers(tmp_path, processes=0))[job]
    assert int(found["draws"]) == 400
    assert int(found["feasible"]) >= 12
    for name in ("geometric program", "QoS WMMSE"):
        assert found[f"rate.{name}"].shape == (12,)
        assert float(found[f"rate.{name}"].min()) >= 2.0 - 1e-4
        assert float(found[f"violation.{name}"].max()) < 1e-5
    rate = {name: float(found[f"rate.{name}"].mean()) for name in ("geometric program", "QoS WMMSE", "WMMSE")}
    assert rate["geometric program"] == pytest.approx(rate["QoS WMMSE"], rel=0.03)
    assert rate["WMMSE"] > rate["QoS WMMSE"]
    assert all(torch.equal(value, found[key]) for key, value in job().items())


def test_nothing_is_feasible():
    found = FeasiblePrograms(Case("six", (5.0,) * 6), draws=50)()
    assert int(found["feasible"]) == 0
    assert found["rate.geometric program"].shape == (0,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: FeasiblePrograms(Case("none", (0.0, 0.0)), draws=5)(),
            r"case: must ask for something, received Case\(name='none', .*\)",
        ),
        (lambda: FeasiblePrograms(CASE, draws=0), "draws: must be at least 1, received 0"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        make()
