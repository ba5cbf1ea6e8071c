"""The commands: frozen dataclasses whose fields are their options, and the rooms do the work.

`Case` are the options that belong to one problem, and what it makes of them. The rooms are imported when a
command runs, so that `torchrrm --help` needs neither torch nor numba.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, Protocol, TypeVar

from rich.console import Console
from tyro.conf import Positional, arg

from torchrrm.cli.options import (
    FileOrNone,
    FilePath,
    Folder,
    FolderOrNone,
    Names,
    ProblemName,
    Run,
    print_notes,
    progress_bar,
    settings,
)

if TYPE_CHECKING:
    import torch

    from torchrrm.problems import Task
    from torchrrm.setups.workbench import Given, Setup

__all__ = [
    "Adapt",
    "Allocate",
    "Benchmark",
    "Demo",
    "Evaluate",
    "Export",
    "List",
    "Reproduce",
    "Train",
    "Warm",
]


class OfSetup(Protocol):
    """Options that tell one setup of a problem."""

    def setup(self) -> "Setup[Any, Any]": ...


class OfAllocation(OfSetup, Protocol):
    """Options that tell an instance of a snapshot, and who allocates it."""

    @property
    def allocator(self) -> str: ...
    def find(self, name: str) -> Any: ...
    def given(self, snapshot: Any, drop: int, generator: "torch.Generator") -> "Given[Any]": ...
    def keep(self, given: "Given[Any]", action: Any, about: dict[str, Any]) -> None: ...


class OfDraws(Protocol):
    """Options that tell where instances are drawn from, and what they are called in tables."""

    def task(self, setup: Any) -> "Task[Any, Any]": ...
    @property
    def setting(self) -> str: ...


class OfAdaptation(OfSetup, OfDraws, Protocol): ...


class OfSetups(OfDraws, Protocol):
    """Options that tell several setups with the same draws."""

    def setups(self) -> "Sequence[Setup[Any, Any]]": ...


class OfEvaluation(OfSetups, Protocol):
    @property
    def allocators(self) -> str: ...
    def given(self, drawn: Any, generator: "torch.Generator") -> "Given[Any]": ...


class OfTraining(OfSetups, Protocol):
    def new_policy(self, seed: int) -> Any: ...


AllocationCase = TypeVar("AllocationCase", bound=OfAllocation)
EvaluationCase = TypeVar("EvaluationCase", bound=OfEvaluation)
TrainingCase = TypeVar("TrainingCase", bound=OfTraining)
AdaptationCase = TypeVar("AdaptationCase", bound=OfAdaptation)
ExportCase = TypeVar("ExportCase", bound=OfSetup)


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Allocate a slice of a ray-traced Munich cell with every method: a table, a map, an HTML report."""

    out: Folder = Path("out/demo")
    """Where the figure and the report go."""
    run: Run = field(default_factory=Run)

    def __call__(self, line: str) -> None:
        from torchrrm.files import locked
        from torchrrm.recipes import demo

        self.run.begin()
        with locked(self.out):
            results = demo.run(demo.DemoSettings(out=self.out, seed=self.run.seed, command=line))
        self.run.keep(results)


@dataclass(frozen=True, kw_only=True)
class Allocate(Generic[AllocationCase]):
    """Allocate one instance: all users, or all links, of a snapshot."""

    snapshot: Positional[str]
    """A .npz or .csv file, a DeepMIMO folder, or a bundled one by its name; of cells and urllc also a scenario."""
    out: FilePath
    """The allocation, a user or a link a row: .csv, .npz or .json."""
    problem: ProblemName = "slicing"
    """What is allocated; give it before --help to see the options of that problem."""
    drop: int = 0
    """Which drop of the snapshot."""
    html: FileOrNone = None
    """Write a page that shows the allocation beside those of the trivial rules."""
    case: AllocationCase
    run: Run = field(default_factory=Run)

    def __call__(self, line: str) -> None:
        import torch

        from torchrrm import records
        from torchrrm.bench import Results, label_of
        from torchrrm.bench.columns import check_format, write_columns
        from torchrrm.setups import workbench

        check_format(self.out)
        generator = self.run.begin()
        setup, name = self.case.setup(), self.case.allocator
        allocator = workbench.find_allocator(name, setup)
        given = self.case.given(self.case.find(self.snapshot), self.drop, generator)
        setup.validate(given.instance)
        print_notes(given.notes)
        with torch.no_grad():
            action = allocator(given.instance)
            columns, told = setup.columns(given, action), workbench.told(setup, given, action)
        about = {"command": line, "problem": label_of(setup.problem), "attribution": given.attribution}
        self.case.keep(given, action, about)
        write_columns(self.out, {name: value.numpy() for name, value in columns.items()}, about)
        Console().print(f"{told}; wrote {self.out}", highlight=False, soft_wrap=True)
        better = workbench.better_rule(setup, given, name, action)
        if better is not None:
            Console().print(better, highlight=False, soft_wrap=True)
        rows = workbench.judge(setup, records.stack([given.instance]), {name: allocator}, given.setting)
        results = Results(command=line, seed=self.run.seed, rows=rows, settings=settings(self))
        if self.html is not None:
            others = workbench.find_allocators([], setup)
            scene = workbench.scene_of(setup, given, {name: allocator, **others})
            workbench.write_report(self.html, results, setup, [scene] if scene else [])
        self.run.show(results, setup.display)


