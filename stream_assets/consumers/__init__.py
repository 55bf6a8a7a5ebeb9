"""The project's consumers, one a file: a new file is found by itself."""
