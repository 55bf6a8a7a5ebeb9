"""What is lent to Arrow comes back before anything else is done: its threads outlive the reader that they read for."""

from __future__ import annotations

import gc
import io
import threading
import weakref
from pathlib import Path

import pytest

from stream_assets.errors import SourceError
from stream_assets.sources.files import FileEvents, delimited, jsonl
from stream_assets.sources.files.opening import Lending, Stream
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


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("is_stopped_early", [False, True])
def test_a_reader_of_text_waits_for_what_it_lent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, is_stopped_early: bool
) -> None:
    lent: list[weakref.ref[object]] = []
    waited: list[int] = []

    class Watched(Lending):
        def __call__(self, stream: Stream) -> Stream:
            lent.append(weakref.ref(stream))
            return super().__call__(stream)

        def __exit__(self, *_: object) -> None:
            super().__exit__()
            waited.append(sum(ref() is not None for ref in lent))

    monkeypatch.setattr(delimited if kind == "csv" else jsonl, "Lending", Watched)
    monkeypatch.setattr(delimited if kind == "csv" else jsonl, "BLOCK_BYTES", 100)
    rows = [event(n / 100) for n in range(200)]
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)] if kind == "csv" else rows
    put(tmp_path, f"a.{kind}", *lines)
    for _ in FileEvents(str(tmp_path), kind).read(HOUR, now=NOW):
        if is_stopped_early:
            break
    assert lent
    assert waited
    assert set(waited) == {0}


def test_after_a_row_that_cannot_be_read_nothing_is_held_either(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", ",".join(event(0)), *(",".join(event(n).values()) for n in range(3)), "x")
    with pytest.raises(SourceError):
        list(FileEvents(str(tmp_path), "csv").read(HOUR, now=NOW))
    assert not [held for held in gc.get_objects() if isinstance(held, delimited._Checked)]
