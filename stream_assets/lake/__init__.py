"""The lake: event-time Parquet partitions, each published with its receipt in one atomic step, and their ledger."""
