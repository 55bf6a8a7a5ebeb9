"""Computes what commands tell, in JSON's types. Instants are UTC in ISO 8601, durations seconds, ranges `[start, end)`."""
