"""`stream-assets doctor`."""

from __future__ import annotations

from typing import Any

from stream_assets.cli.options import command
from stream_assets.cli.session import Session
from stream_assets.cli.show.page import Page
from stream_assets.core.check import Check

_STYLE = {"ok": "", "warning": "yellow", "problem": "red"}


@command("examine disk, ledger, sources and what stands still")
def doctor(session: Session) -> bool:
    """Examine the lake's disk and ledger, the sources, and what stands still, and say what to do; exit 1 on a problem.

    Reads the whole ledger, and answers as well as it can where the lake cannot be opened.
    """
    from stream_assets.errors import StreamAssetsError
    from stream_assets.lake.health import examine as examine_lake
    from stream_assets.pipeline.doctor import examine, versions

    checks = list(examine_lake(session.root(), session.clock.now()))
    try:
        checks += examine(session.open())
    except StreamAssetsError as error:
        checks += [Check("lake", "problem", f"it cannot be opened: {error}"), versions()]
    problems = sum(check.level == "problem" for check in checks)
    facts = {
        "lake": str(session.root()),
        "checks": [{"name": c.name, "level": c.level, "said": c.said, "todo": c.todo} for c in checks],
        "problems": problems,
        "warnings": sum(check.level == "warning" for check in checks),
    }
    session.give(facts, _show)
    return not problems


def _show(facts: dict[str, Any], page: Page) -> None:
    page.line(facts["lake"], "dim")
    for check in facts["checks"]:
        page.line(f"{check['level']:8} {check['name']}: {check['said']}", _STYLE[check["level"]])
        if check["todo"]:
            page.line(f"         {check['todo']}", "dim")
