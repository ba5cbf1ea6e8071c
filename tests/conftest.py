from typing import Any

import pytest
import torch
from hypothesis import settings
from tests.bench.browsers import NO_BROWSER
from tests.exports import Exports, digest

from torchrrm.kernels import set_threads

# Small operators dominate: more threads only make them wait for each other.
set_threads(1)
torch.set_num_threads(1)

# A shared machine's pauses are no failures, and a run that fails must fail again.
settings.register_profile("torchrrm", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("torchrrm")


@pytest.fixture(scope="session")
def exports(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """Exported files of the bundled policies; exporting takes minutes, so they are kept until a source changes."""
    cache = pytestconfig.cache
    return Exports(
        tmp_path_factory.mktemp("exports") if cache is None else cache.mkdir(f"exported-{digest()}")
    )


@pytest.fixture
def generator() -> torch.Generator:
    """A generator with a fixed seed, new for each test."""
    return torch.Generator().manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run slow tests first, so that none is left for the end, and tests that share exported files in one sequence.

    Workers take sequences of tests: one worker exports, and no other waits for its files.
    """
    items.sort(key=lambda item: "exports" not in getattr(item, "fixturenames", ()))
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


_NO_BROWSER = pytest.StashKey[int]()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Count tests that were skipped for want of a browser."""
    skipped = terminalreporter.stats.get("skipped", [])
    config.stash[_NO_BROWSER] = sum(NO_BROWSER in str(report.longrepr) for report in skipped)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Say in the last line that tests of the page did not run."""
    count = config.stash.get(_NO_BROWSER, 0)
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if count and reporter is not None:
        reporter.write_line(
            f"{count} tests of the HTML page did not run: no browser; `make browser` installs one"
        )
