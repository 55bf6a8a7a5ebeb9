"""One command a file: its options, what it does, and which facts it gives."""
