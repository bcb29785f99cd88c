"""Where this machine has a Chromium; run as a program it prints the path, or fails when there is none."""

from __future__ import annotations

import os
import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """The path of a Chromium: the one that PORTAL_CHROMIUM names, one on the PATH, or the one of Playwright's own."""
    given = os.environ.get("PORTAL_CHROMIUM")
    found = given or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found:
        return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if os.path.exists(path) else None


if __name__ == "__main__":
    path = find_chromium()
    print(path or "none")
    sys.exit(path is None)
