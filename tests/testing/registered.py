"""Every registered allocator with what judges it, and a sample of instances for it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from tests.testing import association, beams, links, slices

from torchrrm.bench import kind_of, label_of
from torchrrm.policies import (
    BestOf,
    EachSlot,
    Guarded,
    OnlineDual,
    ProportionalFair,
    Refined,
    TimeSharing,
    list_pretrained,
    load_pretrained,
)
from torchrrm.problems import KINDS, ErgodicPower, WeightedSumRate
from torchrrm.setups.links.qos import USUAL_MIN_RATE
from torchrrm.setups.registry import SETUPS
from torchrrm.setups.slicing import SliceSetup
from torchrrm.setups.workbench import Setup
from torchrrm.solvers import (
    WMMSE,
    BeamformingBound,
    ErgodicDualBound,
    FractionalProgramming,
    GeometricProgram,
    HeBF,
    ITLinQ,
    MaxPower,
    QosWMMSE,
    StrongestLink,
)
from torchrrm.testing import Expected

SAMPLES: Mapping[str, tuple[Any, Expected]] = {
    "slicing": (slices.sample, slices.SLICE),
    "sum-rate": (links.sample, links.LINKS),
    "qos-sum-rate": (links.sample, links.LINKS),
    "ergodic-power": (links.sample_ergodic, links.ERGODIC),
    "urllc": (beams.sample, beams.BEAMS),
    "association": (association.sample, association.CELLS),
    "fair-association": (association.sample, association.FAIR_CELLS),
}
"""By the name of a setup."""
CUT_SHORT: Mapping[tuple[str, str], Callable[[], Any]] = {
    ("ergodic-power", "dual-bound"): partial(ErgodicDualBound, steps=6, starts=1),
    ("urllc", "beamforming-bound"): partial(BeamformingBound, max_nodes=50),
    ("urllc", "he-bf"): partial(HeBF, max_steps=1, max_programs=2),
    ("qos-sum-rate", "geometric-program"): partial(GeometricProgram, USUAL_MIN_RATE, max_steps=3),
    ("qos-sum-rate", "qos-wmmse"): partial(QosWMMSE, USUAL_MIN_RATE, max_steps=3),
    ("sum-rate", "fractional-programming"): partial(FractionalProgramming, max_steps=5),
    ("ergodic-power", "fractional-programming"): lambda: EachSlot(FractionalProgramming(max_steps=5)),
}
"""They need not converge to be tried."""
FIXED_SIZE = {"central-power-5": 5, "central-power-20": 20}


@dataclass(frozen=True)
class Registered:
    """An allocator by its name, made for instances of a precision."""

    name: str
    make: Callable[[torch.dtype], Any]
    problem: Any
    sample: Any
    expected: Expected


def setups() -> Iterator[Setup[Any, Any]]:
    """Those of the registry, slices of all kinds."""
    for setup in SETUPS.values():
        yield from map(SliceSetup, KINDS.values()) if isinstance(setup, SliceSetup) else (setup,)


def _small(batch_size: int, *, generator: torch.Generator) -> Any:
    return association.network(batch_size, 4, 3, generator=generator)


def careless(expected: Expected) -> Expected:
    """Of rules that do not look at minimum rates."""
    return replace(expected, violation={**expected.violation, "min_rate": torch.inf})


def of_fixed_size(sample: Any, size: int, batch_size: int, *, generator: torch.Generator) -> Any:
    """The sample with links in the number that a policy is made for."""
    return sample(batch_size, generator=generator, links=size)


def _serving(setup: Setup[Any, Any], name: str, dtype: torch.dtype) -> Any:
    return setup.serving(load_pretrained(name).to(dtype))


def registered() -> list[Registered]:
    """Solvers and pretrained policies of every setup, and compositions."""
    found = []
    for setup in setups():
        sample, expected = SAMPLES[setup.name]
        for name, make in setup.solvers.items():
            made = CUT_SHORT.get((setup.name, name), make)
            source = _small if name == "exhaustive" else sample
            rules = careless(expected) if kind_of(made()) == "trivial" else expected
            solver = lambda dtype, made=made: made()  # noqa: E731
            found.append(
                Registered(f"{label_of(setup.problem)}/{name}", solver, setup.problem, source, rules)
            )
        for name in list_pretrained():
            if isinstance(load_pretrained(name), setup.policies):
                source = partial(of_fixed_size, sample, FIXED_SIZE[name]) if name in FIXED_SIZE else sample
                policy = partial(_serving, setup, name)
                found.append(
                    Registered(f"{label_of(setup.problem)}/{name}", policy, setup.problem, source, expected)
                )
    return found + list(compositions())


def compositions() -> Iterator[Registered]:
    """Each way to compose, of a policy where it takes one."""
    gnn = partial(_serving, SETUPS["sum-rate"], "power-gnn")
    one, many = WeightedSumRate(), ErgodicPower()
    for name, make in {
        "refined": lambda dtype: Refined(gnn(dtype), WMMSE(), 2),
        "best-of": lambda dtype: BestOf([gnn(dtype), MaxPower(), StrongestLink()], one),
        "guarded": lambda dtype: Guarded(gnn(dtype), MaxPower(), one),
    }.items():
        yield Registered(name, make, one, links.sample, links.LINKS)
    for name, make in {
        "each-slot": lambda dtype: EachSlot(gnn(dtype)),
        "online-dual": lambda dtype: OnlineDual(WMMSE()),
        "time-sharing": lambda dtype: TimeSharing(MaxPower()),
        "proportional-fair": lambda dtype: ProportionalFair(ITLinQ()),
    }.items():
        yield Registered(name, make, many, links.sample_ergodic, links.ERGODIC)


ALL = registered()
"""Every one of them."""
