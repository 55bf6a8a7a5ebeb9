"""Where events come from: a file or package an outside system, each with the promises of `protocol.Source`.

Declarations are light: pyarrow and numpy are imported when a source is asked for events, so that a project
can be loaded, listed and planned without them.
"""
