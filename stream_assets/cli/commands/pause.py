"""`stream-assets pause` and `stream-assets resume`."""

from __future__ import annotations

from typing import Any

import click

from stream_assets.cli.options import command
from stream_assets.cli.session import Session
from stream_assets.cli.show.page import Page


@command("stop one consumer alone")
@click.argument("consumer")
def pause(session: Session, consumer: str) -> None:
    """Stop CONSUMER alone: it demands nothing, and its promise is suspended."""
    _set(session, consumer, is_paused=True)


@command("let a paused consumer go on")
@click.argument("consumer")
def resume(session: Session, consumer: str) -> None:
    """Let CONSUMER go on: what it missed is due."""
    _set(session, consumer, is_paused=False)


def _set(session: Session, name: str, *, is_paused: bool) -> None:
    consumer = session.consumer(name)
    ledger = session.open().lake.ledger
    now = session.clock.now()
    with ledger.transaction():
        known = ledger.sources.consumers().get(name)
        if known is None:
            ledger.sources.meet(name, consumer.code, code_stated=consumer.code_stated, seq=ledger.seq(), now=now)
        was = known.paused_at if known else None
        ledger.sources.pause(name, (was or now) if is_paused else None)
    facts = {
        "consumer": name,
        "is_paused": is_paused,
        "was_paused": was is not None,
        "paused_at": (was or now).isoformat() if is_paused else None,
    }
    session.give(facts, _show)


def _show(facts: dict[str, Any], page: Page) -> None:
    name = facts["consumer"]
    if facts["is_paused"] == facts["was_paused"]:
        page.line(f"{name} was {'paused' if facts['is_paused'] else 'not paused'} already.")
    elif facts["is_paused"]:
        page.line(f"{name} is paused: it demands nothing, its promise is suspended. stream-assets resume {name}")
    else:
        page.line(f"{name} goes on: what it missed is due now. stream-assets run, or Dagster's next tick, does it")
