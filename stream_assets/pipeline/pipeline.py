"""The one door to the work: plan it, ask for it, do it, whoever calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

from stream_assets.core.declaration import Declarations
from stream_assets.core.planning import HEAL, LedgerState, Plan, Rule, Work, plan
from stream_assets.core.window import TimeWindow
from stream_assets.lake.ledger import Lease
from stream_assets.lake.publish import sweep
from stream_assets.pipeline.filling import Filling
from stream_assets.pipeline.observe import declare, ledger_state, observe
from stream_assets.pipeline.outcome import Progress, Report, silent
from stream_assets.pipeline.ranges import Ranges
from stream_assets.pipeline.retention import clear_leaving, remove_planned
from stream_assets.pipeline.running import Running
from stream_assets.pipeline.site import holding

_SWEEP, _SWEEP_EVERY = "sweep", timedelta(minutes=10)


class Pipeline(Ranges):
    """Plans and does the work of one project. What Dagster runs and what the command line runs is this."""

    def streams_alone(self) -> Pipeline:
        """Return the same without consumers: what is due then are the closed days of streams, and what is to go."""
        return Pipeline(replace(self.site, declarations=Declarations(self.declarations.streams, ())))

    # Planning.

    def declare(self) -> None:
        """Record the consumers as this process loaded them."""
        declare(self.declarations, self.lake.ledger, self.clock.now())

    def observe(self) -> dict[str, str]:
        """Bring the ledger up to date with the world; returns by stream what a silent source said."""
        return observe(self.site)

    def state(self, stopped: frozenset[str] = frozenset()) -> LedgerState:
        """Return what the planner reads."""
        return ledger_state(self.site, stopped)

    def plan(self, stopped: frozenset[str] = frozenset()) -> Plan:
        """Return what is to be asked for now. `stopped`: automations that a person has stopped."""
        return plan(self.declarations, self.state(stopped), self.calendar, self.clock.now())

    def rule(self) -> Rule:
        """Return the rule as it stands now."""
        return self.site.rule(self.state())

    def request(self, automation: str, stopped: frozenset[str] = frozenset()) -> tuple[Plan, list[tuple[Work, Lease]]]:
        """Look, plan, and record what `automation` is about to ask for: one tick of an automation.

        The requests are in the ledger before this returns, in the same transaction as the plan was made from, so two
        callers never ask for the same work.
        """
        self.lake.refuse_copy()
        silent = self.observe()
        if automation == HEAL:
            self._tidy()
        now = self.clock.now()
        is_batch = any(c.is_batch and c.name == automation for c in self.declarations.cadences)
        if not is_batch:
            # It is awake again, so `heal` leaves its boundaries to it; a batch cadence has one turn, after this.
            self.lake.ledger.work.stay_awake(automation, now)
            planned = _heard(self.plan(stopped), silent)
            if not planned.of(automation):
                return planned, []  # as most looks find: it has kept nobody from writing
        with self.lake.ledger.transaction():
            planned = _heard(self.plan(stopped), silent)
            due = planned.of(automation)
            runs = [work for work in due if not work.removes]
            requests = [(work, self.lake.ledger.work.request(work, now)) for work in runs or due]
            if is_batch:
                self.lake.ledger.work.tick(automation, now)
        if runs:
            return planned, requests
        self._let_go(requests)
        return planned, []

    def _let_go(self, requests: list[tuple[Work, Lease]]) -> None:
        """Remove within the tick what is not kept: nothing is made, so there is no partition that a run could tell of.

        Only where the tick asks for no run: whoever kills it meanwhile leaves none behind that is in flight and nobody's.
        """
        try:
            for work, lease in requests:
                self.run_work(work, lease.id)
        except BaseException as error:
            for _, lease in requests:
                self.lake.ledger.work.drop(lease.id, str(error) or type(error).__name__, self.clock.now())
            raise

    def _tidy(self) -> None:
        """Sweep staging, where ten minutes ago nobody did."""
        work, now = self.lake.ledger.work, self.clock.now()
        swept = work.ticks().get(_SWEEP)
        if swept is None or not timedelta(0) <= now - swept[0] < _SWEEP_EVERY:
            work.tick(_SWEEP, now)
            sweep(self.lake.layout, now)
            clear_leaving(self.site)

    def forget_columns(self, stream: str) -> None:
        """Forget which columns a stream has; the next read learns them from the files that it does not replace."""
        with self.lake.ledger.transaction():
            self.lake.ledger.sources.know_columns(stream, None)

    # Doing.

    def run(
        self,
        *,
        begin: Callable[[Work], None] = lambda _: None,
        progress: Progress = silent,
        rounds: int = 1000,
        only: Callable[[Work], bool] = lambda _: True,
    ) -> Iterator[tuple[Work, list[Report]]]:
        """Do everything that is due, in the planner's order, until nothing is; yields each piece of work when done.

        Safe beside other callers and beside Dagster: what is in flight elsewhere is left alone. Stopped in the middle
        (by any exception), it gives its lease back.

        Args:
            begin: told of each piece of work before it is done.
            progress: told of each partition.
            rounds: most pieces of work.
            only: whether a piece of work is wanted; the others stay due.
        """
        self.lake.refuse_copy()
        self._tidy()
        for _ in range(rounds):
            self.observe()
            with self.lake.ledger.transaction():
                work = next(filter(only, self.plan().works), None)
                if work is None:
                    return
                lease = self.lake.ledger.work.request(work, self.clock.now())
            try:
                begin(work)
                reports = self.run_work(work, lease.id, progress=progress)
            except BaseException as error:
                self.lake.ledger.work.drop(lease.id, str(error) or type(error).__name__, self.clock.now())
                raise
            yield work, reports

    def run_work(
        self, work: Work, request: int, *, run_id: str = "command", progress: Progress = silent
    ) -> list[Report]:
        """Do one piece of work that was requested: its tables in order; returns a report for each."""
        if work.removes:
            return remove_planned(self.site, work, request)
        reports: list[Report] = []
        for table in work.tables:
            with self.running(table, work.span, request=request, run_id=run_id, reason=work.reason) as running:
                reports.append(self.fill(table, work.span, running, progress=progress))
        return reports

    def give_back(self, running: Running, error: str) -> None:
        """Let go of work of which a table failed: what was to follow for the good partitions is due again at once."""
        self.lake.ledger.work.drop(running.request, error, self.clock.now())

    @contextmanager
    def running(
        self,
        table: str,
        span: TimeWindow,
        *,
        request: int | None = None,
        run_id: str = "command",
        reason: str = "",
        accepts_loss: bool = False,
        is_mending: bool = False,
    ) -> Iterator[Running]:
        """Hold a lease on the filling of one table, as a step of requested work or on its own."""
        self.lake.refuse_copy()
        with holding(self.site, request, table, self.table(table).grain, span) as lease:
            is_planned = request is not None
            yield Running(lease, run_id, reason or "asked by a person", is_planned, accepts_loss, is_mending)

    def fill(self, table: str, span: TimeWindow, running: Running, *, progress: Progress = silent) -> Report:
        """Fill the partitions of `table` in `span`.

        Planned work makes what is due and confirms the rest; work by hand makes every partition again, and publishes
        those whose content differs.

        Raises:
            UsageError: terminal; a range that cannot be filled: open days, unsettled windows, before the first partition.
        """
        target = self.table(table)
        around = self.declarations.around(target.stream.name if target.stream else target.name)
        return Filling(replace(self.site, declarations=around)).fill(target, span, running, progress)


def _heard(planned: Plan, silent: dict[str, str]) -> Plan:
    """Let every automation say which sources could not be asked, and what they said."""
    if not silent:
        return planned
    heard = "; ".join(f"the source of {stream!r} cannot be asked: {error}" for stream, error in silent.items())
    return replace(planned, says={name: f"{said}; {heard}" for name, said in planned.says.items()})
