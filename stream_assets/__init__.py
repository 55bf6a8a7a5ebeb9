"""Declared freshness, the cheapest cadence that keeps it, and the proof. See the README."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stream_assets.consumer import consumer
from stream_assets.core.lateness import Auto

if TYPE_CHECKING:
    from stream_assets.defs import build_definitions
    from stream_assets.pipeline.project import Project, Stream

__all__ = ["Auto", "Project", "Stream", "build_definitions", "consumer"]


def __getattr__(name: str) -> Any:
    """Load what needs more than the standard library only when it is asked for."""
    if name == "build_definitions":
        from stream_assets.defs import build_definitions

        return build_definitions
    if name in ("Project", "Stream"):
        from stream_assets.pipeline import project

        return getattr(project, name)
    raise AttributeError(f"module 'stream_assets' has no attribute {name!r}")
