"""Time and decisions: standard library only, no input or output."""
