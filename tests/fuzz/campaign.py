"""The bounded campaign of `make fuzz`: every target in turn, from fixed seeds, each in a fork of this process.

`campaign.py [TARGET ...]` prints a line a target and, if all were run, writes `docs/results/fuzz.json` and `.txt`. Its
exit code is 1 if there was a fault; the inputs are then in `out/fuzz`.
"""

import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from tests.fuzz.one_target import all_targets, fuzz  # noqa: E402

TARGETS = all_targets()

from torchrrm.bench import source_commit  # noqa: E402
from torchrrm.files import atomic_write_text, to_json  # noqa: E402

_OUT, _RESULTS = ROOT / "out" / "fuzz", ROOT / "docs" / "results"
_SEED = 1
_RESIDENT_MB = 4096
_STATUS = re.compile(r"#(\d+)\s+(?:INITED|DONE|NEW|REDUCE|pulse)\s+cov: (\d+)")


def campaign(names: list[str]) -> list[dict[str, Any]]:
    """What each target came to."""
    shutil.rmtree(_OUT, ignore_errors=True)
    rows = []
    for name in names:
        rows.append(_fuzzed(name))
        print(_line(rows[-1]), flush=True)
    return rows


def _fuzzed(name: str) -> dict[str, Any]:
    folder = _OUT / name
    folder.mkdir(parents=True)
    options = [
        f"-runs={TARGETS[name].runs}",
        f"-max_total_time={TARGETS[name].seconds}",
        f"-seed={_SEED}",
        "-timeout=120",
    ]
    options += [
        f"-rss_limit_mb={_RESIDENT_MB}",  # of the whole process; see `verdict` for that of an input
        f"-artifact_prefix={folder}/crash-",
        "-verbosity=1",
        "-print_final_stats=1",
    ]
    begin = time.perf_counter()
    code = _forked(name, folder, options)
    told = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
    steps = [(int(number), int(edges)) for number, edges in _STATUS.findall(told)]
    faults = [
        path.read_text(encoding="utf-8", errors="replace").splitlines()[0]
        for path in folder.glob("fault-*.txt")
    ]
    crashes = [path.name for path in folder.glob("crash-*")]
    if code != 0 and not crashes:
        crashes = [f"exit code {code}"]
    return {
        "target": name,
        "inputs": max((number for number, _ in steps), default=0),
        "edges_of_seeds": steps[0][1] if steps else 0,
        "edges": max((edges for _, edges in steps), default=0),
        "faults": sorted(faults) + crashes,
        "seconds": round(time.perf_counter() - begin, 1),
    }


def _forked(name: str, folder: Path, options: list[str]) -> int:
    """Exit code of the target's process, which writes a log."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    log = os.open(folder / "log.txt", os.O_CREAT | os.O_WRONLY, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    fuzz(TARGETS[name], folder, options)
    os._exit(0)


def _line(row: dict[str, Any]) -> str:
    edges = f"{row['edges_of_seeds']:6} -> {row['edges']:<6}"
    told = "".join(f"\n    {fault}" for fault in row["faults"])
    return f"{row['target']:16} {row['inputs']:8} {edges} {len(row['faults']):7} {row['seconds']:8.0f}{told}"


def main() -> int:
    names = sys.argv[1:] or list(TARGETS)
    head = f"{'target':16} {'inputs':>8} {'edges':16} {'faults':>7} {'seconds':>8}"
    print(head, flush=True)
    rows = campaign(names)
    faults, inputs = sum(len(row["faults"]) for row in rows), sum(row["inputs"] for row in rows)
    total = f"{'all':16} {inputs:8} {'':16} {faults:7} {sum(row['seconds'] for row in rows):8.0f}"
    print(total)
    if len(names) == len(TARGETS):
        told = {
            "schema": 1,
            "command": "make fuzz",
            "commit": source_commit(),
            "seed": _SEED,
            "targets": rows,
        }
        atomic_write_text(_RESULTS / "fuzz.json", to_json(told, indent=2) + "\n")
        atomic_write_text(_RESULTS / "fuzz.txt", "\n".join([head, *map(_line, rows), total]) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
