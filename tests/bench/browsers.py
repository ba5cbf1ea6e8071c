"""The browser that tests of the HTML page run in."""

import shutil
from pathlib import Path

NO_BROWSER = "there is no browser on this machine"


def find_browser() -> str | None:
    """Return the path of a Chromium: the system's, or the one that Playwright has installed; `None` without one."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    installed = sorted(Path.home().glob(".cache/ms-playwright/chromium*/*/*headless[_-]shell"))
    return str(installed[-1]) if installed else None
