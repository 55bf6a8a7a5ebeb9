"""Arrow tables of events: schema, conform, deduplicate, route to windows, hash.

Everything works on whole arrays; nothing here reads a clock, a source or the lake. The way of a batch:
`conform` gives it the canonical columns, `route` deals its rows to windows, `dedup` keeps one row an id, and
`hashing` gives the row hashes whose sum is the digest.
"""
