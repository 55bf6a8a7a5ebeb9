"""What a person sees: a page of Dagster's UI, drawn by a headless Chromium."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""The browser of this machine; None where there is none."""

_QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]


def seen(url: str, profile: Path, *, patience: float = 120) -> str:
    """Return the text of a page as it stands after 20 seconds of the page's own time, which pass while nothing is loading.

    Args:
        url: of the page.
        profile: an empty folder for the browser to write to.
        patience: seconds until the browser must have ended.
    """
    assert CHROMIUM is not None
    command = [CHROMIUM, *_QUIET, f"--user-data-dir={profile}", "--virtual-time-budget=20000", "--dump-dom", url]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=patience, check=True).stdout
    return html.unescape(re.sub(r"<(script|style)\b.*?</\1>|<[^>]+>", " ", dom, flags=re.DOTALL))
