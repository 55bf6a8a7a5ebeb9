"""`python -m stream_assets.cli`, where the console script is not installed."""

from stream_assets.cli import main

main()
