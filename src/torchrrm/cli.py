"""The command line: `torchrrm demo | allocate | train | adapt | evaluate | reproduce | export | list`.

A command is a frozen dataclass whose fields are its options, and the rooms do the work. They are imported
when a command runs, so that `torchrrm --help` needs neither torch nor numba.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import tyro
from rich.console import Console
from tyro.conf import Positional, arg, subcommand

if TYPE_CHECKING:
    import torch

    from torchrrm.bench import Results
    from torchrrm.recipes.slices import SliceSource, SliceTerms

__all__ = ["main", "run"]

FilePath = Annotated[Path, arg(metavar="FILE")]
FileOrNone = Annotated[Path | None, arg(metavar="FILE")]
Folder = Annotated[Path, arg(metavar="DIR")]
FolderOrNone = Annotated[Path | None, arg(metavar="DIR")]
Name = Annotated[str, arg(metavar="NAME")]
ProblemName = Literal["slicing"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What every command takes."""

    seed: int = 0
    """Of every random number."""
    threads: int = 1
    """Threads of the processor; small operators are fastest on one."""
    json: FileOrNone = None
    """Write the results with commit, device, threads, seed and settings."""

    def begin(self) -> "torch.Generator":
        """Set the threads, and return the generator that random numbers come from."""
        import numba
        import torch

        most = len(os.sched_getaffinity(0))
        if not 1 <= self.threads <= most:
            raise ValueError(f"threads: must be 1 to {most} on this machine, received {self.threads}")
        torch.set_num_threads(self.threads)
        numba.set_num_threads(self.threads)
        return torch.Generator().manual_seed(self.seed)

    def keep(self, results: "Results") -> None:
        """Write the results where `--json` says."""
        if self.json is not None:
            results.to_json(self.json)

    def show(self, results: "Results") -> None:
        """Print the results, and keep them."""
        from torchrrm.bench.report import circumstances, console, terminal_table
        from torchrrm.recipes.workbench import DISPLAY

        console().print(terminal_table(results, DISPLAY))
        console().print(circumstances(results), style="dim", soft_wrap=True)
        self.keep(results)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the slice has, and what it owes its users."""

    bandwidth_hz: float = 100e6
    """Bandwidth of the slice."""
    min_rate_bps: float = 10e6
    """Rate that each scheduled user gets at least."""
    power_dbm: float = 23.0
    """Transmit power of a user."""

    def linear(self) -> "SliceTerms":
        """The same in linear units."""
        from torchrrm.recipes.slices import SliceTerms
        from torchrrm.units import dbm_to_watt

        return SliceTerms(self.bandwidth_hz, self.min_rate_bps, dbm_to_watt(self.power_dbm))


@dataclass(frozen=True, kw_only=True)
class Channels:
    """Where slices come from: random users of a snapshot, or random drops of a scenario."""

    snapshot: Annotated[str | None, arg(metavar="FILE")] = None
    """A .npz file, a DeepMIMO folder, or munich_cell_uplink, which is bundled."""
    scenario: Annotated[str | None, arg(metavar="NAME")] = None
    """A scenario that `torchrrm list` names."""
    users: int = 50
    """Users of a slice."""

    def source(self, terms: Terms) -> "SliceSource":
        """Slices of these channels."""
        from torchrrm.recipes import slices, workbench

        if self.snapshot is not None and self.scenario is None:
            return slices.SliceSource(workbench.find_snapshot(self.snapshot), self.users, terms.linear())
        if self.scenario is not None and self.snapshot is None:
            return slices.SliceSource(workbench.find_scenario(self.scenario), self.users, terms.linear())
        given = "neither" if self.snapshot is None else "both"
        raise ValueError(f"snapshot, scenario: exactly one must be given, received {given}")

    @property
    def setting(self) -> str:
        """The name of these instances in tables."""
        return f"{Path(self.snapshot or self.scenario or '').name}, {self.users} users"


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Allocate a slice of a ray-traced Munich cell with every method: a table, a map, an HTML report."""

    out: Folder = Path("out/demo")
    """Where the figure and the report go."""
    run: Run = field(default_factory=Run)

    def __call__(self, line: str) -> None:
        from torchrrm.recipes import demo

        self.run.begin()
        results = demo.run(demo.DemoSettings(out=self.out, seed=self.run.seed, command=line))
        self.run.keep(results)


