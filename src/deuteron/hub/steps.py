"""Carrying out after-commit steps: third parties' work that follows a commit, and what its failure takes back.

    request ── transaction: rows, and the steps due ──► commit ──► steps, in order ──► done: their rows go, the answer
                                                                     └── one fails ──► what the request made is deleted
                                                                                       again; the error is the answer

A mechanism's steps run one after another in a thread of its own, never in the event loop or the writer's thread, and
each has `BOUND_S` from when it is due. One that is late counts as failed; what it still does is followed by the step of
the deletion, in the same thread.

Invariants:
- A step that was committed has a row until it is done. A crash in between leaves the row, and the next start carries
  the step out again: what cannot be made so then is deleted, and said in the log, for its client is gone.
- A step of a deletion that fails leaves the object deleted. It is said in the log, and tried again at the next start.

Known limit: who carries out a step is known to this process alone; a second API process on the same database would
repeat it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, TypeVar

import structlog

from deuteron.model.errors import ApiError
from deuteron.model.settings import Settings
from deuteron.rules.compute import lifecycle
from deuteron.rules.network import steps as rules
from deuteron.rules.network.steps import AfterCommit, Due, Step, StepFailed
from deuteron.rules.network.undo import undo
from deuteron.store.database import Change, Database, Tx

log = structlog.get_logger("deuteron.hub")

T = TypeVar("T")

BOUND_S: Final = 10.0
"""From when a step is due until it counts as failed; a client waits for it."""
LOOK_S: Final = 1.0
"""How long after a commit it is looked whether it left steps that nobody waits for: those of a host's report, say."""


class MechanismDriverError(ApiError):
    """A mechanism's after-commit step failed: 500, as in Neutron, whatever it was about."""

    default_type = "MechanismDriverError"