@dataclass(frozen=True, kw_only=True)
class Evaluate(Generic[EvaluationCase]):
    """Score allocators on the same random instances; the trivial rules are in every table."""

    problem: ProblemName = "slicing"
    """What is allocated; give it before --help to see the options of that problem."""
    instances: int = 100
    """How many instances."""
    html: FileOrNone = None
    """Write a report that stands alone."""
    case: EvaluationCase
    run: Run = field(default_factory=Run)

    def __call__(self, line: str) -> None:
        from torchrrm.bench import Results
        from torchrrm.setups import workbench

        if self.instances < 1:
            raise ValueError(f"instances: must be at least 1, received {self.instances}")
        setups, rows, scenes = self.case.setups(), [], []
        for setup in setups:
            allocators = workbench.find_allocators(self.case.allocators.split(","), setup)
            task = self.case.task(setup)
            generator = self.run.begin()
            drawn = setup.validate(task.sample(self.instances, generator=generator))  # the same of each setup
            rows += workbench.judge(setup, drawn, allocators, self.case.setting)
            if self.html is not None:
                scenes.append(workbench.scene_of(setup, self.case.given(drawn, generator), allocators))
        results = Results(command=line, seed=self.run.seed, rows=rows, settings=settings(self))
        if self.html is not None:
            workbench.write_report(self.html, results, setups[0], [scene for scene in scenes if scene])
        self.run.show(results, setups[0].display)


