"""Coverage-guided fuzzing of one target by libFuzzer, through atheris; see `campaign.py`.

A fault does not end it: the first input of each kind is kept in the folder, with its traceback, and the search goes on.
"""

import inspect
import random
import resource
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import atheris  # pyright: ignore[reportMissingImports]

__all__ = ["all_targets", "fuzz"]

MODULES = [
    *(
        "torchrrm.channels.snapshot",
        "torchrrm.policies.weights",
        "torchrrm.learning.checkpoint",
        "torchrrm.files",
    ),
    *(
        "torchrrm.bench.results",
        "torchrrm.setups.demands",
        "torchrrm.setups.workbench",
        "torchrrm.deploy",
        "torchrrm.cli",
    ),
]
"""Whose branches count as coverage."""
_SEEDS, _LONGEST, _MEMORY = 60, 400, 12 * 2**30


def all_targets() -> dict[str, Any]:
    """The targets by name, and what they run instrumented."""
    from tests.fuzz.targets import TARGETS

    # Function by function: an import that is instrumented takes all of the package with it, compiled kernels too.
    for name in sorted(sys.modules):
        if name.startswith(tuple(MODULES)):
            _instrument(sys.modules[name])
    return TARGETS


def _instrument(module: Any) -> None:
    for part in list(vars(module).values()):
        owned = (
            vars(part).values() if inspect.isclass(part) and part.__module__ == module.__name__ else [part]
        )
        for function in owned:
            if inspect.isfunction(function) and function.__module__ == module.__name__:
                atheris.instrument_func(function)  # pyright: ignore[reportAttributeAccessIssue]


def fuzz(target: Any, folder: Path, options: list[str]) -> None:
    """Fuzz until the options of libFuzzer say stop, which ends the process."""
    import torch
    from tests.fuzz.verdict import kind_of

    from torchrrm.kernels import set_threads

    set_threads(1)
    torch.set_num_threads(1)

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))  # absurd sizes fail at once
    memory = Path("/dev/shm")  # files are written and read for every input: not on a disk, if that can be
    work, corpus = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None)), folder / "corpus"
    corpus.mkdir()
    run, draws = target.make(work), random.Random(0)
    seeds = target.seeds(work) + [draws.randbytes(draws.randrange(_LONGEST)) for _ in range(_SEEDS)]
    for number, seed in enumerate(seeds):
        (corpus / f"{number}").write_bytes(seed)
    known: set[str] = set()

    def one(data: bytes) -> None:
        try:
            run(data)
        except Exception as error:
            kind = kind_of(error)
            if kind not in known:
                known.add(kind)
                (folder / f"fault-{len(known)}.bin").write_bytes(data)
                told = "".join(traceback.format_exception(error))
                (folder / f"fault-{len(known)}.txt").write_text(
                    f"{kind}\n{told}", "utf-8", "backslashreplace"
                )

    longest = max(4 * _LONGEST, *(2 * len(seed) for seed in seeds))
    options = [*options, f"-max_len={longest}", "-len_control=0", str(corpus)]
    atheris.Setup([sys.argv[0], *options], one, enable_python_coverage=True)
    atheris.Fuzz()