@dataclass(frozen=True, kw_only=True)
class Allocate:
    """Allocate one slice: all users of a snapshot."""

    snapshot: Positional[str]
    """A .npz file, a DeepMIMO folder, or munich_cell_uplink, which is bundled."""
    out: FilePath
    """The allocation, a user a row: .csv, .npz or .json."""
    problem: ProblemName = "slicing"
    """What is allocated."""
    kind: Name = "data-rate"
    """Kind of service; `torchrrm list` names them."""
    allocator: Name = "exact"
    """A solver or policy that `torchrrm list` names, or a file of weights."""
    drop: int = 0
    """Which drop of the snapshot."""
    eavesdropper: int = 0
    """Which of its eavesdroppers listens."""
    terms: Terms = field(default_factory=Terms)
    run: Run = field(default_factory=Run)

    def __call__(self, line: str) -> None:
        from torchrrm import records
        from torchrrm.bench import Results
        from torchrrm.bench.columns import check_format, write_columns
        from torchrrm.recipes import slices, workbench

        check_format(self.out)
        self.run.begin()
        problem = workbench.find_kind(self.kind)
        allocator = workbench.find_allocator(self.allocator, problem)
        snapshot = workbench.find_snapshot(self.snapshot)
        cell = slices.cell_slice(
            snapshot, self.terms.linear(), drop=self.drop, eavesdropper=self.eavesdropper
        )
        problem.validate(cell)
        columns = slices.allocation_columns(
            problem, cell, allocator(cell), slices.positions(snapshot, self.drop)
        )
        about = {"command": line, "problem": problem.name, "attribution": snapshot.attribution}
        write_columns(self.out, columns, about)
        scheduled, users = int(columns["scheduled"].sum()), len(columns["scheduled"])
        note = "" if scheduled else ": the slice is too small for any of them"
        Console().print(f"{scheduled} of {users} users scheduled{note}; wrote {self.out}", highlight=False)
        setting = f"{snapshot.name}, drop {self.drop}"
        rows = workbench.judge(problem, records.stack([cell]), {self.allocator: allocator}, setting)
        self.run.show(Results(command=line, seed=self.run.seed, rows=rows, settings=asdict(self)))


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score allocators on the same random slices; the trivial rules are in every table."""

    problem: ProblemName = "slicing"
    """What is allocated."""
    kind: Name = "data-rate"
    """Kinds of service, separated by commas, or all."""
    allocators: Annotated[str, arg(metavar="A,B")] = "exact,greedy-blocks"
    """Solvers and policies that `torchrrm list` names, or files of weights, separated by commas."""
    instances: int = 100
    """How many slices."""
    html: FileOrNone = None
    """Write a report that stands alone."""
    channels: Channels = field(default_factory=Channels)
    terms: Terms = field(default_factory=Terms)
    run: Run = field(default_factory=Run)

    def __call__(self, line: str) -> None:
        from torchrrm.bench import Results
        from torchrrm.recipes import slices, workbench

        if self.instances < 1:
            raise ValueError(f"instances: must be at least 1, received {self.instances}")
        source = self.channels.source(self.terms)
        names = workbench.with_trivial(self.allocators.split(","))
        rows = []
        for problem in workbench.find_kinds(self.kind):
            allocators = {name: workbench.find_allocator(name, problem) for name in names}
            task = slices.slice_task(problem, source)
            drawn = task.sample(self.instances, generator=self.run.begin())  # the same drops for each kind
            rows += workbench.judge(problem, problem.validate(drawn), allocators, self.channels.setting)
        results = Results(command=line, seed=self.run.seed, rows=rows, settings=asdict(self))
        if self.html is not None:
            workbench.write_report(self.html, results)
        self.run.show(results)


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a policy; a run that is stopped goes on from its checkpoint."""

    out: FilePath
    """The weights."""
    problem: ProblemName = "slicing"
    """What is allocated."""
    kind: Name = "all"
    """Kinds of service to train for, separated by commas, or all."""
    features: Literal["raw", "log", "marginal"] = "marginal"
    """What the policy reads of a user; one set of marginal weights serves all kinds."""
    steps: int = 1500
    """Gradient steps."""
    batch_size: int = 32
    """Slices a step."""
    learning_rate: float = 1e-3
    """Of Adam; the loss is in bit/s/Hz."""
    checkpoint: FileOrNone = None
    """Where the run keeps its state, and goes on from."""
    tensorboard: FolderOrNone = None
    """Write the loss for TensorBoard."""
    channels: Channels = field(default_factory=Channels)
    terms: Terms = field(default_factory=Terms)
    run: Run = field(default_factory=Run)

    def __call__(self, line: str) -> None:
        from torchrrm import learning
        from torchrrm.bench import Results
        from torchrrm.policies.weights import save_weights
        from torchrrm.recipes import slices, workbench

        generator = self.run.begin()
        kinds, source = workbench.find_kinds(self.kind), self.channels.source(self.terms)
        policy = workbench.new_policy(kinds[0], self.features, seed=self.run.seed)
        settings = learning.TrainerSettings(
            steps=self.steps, batch_size=self.batch_size, learning_rate=self.learning_rate
        )
        traces = learning.RunSettings(checkpoint=self.checkpoint, tensorboard=self.tensorboard)
        tasks = [slices.slice_task(problem, source) for problem in kinds]
        learning.train(workbench.policy_loss(policy), tasks, settings, generator=generator, run=traces)
        save_weights(self.out, policy, workbench.provenance(line, self.run.seed, asdict(self)))
        rows = workbench.judge_on(tasks, {"trained": policy}, self.channels.setting, generator)
        self.run.show(Results(command=line, seed=self.run.seed, rows=rows, settings=asdict(self)))