@dataclass(frozen=True, kw_only=True)
class Train(Generic[TrainingCase]):
    """Train a policy; a run that is stopped goes on from its checkpoint."""

    out: FilePath
    """The weights."""
    problem: ProblemName = "slicing"
    """What is allocated; give it before --help to see the options of that problem."""
    steps: int = 1500
    """Gradient steps."""
    batch_size: int = 32
    """Instances a step."""
    learning_rate: float = 1e-3
    """Of Adam; the loss is in bit/s/Hz, of urllc in nat."""
    checkpoint: FileOrNone = None
    """Where the run keeps its state, and goes on from; if not given, beside the weights, until the command ends."""
    tensorboard: FolderOrNone = None
    """Write the loss for TensorBoard."""
    case: TrainingCase
    run: Run = field(default_factory=Run)

    @property
    def _state(self) -> Path:
        return self.checkpoint or self.out.with_name(f"{self.out.name}.checkpoint")

    def resume_hint(self) -> str:
        return f"the same command goes on from {self._state}"

    def __call__(self, line: str) -> None:
        from torchrrm import learning
        from torchrrm.bench import Results
        from torchrrm.policies.weights import save_weights
        from torchrrm.setups import workbench

        generator = self.run.begin()
        tasks = [(setup, self.case.task(setup)) for setup in self.case.setups()]
        policy = self.case.new_policy(self.run.seed)
        how = learning.TrainerSettings(
            steps=self.steps, batch_size=self.batch_size, learning_rate=self.learning_rate
        )
        traces = learning.RunSettings(checkpoint=self._state, tensorboard=self.tensorboard)
        setup, given = tasks[0][0], settings(self)
        loss = workbench.trainable(setup).loss(policy)
        learning.train(loss, [task for _, task in tasks], how, generator=generator, run=traces)
        save_weights(self.out, policy, workbench.provenance(line, self.run.seed, given))
        rows = workbench.judge_on(tasks, {"trained": policy}, self.case.setting, generator)
        self.run.show(Results(command=line, seed=self.run.seed, rows=rows, settings=given), setup.display)
        if self.checkpoint is None:
            self._state.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class Adapt(Generic[AdaptationCase]):
    """Fine-tune a policy to new channels, or a new kind of service, by a few gradient steps."""

    policy: Positional[str]
    """A policy that `torchrrm list` names, or a file of weights."""
    out: FilePath
    """The adapted weights."""
    problem: ProblemName = "slicing"
    """What is allocated; give it before --help to see the options of that problem."""
    epochs: int = 10
    """Gradient steps."""
    samples: int = 32
    """Instances a step."""
    learning_rate: float = 1e-4
    """Of Adam; the loss is in bit/s/Hz, of urllc in nat."""
    case: AdaptationCase
    run: Run = field(default_factory=Run)

    def __call__(self, line: str) -> None:
        from torchrrm import learning
        from torchrrm.bench import Results
        from torchrrm.policies.weights import save_weights
        from torchrrm.setups import workbench

        generator, given = self.run.begin(), settings(self)
        setup = workbench.trainable(self.case.setup())
        policy, task = workbench.find_policy(self.policy, setup), self.case.task(setup)
        how = learning.FineTuneSettings(
            steps=self.epochs, samples=self.samples, learning_rate=self.learning_rate
        )
        adapted = workbench.adapted(setup, policy, task, how, generator)
        save_weights(self.out, adapted, workbench.provenance(line, self.run.seed, given))
        both = {"zero-shot": policy, f"after {self.epochs} epochs": adapted}
        rows = workbench.judge_on([(setup, task)], both, self.case.setting, generator)
        self.run.show(Results(command=line, seed=self.run.seed, rows=rows, settings=given), setup.display)


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

    def resume_hint(self) -> str:
        return f"the same command goes on from what is done in {self.out}"

    def __call__(self, line: str) -> None:
        from torchrrm.recipes import RECIPES
        from torchrrm.setups import workbench
        from torchrrm.setups.registry import display_of

        self.run.begin()
        recipe = workbench.find("recipe", self.recipe, RECIPES)
        results = recipe(scale=self.scale, out=self.out, seed=self.run.seed, command=line)
        self.run.show(results, display_of(results))


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Compare every allocator on every problem that it serves, in settings of papers, hard ones and Munich."""

    out: Folder
    """Where leaderboard.json, .md and .html go; a stopped run goes on there."""
    problems: Names = ""
    """Problems that `torchrrm list` names, separated by commas; all of them by default."""
    scale: Literal["smoke", "quick", "full"] = "quick"
    """smoke takes a minute or two on two idle cores, quick some minutes, full half an hour."""
    processes: int = 2
    """How many work at the same time, of one thread each; 0 works in this one."""
    run: Run = field(default_factory=Run)

    def resume_hint(self) -> str:
        return f"the same command goes on from what is done in {self.out}"

    def __call__(self, line: str) -> None:
        from torchrrm.bench import console
        from torchrrm.recipes.benchmark import benchmark
        from torchrrm.recipes.benchmark.board import terminal_summary

        self.run.begin()
        results = benchmark(
            problems=self.problems.split(",") if self.problems else (),
            scale=self.scale,
            out=self.out,
            seed=self.run.seed,
            command=line,
            processes=self.processes,
        )
        console().print(terminal_summary(results))
        Console().print(f"{len(results.rows)} rows; wrote {self.out / 'leaderboard.html'}", highlight=False)
        self.run.keep(results)


@dataclass(frozen=True, kw_only=True)
class Export(Generic[ExportCase]):
    """Export a policy to ONNX, with any number of instances and users or links, and check it against torch."""

    policy: Positional[str]
    """A policy that `torchrrm list` names, or a file of weights."""
    out: FilePath
    """The .onnx file."""
    problem: ProblemName = "slicing"
    """What is allocated; give it before --help to see the options of that problem."""
    case: ExportCase
    run: Run = field(default_factory=Run)

    def __call__(self, line: str) -> None:
        from torchrrm.bench import Results
        from torchrrm.deploy import export
        from torchrrm.setups import workbench

        self.run.begin()
        policy, given = workbench.find_exported(self.policy, self.case.setup()), settings(self)
        export(policy, self.out, provenance=workbench.provenance(line, self.run.seed, given))
        self.run.keep(Results(command=line, seed=self.run.seed, rows=[], settings=given))
        Console().print(f"wrote {self.out}", highlight=False)


@dataclass(frozen=True, kw_only=True)
class List:
    """List what goes by a name: problems and kinds, scenarios, snapshots, solvers, policies, recipes."""

    run: Run = field(default_factory=Run)

    def __call__(self, line: str) -> None:
        from rich.table import Table

        from torchrrm.bench import Results
        from torchrrm.recipes import RECIPES
        from torchrrm.setups import registry

        names = registry.names() | {"recipes": list(RECIPES)}
        table = Table(box=None, pad_edge=False, show_header=False)
        for what, known in names.items():
            table.add_row(what, ", ".join(known) or "none")
        Console().print(table)
        self.run.keep(Results(command=line, seed=self.run.seed, rows=[], settings=names))


@dataclass(frozen=True, kw_only=True)
class Warm:
    """Compile the kernels ahead, so that no command, service or test waits for it."""

    families: Names = ""
    """Kernels to compile: association, beams, links, loops, slicing, separated by commas; all of them by default."""
    processes: Annotated[int | None, arg(metavar="N")] = None
    """How many work at the same time; as many as there are processors if not given."""

    def __call__(self, line: str) -> None:
        from torchrrm.kernels import max_threads
        from torchrrm.kernels.warm import FAMILIES, count_steps, warm

        families = self.families.split(",") if self.families else list(FAMILIES)
        for family in families:
            if family not in FAMILIES:
                raise ValueError(f"families: must be of {', '.join(FAMILIES)}, received {family!r}")
        processes = max_threads() if self.processes is None else self.processes
        if processes < 1:
            raise ValueError(f"processes: must be at least 1, received {processes}")
        began = time.perf_counter()
        with progress_bar("compiling kernels", count_steps(families)) as advance:
            for _ in warm(families, processes=processes):
                advance()
        seconds = time.perf_counter() - began
        Console().print(f"kernels of {', '.join(families)} are compiled ({seconds:.0f} s)", highlight=False)
