"""The commands of the README, and the same with small sizes."""

import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALLER = {
    "evaluate": {"--instances": "2", "--users": "5", "--links": "3", "--slots": "4", "--stations": "4"},
    "train": {"--steps": "2", "--users": "5"},
    "adapt": {"--epochs": "1", "--users": "5"},
    "reproduce": {"--scale": "smoke"},
    "benchmark": {"--scale": "smoke"},
}
OF_PROBLEM = {
    "slicing": {"--users"},
    "sum-rate": {"--links"},
    "qos-sum-rate": {"--links"},
    "ergodic-power": {"--links", "--slots"},
    "urllc": {"--users"},
    "association": {"--users", "--stations"},
    "fair-association": {"--users", "--stations"},
    "demands": set(),
}


def commands() -> list[str]:
    """Lines of the README that call the command line."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("torchrrm ") and "COMMAND" not in line]


def smaller(line: str) -> list[str]:
    """The command's arguments with other sizes, as far as they are options of the problem."""
    arguments = shlex.split(line)[1:]
    problem = arguments[arguments.index("--problem") + 1] if "--problem" in arguments else "slicing"
    foreign = set().union(*OF_PROBLEM.values()) - OF_PROBLEM[problem]
    for option, value in SMALLER.get(arguments[0], {}).items():
        if option in arguments:
            arguments[arguments.index(option) + 1] = value
        elif option not in foreign:
            arguments = [*arguments, option, value]
    return arguments
