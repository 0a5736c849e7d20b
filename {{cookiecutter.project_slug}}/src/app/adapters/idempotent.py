"""`@idempotent`: a function whose effect happens once per key, whoever calls it how often.

    @idempotent(key="order_id")
    def fulfil(work: SyncUnitOfWork, order_id: UUID) -> Receipt: ...

    fulfil(order_id)

A repetition gets an equal result of the same type, without the function running again. Only results are kept: after an
exception what the function did is undone, its key is free, and the next call runs it again.

A function with a parameter `work` is given a unit of work that commits when the function is done; no caller passes it.
With the SQL store the record commits in the same transaction, so the effect happens exactly once. With any other store,
or without `work`, the effect comes first and the record after it: at most once per lease, as after a crash between the
two nobody knows of the effect when the lease is over.

What runs within another open unit of work, as an endpoint does, should not call an idempotent function on SQLite: the
function claims its key in a transaction of its own, and one of the two would wait for the other.
"""

import inspect
from collections.abc import Callable, Generator
from functools import wraps
from types import EllipsisType
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from ..core.idempotency import ANONYMOUS, REFUSALS, RETRY_AFTER, Claim, Outcome, new_claim
from ..core.idempotency_answer import Answer
from ..core.idempotency_call import WORK, CallReader, Chosen, Names, pauses
from ..core.idempotency_errors import IdempotencyInProgressError, IdempotencyNotReplayableError, IdempotencyStoreError
from ..core.idempotency_result import ResultCodec
from ..core.unit_of_work import UnitOfWork
from .idempotency_binding import Driver, Idempotency, current_idempotency
from .idempotency_lease import Lease

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
W = TypeVar("W", bound=UnitOfWork)
# Each step yields what a store or the function returned: the result itself, or what it can be awaited from.
Steps = Generator[Any, Any, R]
SUCCESS = 200


