"""What is lent to Arrow comes back before anything else is done: its threads outlive the reader that they read for."""

from __future__ import annotations

import io
import threading
import weakref
from pathlib import Path

import pytest

from stream_assets.errors import SourceError
from stream_assets.sources.files import FileEvents, delimited
from stream_assets.sources.files.opening import Lending
from stream_assets_tests.sources.test_file_events import HOUR, NOW, event, put


def test_leaving_waits_for_a_thread_that_is_slow_to_let_go() -> None:
    goes_on, is_gone = threading.Event(), list[bool]()

    def hold(held: list[io.BytesIO]) -> None:
        goes_on.wait()
        held.clear()

    with Lending() as lend:
        stream = [lend(io.BytesIO(b"some"))]
        weakref.finalize(stream[0], is_gone.append, True)
        threading.Thread(target=hold, args=(stream,)).start()
        assert is_gone == []
        threading.Timer(0.1, goes_on.set).start()
    assert is_gone == [True]


@pytest.mark.parametrize("is_stopped_early", [False, True])
@pytest.mark.parametrize("last", [event(3), {"event_id": "x"}], ids=["good", "bad"])
def test_after_a_csv_file_nothing_of_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: dict[str, str], is_stopped_early: bool
) -> None:
    lent: list[weakref.ref[delimited._Checked]] = []

    class Watched(delimited._Checked):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            lent.append(weakref.ref(self))

    monkeypatch.setattr(delimited, "_Checked", Watched)
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 100)
    lines = [",".join(map(str, row.values())) for row in (*(event(n / 100) for n in range(200)), last)]
    put(tmp_path, "a.csv", ",".join(event(0)), *lines)
    batches = FileEvents(str(tmp_path), "csv").read(HOUR, now=NOW)
    try:
        for _ in batches:
            if is_stopped_early:
                break
    except SourceError:
        assert "event_time" not in last
    batches.close()
    assert lent
    assert [ref() for ref in lent] == [None] * len(lent)