@dataclass(frozen=True, kw_only=True)
class Adapt:
    """Fine-tune a policy to new channels or a new kind of service by a few gradient steps."""

    policy: Positional[str]
    """A policy that `torchrrm list` names, or a file of weights."""
    out: FilePath
    """The adapted weights."""
    problem: ProblemName = "slicing"
    """What is allocated."""
    kind: Name = "data-rate"
    """Kind of service to adapt to."""
    epochs: int = 10
    """Gradient steps."""
    samples: int = 32
    """Slices a step."""
    learning_rate: float = 1e-4
    """Of Adam; the loss is in bit/s/Hz."""
    channels: Channels = field(default_factory=Channels)
    terms: Terms = field(default_factory=Terms)
    run: Run = field(default_factory=Run)

    def __call__(self, line: str) -> None:
        from torchrrm import learning
        from torchrrm.bench import Results
        from torchrrm.policies.weights import save_weights
        from torchrrm.recipes import slices, workbench

        generator = self.run.begin()
        problem, policy = workbench.find_kind(self.kind), workbench.find_policy(self.policy)
        task = slices.slice_task(problem, self.channels.source(self.terms))
        settings = learning.FineTuneSettings(
            steps=self.epochs, samples=self.samples, learning_rate=self.learning_rate
        )
        adapted = workbench.adapted(policy, task, settings, generator)
        save_weights(self.out, adapted, workbench.provenance(line, self.run.seed, asdict(self)))
        both = {"zero-shot": policy, f"after {self.epochs} epochs": adapted}
        rows = workbench.judge_on([task], both, self.channels.setting, generator)
        self.run.show(Results(command=line, seed=self.run.seed, rows=rows, settings=asdict(self)))


@dataclass(frozen=True, kw_only=True)
class Reproduce:
    """Reproduce a published system: its figures and tables, with the published numbers beside ours."""

    recipe: Positional[str]
    """A recipe that `torchrrm list` names."""
    out: Folder
    """Where figures, tables and weights go."""
    scale: Literal["smoke", "quick", "full"] = "quick"
    """smoke takes seconds, quick minutes, full is the paper's."""
    run: Run = field(default_factory=Run)

    def __call__(self, line: str) -> None:
        from torchrrm.recipes import RECIPES, workbench

        self.run.begin()
        recipe = workbench.find("recipe", self.recipe, RECIPES)
        self.run.show(recipe(scale=self.scale, out=self.out, seed=self.run.seed, command=line))


@dataclass(frozen=True, kw_only=True)
class Export:
    """Export a policy to ONNX, with any number of slices and users, and check it against torch."""

    policy: Positional[str]
    """A policy that `torchrrm list` names, or a file of weights."""
    out: FilePath
    """The .onnx file."""
    problem: ProblemName = "slicing"
    """What is allocated."""
    kind: Name = "data-rate"
    """Kind of service that the exported policy serves."""
    run: Run = field(default_factory=Run)

    def __call__(self, line: str) -> None:
        from torchrrm.bench import Results
        from torchrrm.deploy import export
        from torchrrm.recipes import workbench

        self.run.begin()
        policy = workbench.find_policy(self.policy).serving(workbench.find_kind(self.kind))
        export(policy, self.out, provenance=workbench.provenance(line, self.run.seed, asdict(self)))
        self.run.keep(Results(command=line, seed=self.run.seed, rows=[], settings=asdict(self)))
        Console().print(f"wrote {self.out}", highlight=False)


@dataclass(frozen=True, kw_only=True)
class List:
    """List what goes by a name: problems and kinds, scenarios, snapshots, solvers, policies, recipes."""

    run: Run = field(default_factory=Run)

    def __call__(self, line: str) -> None:
        from rich.table import Table

        from torchrrm.bench import Results
        from torchrrm.recipes import workbench

        names = workbench.names()
        table = Table(box=None, pad_edge=False, show_header=False)
        for what, known in names.items():
            table.add_row(what, ", ".join(known) or "none")
        Console().print(table)
        self.run.keep(Results(command=line, seed=self.run.seed, rows=[], settings=names))


Command: TypeAlias = (
    Annotated[Demo, subcommand("demo")]
    | Annotated[Allocate, subcommand("allocate")]
    | Annotated[Train, subcommand("train")]
    | Annotated[Adapt, subcommand("adapt")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Reproduce, subcommand("reproduce")]
    | Annotated[Export, subcommand("export")]
    | Annotated[List, subcommand("list")]
)


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code: 0, 2 for bad input, 130 for an interrupt."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    try:
        command = tyro.cli(
            Command,  # pyright: ignore[reportArgumentType]
            prog="torchrrm",
            description="Learned radio resource management: allocate, train, adapt, evaluate, export.",
            args=arguments,
            config=(tyro.conf.OmitArgPrefixes,),
        )
        command(shlex.join(["torchrrm", *arguments]))
    except KeyboardInterrupt:
        errors.print("interrupted")
        return 130
    except (ValueError, OSError) as error:
        errors.print(f"error: {' '.join(str(error).split())}")
        return 2
    return 0


def main() -> None:
    """Entry point of the command `torchrrm`."""
    sys.exit(run(sys.argv[1:]))
