"""A lake under everything that goes wrong at once: `python -m stream_assets_tests.chaos`, or `make chaos`."""
