"""Does the work of a plan: observe, ingest, compact, run consumers, verify. Knows no Dagster.

`Pipeline` is the one door: Dagster's asset bodies, the command line and tests all call it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_assets.pipeline.outcome import Outcome, Report
    from stream_assets.pipeline.pipeline import Pipeline

__all__ = ["Outcome", "Pipeline", "Report"]


def __getattr__(name: str) -> Any:
    """Load what needs pyarrow only when it is asked for: declaring a project needs none of it."""
    if name == "Pipeline":
        from stream_assets.pipeline.pipeline import Pipeline

        return Pipeline
    if name in ("Outcome", "Report"):
        from stream_assets.pipeline import outcome

        return getattr(outcome, name)
    raise AttributeError(f"module 'stream_assets.pipeline' has no attribute {name!r}")