class Steps:
    """`finish` what a request's transaction left due; `start` once, for what nobody waits for."""

    def __init__(self, settings: Settings, database: Database, bound_s: float = BOUND_S) -> None:
        self._settings = settings
        self._database = database
        self._bound_s = bound_s
        self._lines: dict[str, _Line] = {listener.name: _Line(listener) for listener in rules.listeners(settings)}
        self._taken: set[int] = set()
        """Numbers of steps that are being carried out, or that failed and wait for the next start."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """In the event loop, before requests: carry out what an earlier process left, and from then on what hosts and
        others have done that wait for no answer."""
        if not self._lines:
            return
        loop = asyncio.get_running_loop()
        with self._database.read() as tx:
            left = rules.pending(tx)

        def heard(revision: int, changes: Sequence[Change]) -> None:
            loop.call_soon_threadsafe(self._wake.set)

        self._database.subscribe(heard)
        self._task = loop.create_task(self._follow(left))

    async def stop(self) -> None:
        """What is not done stays due."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for line in self._lines.values():
            line.close()

    async def finish(self, due: Sequence[Due]) -> None:
        """Carry out the steps of one transaction, in order.

        Raises: ApiError when one failed for an object that was made: all that the transaction made is deleted again.
        """
        self._taken.update(item.number for item in due)
        failed: tuple[Due, ApiError] | None = None
        finished: list[int] = []
        for item in due:
            if failed is not None and item.step.action == "create":
                continue
            error = await self._carry_out(item)
            if error is None:
                finished.append(item.number)
            elif item.step.action == "create":
                failed = (item, error)
        made = [item for item in due if item.step.action == "create"]
        if failed is not None:
            finished = [number for number in finished if number not in {item.number for item in made}]
        await self._write(lambda tx: rules.done(tx, finished))
        self._taken.difference_update(finished)
        if failed is not None:
            await self._take_back(*failed, made)

    async def _take_back(self, failed: Due, error: ApiError, made: Sequence[Due]) -> None:
        """Delete what the transaction made, last first, and tell of that; then raise `error`."""
        log.error(
            "an after-commit step failed, deleting what the request made",
            step=_name(failed.step),
            mechanism=failed.mechanism,
            kind=failed.step.kind,
            id=failed.step.id,
            reason=error.message,
        )
        is_told = False
        follow: list[Due] = []
        for item in reversed(made):
            try:
                told, more = await self._write(functools.partial(self._undo, item, error))
            except ApiError as why:
                # Somebody uses it by now.
                log.error("cannot delete it again", kind=item.step.kind, id=item.step.id, reason=why.message)
                await self._write(functools.partial(rules.done, numbers=(item.number,)))
            else:
                is_told = is_told or told
                follow += more
        self._taken.difference_update(item.number for item in made)
        await self.finish(follow)
        if not is_told:
            raise error

    def _undo(self, item: Due, error: ApiError, tx: Tx) -> tuple[bool, list[Due]]:
        device = undo(tx, self._settings, item.step)
        # Who asked for a server is told by the server, which is in error.
        why = f"Build of instance {device} aborted: Failed to allocate the network(s): {error.message}"
        told = device is not None and lifecycle.abort_build(tx, self._settings, device, why)
        rules.done(tx, (item.number,))
        # Before somebody else can find them.
        self._taken.update(each.number for each in tx.due)
        return told, list(tx.due)

    async def _carry_out(self, item: Due) -> ApiError | None:
        """None when it is done, else the error; that of a deletion is said here, for its client is told of none."""
        line = self._lines.get(item.mechanism)
        if line is None:
            return None  # its mechanism was taken out of the settings since
        future = asyncio.wrap_future(line.put(item.step))
        # One that ends after its time has nobody who asks for it.
        future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        # Not `wait_for`: it may take its cancellation for the end of the step.
        await asyncio.wait((future,), timeout=self._bound_s)
        error: ApiError
        if not future.done():
            if item.step.action == "delete":
                future.add_done_callback(functools.partial(self._ended_late, item))
            error = MechanismDriverError(f"{_name(item.step)} failed: it was not done after {self._bound_s:g} s")
        else:
            failure = future.exception()
            if failure is None:
                return None
            if isinstance(failure, ApiError):
                error = failure
            elif isinstance(failure, StepFailed):
                error = MechanismDriverError(f"{_name(item.step)} failed: {failure}")
            else:
                # A defect of the third party's: the log has it whole, the client is told what failed.
                log.error(
                    "an after-commit step has a defect", mechanism=item.mechanism, id=item.step.id, exc_info=failure
                )
                error = MechanismDriverError(f"{_name(item.step)} failed.")
        if item.step.action == "delete":
            log.error(
                "an after-commit step failed; it is tried again when the API starts",
                step=_name(item.step),
                mechanism=item.mechanism,
                id=item.step.id,
                reason=error.message,
            )
        return error

    def _ended_late(self, item: Due, future: asyncio.Future[None]) -> None:
        """A deletion that was told after its time is told all the same."""
        if not future.cancelled() and future.exception() is None:
            self._database.submit(functools.partial(rules.done, numbers=(item.number,)))

    async def _follow(self, left: Sequence[Due]) -> None:
        self._taken.update(item.number for item in left)
        for item in left:
            log.warning(
                "carrying out a step that was left", mechanism=item.mechanism, action=item.step.action, id=item.step.id
            )
            await self._finish_alone(item)
        seen: set[int] = set()
        while True:
            if not seen:
                await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(LOOK_S)
            with self._database.read() as tx:
                found = [item for item in rules.pending(tx) if item.number not in self._taken]
            # Whoever waits for a step takes it as soon as it hears of its commit: what stays is nobody's.
            for item in found:
                if item.number in seen:
                    await self._finish_alone(item)
            seen = {item.number for item in found} - seen

    async def _finish_alone(self, item: Due) -> None:
        with contextlib.suppress(ApiError):  # the log has it: nobody waits for an answer
            await self.finish([item])

    async def _write(self, function: Callable[[Tx], T]) -> T:
        return await asyncio.wrap_future(self._database.submit(function))


class _Line:
    """The thread in which one mechanism's steps run, in order."""

    def __init__(self, listener: AfterCommit) -> None:
        self._after_commit = listener.after_commit
        self._queue: queue.SimpleQueue[tuple[Step, Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"steps-{listener.name}", daemon=True)
        self._thread.start()

    def put(self, step: Step) -> Future[None]:
        future: Future[None] = Future()
        self._queue.put((step, future))
        return future

    def close(self) -> None:
        self._queue.put(None)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            step, future = item
            try:
                self._after_commit(step)
            except Exception as error:  # whatever it is, the one who waits hears it
                future.set_exception(error)
            else:
                future.set_result(None)


def _name(step: Step) -> str:
    """As ML2 calls it."""
    return f"{step.action}_{step.kind}_postcommit"
