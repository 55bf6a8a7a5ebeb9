"""Does the work of a plan: observe, ingest, compact, run consumers, verify. Knows no Dagster.

`Pipeline` is the one door: Dagster's asset bodies, the command line and tests all call it.
"""

from stream_assets.pipeline.outcome import Outcome, Report
from stream_assets.pipeline.pipeline import Pipeline

__all__ = ["Outcome", "Pipeline", "Report"]