class _Decorator(Protocol):
    """For type checkers: a unit of work that is the first parameter, or the first after `self`, is not the caller's."""

    @overload
    def __call__(self, function: Callable[Concatenate[W, P], R], /) -> Callable[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[S, W, P], R], /) -> Callable[Concatenate[S, P], R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...


def idempotent(
    *,
    key: Chosen,
    ttl: float | None = None,
    lease: float | None = None,
    wait: float = 0.0,
    name: str | None = None,
    caller: Chosen | None = None,
    fingerprint: Names | EllipsisType | None = ...,
) -> _Decorator:
    """Make a function idempotent, whether it is `def` or `async def`, a method or not.

    The decorated function raises `IdempotencyInProgressError` while the same call runs elsewhere,
    `IdempotencyKeyReusedError` when the key was used with other arguments, `IdempotencyNotReplayableError` when the
    result was too large to be kept, `IdempotencyStoreError` when the store fails and the settings say `reject`, and
    `IdempotencyUsageError` when an argument or the result is of a kind that cannot be served.

    Args:
        key: The name of the argument that is the key, several names, or a function of arguments, by their names.
        ttl: Seconds for which the result is kept, instead of the setting's.
        lease: Seconds after which the key of a process that died may be taken over, instead of the setting's.
        wait: Seconds for which a call waits for the same one that runs elsewhere, before it raises.
        name: What keys are scoped to; by default the function's module and qualified name. Give one when the function
            may be moved or renamed while results are kept.
        caller: For whom it is called, given as `key` is: keys of two callers are two keys, and all of a caller's
            records can be deleted together. By default nobody, for a task has no caller.
        fingerprint: The arguments that must be equal when the key comes again: by default all but those of the key and
            `self`; the names of some; None for none, as when they may differ from one attempt to the next.

    Raises:
        TypeError: What is decorated is no function, or a generator.
        ValueError: A name is none of the function's, or a duration is not allowed.

    """
    for label, seconds in (("ttl", ttl), ("lease", lease)):
        if seconds is not None and seconds <= 0:
            msg = f"@idempotent: received {label}={seconds!r}; allowed: seconds above zero, or None for the setting's"
            raise ValueError(msg)
    if wait < 0:
        msg = f"@idempotent: received wait={wait!r}; allowed: seconds from zero on"
        raise ValueError(msg)

    def decorate(function: Any) -> Any:
        if isinstance(function, staticmethod | classmethod):
            return type(function)(decorate(function.__func__))
        _refuse_unsuitable(function)
        reader = CallReader(function, key=key, caller=caller, fingerprint=fingerprint)
        return _wrapped(_Operation(function, reader, name or reader.name, ttl, lease, wait))

    return cast("_Decorator", decorate)


def _refuse_unsuitable(function: Any) -> None:
    is_generator = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    if not inspect.isfunction(function) or is_generator:
        kind = "a generator, whose values cannot be kept" if is_generator else f"a {type(function).__qualname__}"
        msg = f"@idempotent: received {function!r}, {kind}; allowed: def and async def"
        raise TypeError(msg)


class _Operation:
    """A decorated function and how it is treated."""

    def __init__(
        self,
        function: Callable[..., Any],
        reader: CallReader,
        name: str,
        ttl: float | None,
        lease: float | None,
        wait: float,
    ) -> None:
        self.function = function
        self.reader = reader
        self.name = name
        self.codec = ResultCodec(function, name)
        self.ttl = ttl
        self.lease = lease
        self.wait = wait


def _wrapped(operation: _Operation) -> Callable[..., Any]:
    function = operation.function

    @wraps(function)
    async def call_async(*args: Any, **kwargs: Any) -> Any:
        idempotency = current_idempotency(operation.name)
        return await _drive_async(_Call(operation, idempotency, idempotency.asynchronous, args, kwargs).steps())

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        idempotency = current_idempotency(operation.name)
        return _drive(_Call(operation, idempotency, idempotency.synchronous, args, kwargs).steps())

    wrapper: Any = call_async if inspect.iscoroutinefunction(function) else call
    wrapper.__signature__ = operation.reader.signature
    wrapper.__annotations__ = {name: kind for name, kind in function.__annotations__.items() if name != WORK}
    return cast("Callable[..., Any]", wrapper)


async def _drive_async(steps: Steps[R]) -> R:
    """Await each step, and give its result or its exception back."""
    advance, given = steps.send, None
    while True:
        try:
            step = advance(given)
        except StopIteration as end:
            return cast("R", end.value)
        try:
            advance, given = steps.send, await step
        except BaseException as error:  # noqa: BLE001 -- what becomes of it, the steps decide
            advance, given = steps.throw, error


def _drive(steps: Steps[R]) -> R:
    """Give each step's result back: without an event loop it is there at once."""
    given = None
    while True:
        try:
            given = steps.send(given)
        except StopIteration as end:
            return cast("R", end.value)


class _Call:
    """One call, step by step, the same with an event loop and without."""

    def __init__(
        self, operation: _Operation, idempotency: Idempotency, driver: Driver, args: Any, kwargs: dict[str, Any]
    ) -> None:
        self._operation = operation
        self._settings = idempotency.settings
        self._journal = idempotency.journal
        self._driver = driver
        self._arguments = operation.reader.bind(args, kwargs)
        self._ttl = operation.ttl or self._settings.ttl
        self._lease = operation.lease or self._settings.lease
        # Whether the claim was completed or lost, or may have been completed: then it is not released.
        self._ended = False
        self._held: Lease | None = None

    def steps(self) -> Steps[Any]:
        claim = self._claim()
        decision = yield from self._begin(claim)
        if decision is None:
            return (yield from self._run(None))
        if decision.outcome is Outcome.RUN:
            return (yield from self._run(claim))
        if decision.outcome is Outcome.REPLAY:
            return self._replay(decision.answer, claim)
        error = REFUSALS[decision.outcome]()
        raise error

    def _claim(self) -> Claim:
        reader = self._operation.reader
        return new_claim(
            caller=reader.caller(self._arguments, ANONYMOUS),
            operation=("function", self._operation.name),
            key=reader.key(self._arguments),
            fingerprint=reader.fingerprint(self._arguments),
        )

    def _begin(self, claim: Claim) -> Steps[Any]:
        """Return the store's decision, or None when the function runs unprotected because the store failed."""
        left = pauses(self._operation.wait)
        while True:
            try:
                decision = yield self._driver.store.begin(claim, lease=self._lease, ttl=self._ttl)
            except IdempotencyStoreError as error:
                self._journal.cannot_begin(error)
                return None
            pause = next(left, None) if decision.outcome is Outcome.IN_PROGRESS else None
            if pause is None:
                self._journal.decided(decision, claim)
                return decision
            yield self._driver.sleep(pause)

    def _replay(self, answer: Answer, claim: Claim) -> Any:
        try:
            return self._operation.codec.decode(answer.body or b"")
        except ValueError as error:
            # Kept under another return annotation, or damaged: the function ran, and does not run again in silence.
            self._journal.damaged(claim)
            raise IdempotencyNotReplayableError from error

    def _run(self, claim: Claim | None) -> Steps[Any]:
        if claim is not None:
            self._held = self._driver.keeper.hold(claim, self._lease)
        work = None
        try:
            work = self._driver.open_work() if self._operation.reader.takes_work else None
            return (yield from self._finish(claim, work))
        except GeneratorExit:
            # The event loop is gone: nothing can be awaited any more, and the lease will end.
            self._ended, self._held, work = True, None, None
            raise
        finally:
            self._let_go()
            yield from self._close(None if self._ended else claim, work)
            if self._held is not None and self._held.is_under_way:
                yield self._driver.keeper.settle(self._held)

    def _let_go(self) -> None:
        if self._held is not None:
            self._driver.keeper.let_go(self._held)

    def _note_loss(self) -> None:
        if self._held is not None:
            self._driver.keeper.lost(self._held)

    def _finish(self, claim: Claim | None, work: Any) -> Steps[Any]:
        given = self._operation.reader.with_work(self._arguments, work)
        result = yield self._operation.function(*given.args, **given.kwargs)
        body, kept = self._operation.codec.encode(result)
        answer = Answer(SUCCESS, (), body if len(body) <= self._settings.max_response_bytes else None)
        # A renewal would wait for the record that the transaction is about to hold, and then find it complete.
        self._let_go()
        is_within = work is not None and self._driver.store.transactional
        if claim is not None and is_within:
            yield from self._keep_within(claim, answer, work)
        if work is not None:
            yield from self._commit(work, may_be_released=is_within)
        self._ended = True
        if claim is not None and not is_within:
            yield from self._keep_after(claim, answer)
        return kept

    def _keep_within(self, claim: Claim, answer: Answer, work: Any) -> Steps[None]:
        """Keep the result in the function's transaction, or undo that when the claim was lost."""
        store = self._driver.store
        if not (yield store.complete(claim, answer, ttl=self._ttl, transaction=work)):
            self._ended = True
            self._note_loss()
            raise IdempotencyInProgressError(retry_after=RETRY_AFTER)

    def _commit(self, work: Any, *, may_be_released: bool) -> Steps[None]:
        """Make the work last; interrupted, nobody knows whether it does, and only a record within it tells."""
        try:
            yield work.commit()
        except Exception:
            raise
        except BaseException:
            self._ended = not may_be_released
            raise

    def _keep_after(self, claim: Claim, answer: Answer) -> Steps[None]:
        """Keep the result of what lasts already: nothing that fails here may keep it from the caller."""
        try:
            if not (yield self._driver.shield(self._driver.store.complete(claim, answer, ttl=self._ttl))):
                self._note_loss()
        except IdempotencyStoreError as error:
            self._journal.answer_lost(error)

    def _close(self, claim: Claim | None, work: Any) -> Steps[None]:
        """Undo what was not committed, then free the key: on SQLite it would wait for the transaction in vain."""
        try:
            if work is not None:
                yield self._driver.close_work(work)
        finally:
            if claim is not None:
                try:
                    yield self._driver.shield(self._driver.store.release(claim))
                except IdempotencyStoreError as error:
                    self._journal.release_failed(error)
