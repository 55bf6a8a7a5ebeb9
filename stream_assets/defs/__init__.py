"""Dagster's face: partitions, resources, assets, checks, automations. Thin: every body is one call into `pipeline/`."""

from stream_assets.defs.build import build_definitions

__all__ = ["build_definitions"]
