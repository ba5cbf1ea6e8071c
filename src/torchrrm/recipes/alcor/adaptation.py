"""Fig. 1 of [Behmandpoor2024]: new demands met by retraining a network, and by control loops without any."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchrrm.bench import figures
from torchrrm.bench.demands import block_means, shortfall
from torchrrm.bench.figures.demands import moving_average
from torchrrm.policies.control import Controller
from torchrrm.recipes.alcor.cases import FIG1, REPORT, generator_of, rayleigh
from torchrrm.recipes.alcor.loops import draw_runs
from torchrrm.recipes.alcor.networks import StepTraining
from torchrrm.recipes.exhibits import Exhibit
from torchrrm.recipes.jobs import Start

__all__ = ["figure1"]

_STREAM = 61
_BATCH = 25
_WINDOW = 10


def figure1(
    training: StepTraining, start: Start, loops: Mapping[str, Controller[Any]], iterations: int = 100
) -> Exhibit:
    """Rates of five users over iterations: vanilla learning, meta-learning, and loops."""
    panels = _retrained(training, start, iterations) | _looped(loops, iterations)
    users = {
        name: {f"user {user + 1}": curve for user, curve in enumerate(_smoothed(rate).mT)}
        for name, rate in panels.items()
    }
    demands = {f"demand {demand:g}": demand for demand in sorted(set(FIG1.demand_bps_hz))}
    return Exhibit(
        name="fig01",
        title="Fig. 1: new demands of five users",
        note="One run. An iteration is a batch of 50 draws and a gradient step for the networks, of 25 slots for the "
        "loops; curves are means of up to ten iterations. Demands are met from an iteration on if the mean rates of "
        "ten from there fall short of none by more than 5 %; the last columns are of the last ten "
        "iterations. Loops retrain nothing.",
        figure=figures.curve_panels(
            users,
            x_label="iteration",
            y_label="rate / (bit/s/Hz)",
            reference=dict.fromkeys(users, demands),
        ),
        header=[
            "",
            "iterations until met",
            "violation (12) at the end / %",
            "sum rate at the end / (bit/s/Hz)",
        ],
        rows=[_row(name, rate) for name, rate in panels.items()],
        data=panels,
    )


def _retrained(training: StepTraining, start: Start, iterations: int) -> dict[str, Tensor]:
    """Rates `[iteration user]` of a network while it learns the demands."""
    rates = {}
    for name, vanilla in (("vanilla learning", True), ("meta-learning", False)):
        generator = generator_of(REPORT, _STREAM, int(vanilla))
        found = training.retrained(
            start.parameters, FIG1, vanilla=vanilla, iterations=iterations, generator=generator
        )
        rates[name] = found.rate_bps_hz.detach()
    return rates


@torch.no_grad()
def _looped(loops: Mapping[str, Controller[Any]], iterations: int) -> dict[str, Tensor]:
    """Rates `[iteration user]` of loops, a batch of slots an iteration."""
    generator = generator_of(REPORT, _STREAM, 2)
    instance = draw_runs(rayleigh(FIG1.links), FIG1.demand, 1, iterations * _BATCH, generator)
    tracks = {name: loop.track(instance, loop.start(instance))[0] for name, loop in loops.items()}
    return {name: block_means(track.rate_bps_hz[0], _BATCH) for name, track in tracks.items()}


def _row(name: str, rate: Tensor) -> list[str]:
    """What the table says of rates `[iteration user]`."""
    last = rate[-_WINDOW:].mean(0)
    short = 100 * float(shortfall(last, FIG1.demand))
    return [name, _until(rate), f"{short:.1f}", f"{float(last.sum()):.2f}"]


def _smoothed(rate: Tensor) -> Tensor:
    """Moving averages over at most ten iterations."""
    number = np.zeros(len(rate), int)
    return torch.from_numpy(moving_average(rate.numpy(), number, _WINDOW))


def _until(rate: Tensor) -> str:
    """Iterations until demands are met."""
    ahead = rate.unfold(0, _WINDOW, 1).mean(-1)
    met = (shortfall(ahead, FIG1.demand) <= 0.05).nonzero()
    return str(int(met[0, 0])) if len(met) else "never"
