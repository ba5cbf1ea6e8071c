"""What the matrix is about: bundled policies and the problems that they serve, and instances for them."""

import contextlib
import copy
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests.exports import Exports

from torchrrm import cli
from torchrrm.channels.snapshot import Snapshot, save_snapshot
from torchrrm.deploy.session import SERVICES
from torchrrm.policies import load_pretrained
from torchrrm.problems import CellInstance, ErgodicInstance, LinkInstance, MisoInstance, SliceInstance
from torchrrm.records import axis_names
from torchrrm.setups import workbench
from torchrrm.setups.registry import SETUPS

__all__ = [
    "INSTANCES",
    "LINK_PROBLEMS",
    "Files",
    "Subject",
    "allocators",
    "draw_links",
    "over_slots",
    "record",
    "require_done",
    "run_command",
    "sources",
    "subjects",
]

LINK_PROBLEMS = ("sum-rate", "qos-sum-rate")
"""Those whose allocators decide powers of links in one slot, which is what controllers take."""
INSTANCES: Mapping[str, Any] = {
    "slicing": SliceInstance,
    "links": LinkInstance,
    "beams": MisoInstance,
    "association": CellInstance,
}
"""By the name of a service."""
SOURCES = {
    "slicing": ("munich_cell_uplink", [], ["--scenario", "hml", "--users", "5"]),
    "urllc": (
        "urllc",
        ["--users", "3", "--antennas", "8", "--payload-bits", "64"],
        ["--scenario", "urllc", "--users", "3", "--antennas", "8", "--payload-bits", "64"],
    ),
    "association": (
        "hudn",
        ["--users", "5", "--stations", "4"],
        ["--scenario", "hudn", "--users", "5", "--stations", "4"],
    ),
}
"""What commands allocate, with its options, and what they evaluate on; links are made (see `Subject.pairs`)."""
SOURCES["fair-association"] = SOURCES["association"]


def run_command(*line: str) -> tuple[int, str]:
    """Return the exit code of a command and what it printed as errors."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        code = cli.run(line)
    return code, errors.getvalue()


def require_done(*line: str) -> None:
    """Run a command that must end well."""
    code, errors = run_command(*line)
    assert code == 0, errors


@dataclass(frozen=True)
class Files:
    """Where files lie that the checks make.

    Attributes:
        folder: of the files of one run.
        exported: the bundled policies as ONNX files.
    """

    folder: Path
    exported: Exports


@dataclass(frozen=True)
class Subject:
    """A bundled policy on a problem that it serves."""

    problem: str
    name: str
    files: Files = field(compare=False, repr=False)

    @property
    def setup(self) -> Any:
        """Return the setup of the problem."""
        return SETUPS[self.problem]

    @cached_property
    def policy(self) -> Any:
        """Return the policy, of the weights that ship."""
        return load_pretrained(self.name)

    @property
    def exported(self) -> Any:
        """Return what is exported of the policy."""
        return self.setup.exported(self.policy)

    @property
    def fixed(self) -> int | None:
        """Return the number of links that the policy is made for, None if any."""
        return self.deployment.get("links")

    @property
    def deployment(self) -> Mapping[str, Any]:
        """Return what a session needs of the policy; of one that is not exported, of any for links."""
        return getattr(self.exported, "deployment", {"service": "links", "condition": None})

    def draw(self, batch: int, size: int) -> dict[str, Any]:
        """Return random instances as arrays, of the size that the policy is made for if there is one."""
        service = SERVICES[self.deployment["service"]](self.deployment)
        return service.draw(batch, size, np.random.default_rng(size))

    def instances(self, batch: int, size: int) -> Any:
        """Return the same as a record of the problem."""
        drawn = record(INSTANCES[self.deployment["service"]], self.draw(batch, size))
        return over_slots(drawn) if self.problem == "ergodic-power" else drawn

    def allocator(self, dtype: torch.dtype | None = None) -> Any:
        """Return the policy as an allocator of the problem."""
        return self.setup.serving(self.policy if dtype is None else copy.deepcopy(self.policy).to(dtype))


def record(kind: Any, values: Mapping[str, Any]) -> Any:
    """Return a record of arrays, the others left out."""
    return kind(**{name: torch.as_tensor(values[name]) for name in axis_names(kind)})


def over_slots(links: LinkInstance, slots: int = 4) -> ErgodicInstance:
    """Return the links over slots of Rayleigh fading, each with a minimum rate."""
    generator = torch.Generator().manual_seed(0)
    batch, gain = links.active.shape[:-1], links.gain[..., None, :, :]
    fading = torch.empty(*batch, slots, *links.gain.shape[-2:], dtype=gain.dtype).exponential_(
        generator=generator
    )
    return ErgodicInstance(
        gain=gain * fading,
        mean_gain=links.gain,
        noise_power_w=links.noise_power_w,
        max_power_w=links.max_power_w,
        min_rate_bps_hz=torch.full_like(links.weight, 0.5),
        active=links.active,
    )


def sources(on: Subject) -> tuple[str, list[str], list[str]]:
    """Return what commands allocate, with its options, and the options of what they evaluate on."""
    if on.problem in SOURCES:
        return SOURCES[on.problem]
    links = on.fixed or 3
    path = on.files.folder / f"{links}-links.npz"
    if not path.exists():
        drawn = draw_links(1, links)
        save_snapshot(path, Snapshot(gain=drawn["gain"], name="links", attribution="nobody"))
    slots = ["--slots", "4"] if on.problem == "ergodic-power" else []
    return str(path), slots, ["--scenario", "metagnn", "--links", str(links), *slots]


def draw_links(batch: int, links: int) -> dict[str, Any]:
    """Return random links as arrays."""
    return SERVICES["links"]({"condition": None}).draw(batch, links, np.random.default_rng(0))


def subjects(files: Files) -> Iterator[Subject]:
    """Every bundled policy on every problem that it serves."""
    for problem, setup in SETUPS.items():
        for name in workbench.serving_policies(setup):
            yield Subject(problem, name, files)


def allocators() -> Iterator[tuple[str, str]]:
    """Problem and name of every solver of every problem, and of every policy that decides one slot of links."""
    for problem, setup in SETUPS.items():
        policies = workbench.serving_policies(setup) if problem in LINK_PROBLEMS else []
        for name in [*setup.solvers, *policies]:
            yield problem, name
