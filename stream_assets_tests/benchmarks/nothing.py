"""A code location without anything in it: what Dagster itself costs."""

import dagster as dg

defs = dg.Definitions()
