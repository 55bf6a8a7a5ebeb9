"""Fills partitions of one table: makes what is due, confirms the rest, and remembers what failed."""

from __future__ import annotations

from dataclasses import replace

from stream_assets.core.declaration import Table
from stream_assets.core.intervals import Intervals
from stream_assets.core.planning import LedgerState
from stream_assets.core.window import TimeWindow
from stream_assets.pipeline.consume import Consume
from stream_assets.pipeline.ingest import Ingest
from stream_assets.pipeline.observe import ledger_state, observe
from stream_assets.pipeline.outcome import Outcome, Progress, Report
from stream_assets.pipeline.ranges import Ranges
from stream_assets.pipeline.running import Running


class Filling(Ranges):
    """Fills one table. Its site declares what has to do with that, so that it costs the same whatever else there is."""

    def fill(self, target: Table, span: TimeWindow, running: Running, progress: Progress) -> Report:
        """Fill the partitions of `target` in `span`, as `Pipeline.fill` says."""
        heard = observe(self.site, target)
        state = ledger_state(self.site)
        self._refuse(target, span, running)
        early = self._impossible(target, span, state, running) + self._unsettled(target, span, state, heard)
        asked = Intervals.union_of(self.calendar.partitions(span, target.grain)) - Intervals.of(
            *(o.span for o in early)
        )
        due = asked
        if running.is_planned:
            # What this very work holds in flight is due all the same.
            due = self.site.rule(replace(state, in_flight=())).due(target, at_once=True).clip(span)
        outcomes = self._fill(target, due, running, state, progress)
        self._record_failures(target, outcomes, state)
        outcomes += early + self._confirmed(target, asked - due, progress)
        report = Report(target.name, tuple(sorted(outcomes, key=lambda o: o.span)))
        if count := report.count("failed"):
            said = f"{target.name}: {count:,} of {len(report.outcomes):,} partition(s) failed"
            self.lake.ledger.work.note_failed(running.request, said)
        return report

    def _fill(
        self, target: Table, due: Intervals, running: Running, state: LedgerState, progress: Progress
    ) -> list[Outcome]:
        if not due:
            return []
        if target.consumer:
            work = Consume(self.site, target.consumer, state, running, progress)
            horizon = self.site.rule(state).horizon(target)
            return work.partitions(due, upto=horizon.upto if running.is_planned else None)
        stream = target.stream
        assert stream is not None
        ingest = Ingest(self.site, stream, running, progress)
        if target.grain == "5 min":
            return self._fill_windows(ingest, target, due, progress)
        sealed = state.table(stream.daily).coverage
        outcomes: list[Outcome] = []
        whole: list[TimeWindow] = []
        for day in [d for span in due for d in self.calendar.days(span)]:
            late = ingest.reopened.clip(day)
            if running.is_planned and late and sealed.covers(day):
                outcomes += ingest.heal(day, late)
            else:
                whole.append(day)
        again = Intervals.union_of(d for d in whole if sealed.covers(d) and not running.is_planned)
        outcomes += ingest.days([d for d in whole if not again.covers(d)])
        outcomes += ingest.days([d for d in whole if again.covers(d)], read_again=True)
        return outcomes

    def _fill_windows(self, ingest: Ingest, target: Table, due: Intervals, progress: Progress) -> list[Outcome]:
        """Read windows from the source; those of sealed days belong to the day, which heals where they differ."""
        assert target.stream is not None
        sealed = self.lake.ledger.coverage(target.stream.daily)
        outcomes = ingest.windows(due - sealed)
        own = self.lake.ledger.coverage(target.name)
        for span in due & sealed:
            for day in self.calendar.days(span):
                asked = Intervals.of(span.clip(day))
                failed = [o for o in ingest.heal(day, asked & own) if not o.is_good] if asked & own else []
                for window in (w for s in asked & own if failed for w in s.windows()):
                    said, cause = failed[0].error, failed[0].cause
                    # Nothing is remembered of it: a window of a sealed day is never due.
                    outcomes.append(Outcome(target.name, window, "failed", None, said, cause, is_waiting=True))
                outcomes += self._confirmed(target, asked - (own if failed else Intervals()), progress)
        return outcomes

    def _confirmed(self, target: Table, spans: Intervals, progress: Progress) -> list[Outcome]:
        """Confirm sealed partitions from their receipts; one that is not there has not been made."""
        outcomes: list[Outcome] = []
        for span in spans:
            known = {c.span.start: c for c in self.lake.ledger.current(target.name, span)}
            days = self.lake.ledger.coverage(target.stream.daily) if target.stream and target.grain == "5 min" else None
            for partition in self.calendar.partitions(span, target.grain):
                current = known.get(partition.start)
                if current:
                    outcomes.append(Outcome(target.name, partition, "confirmed", current.receipt))
                elif days and days.covers(partition):
                    outcomes.append(Outcome(target.name, partition, "delivered by the day"))
                else:
                    said = (
                        f"{target.name} {self.calendar.key(partition, target.grain)} was not made: what it needs has failed, or it is "
                        "paused, or waits after a failure of its own (`stream-assets status`), or it is not kept any longer"
                    )
                    outcomes.append(Outcome(target.name, partition, "not made", None, said, is_waiting=True))
                progress(outcomes[-1])
        return outcomes

    def _record_failures(self, target: Table, outcomes: list[Outcome], state: LedgerState) -> None:
        """Remember what is to be tried again: not what somebody else has sealed meanwhile, since nobody would try it."""
        if all(outcome.error is None for outcome in outcomes):
            return
        now = ledger_state(self.site)
        reopened = self.site.rule(now).reopened(target)
        known = now.table(target.name)
        sealed = known.coverage - Intervals.union_of(r.span for r in reopened) - known.outdated
        code = target.consumer.code if target.consumer else ""
        upto = None
        if target.consumer:
            upto = self.site.rule(state).horizon(target).upto
        for outcome in outcomes:
            if outcome.error is not None and not outcome.is_waiting and not sealed.covers(outcome.span):
                self.lake.ledger.work.fail(
                    target.name, outcome.span, outcome.error, self.clock.now(),
                    transient=outcome.is_transient, code=code, upto=min(upto, outcome.span.end) if upto else None,
                )  # fmt: skip
