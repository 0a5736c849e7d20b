"""A daemon's life: what it needs is opened in order, its tasks run until it is told to stop, and all is closed again.

    app = Application(settings, services)
    app.use("queue", connected_queue)
    app.supervise("consumer", consumer.run)
    app.before_stop(consumer.drain)
    app.periodically("orders.count", count, interval=60)
    exit_code = asyncio.run(app.run())

On SIGTERM or SIGINT `/readyz` fails at once. What was registered by `before_stop` has most of `SHUTDOWN_TIMEOUT` to end
what is in hand; then the tasks are cancelled, and what was opened is closed, the last first. A second signal ends the
process at once. In a thread that gets no signals `stop` does the same.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import Any

from ..adapters.daemon_metrics import DaemonMetrics
from ..adapters.logging import close_logging
from ..bootstrap import Services
from ..core.health import Check
from ..core.logging import get_logger
from ..core.reporting import ErrorContext
from ..serving.stopping import CLEANUP_SHARE, Stop
from ..settings import ConfigurationError
from .configuration import DaemonSettings
from .periodic import PeriodicJob
from .signals import listening, told_in_a_thread
from .supervisor import AsyncFunction, Supervisor, restart_policy, unless_leaked

log = get_logger(__name__)
Resource = AbstractAsyncContextManager[Any]
LAST_LINES_SECONDS = 0.5


class NotReadyError(Exception):
    """The daemon has not begun to work yet."""


class Application:
    """What a daemon consists of.

    Args:
        settings: How it is set up.
        services: Its parts; closed when it ends.
        stop: What it was told by signals, instead of one that ends the process at a second one.

    """

    def __init__(self, settings: DaemonSettings, services: Services, *, stop: Stop | None = None) -> None:
        self.metrics = DaemonMetrics(services.metrics)
        self._services = services
        self._stop = stop or Stop(settings)
        self._supervisor = Supervisor(
            restart_policy(settings.daemon), metrics=self.metrics, reporting=services.reporting
        )
        self._resources: list[tuple[str, Resource]] = []
        self._functions: dict[str, AsyncFunction] = {}
        self._before_stop: list[AsyncFunction] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told = asyncio.Event()
        self._is_ready = False
        self._opening: str | None = None
        self._starting: asyncio.Task[Any] | None = None
        self._interrupted = False
        self._signal: str | None = None
        services.health.register(Check("daemon", self._check_ready))
        services.health.register(Check("background_tasks", self._supervisor.check))

    def use(self, name: str, resource: Resource) -> None:
        """Open something before the tasks begin, after what was named before it, and close it in the end.

        Args:
            name: What it is called when it cannot be opened or closed.
            resource: Opens and closes it.

        """
        self._resources.append((name, resource))

    def supervise(self, name: str, function: Callable[[], Awaitable[Any]]) -> None:
        """Run a task for as long as the daemon runs; one that crashes begins again, one that returns is done.

        Args:
            name: The task's, in the log and the metrics.
            function: Begins it.

        Raises:
            ValueError: There is a task of this name.

        """
        if name in self._functions:
            msg = f"a background task named {name!r} is there already; each needs a name of its own"
            raise ValueError(msg)
        self._functions[name] = function

    def periodically(
        self, name: str, function: Callable[[], Awaitable[Any]], *, interval: float, first: float | None = None
    ) -> None:
        """Run a job again and again (`PeriodicJob`).

        Args:
            name: The job's, in the log and the metrics.
            function: What it does.
            interval: Seconds from the beginning of a run to that of the next one.
            first: Seconds until the first run; the interval when left out.

        Raises:
            ValueError: There is a task of this name, or the interval is not above 0.

        """
        job = PeriodicJob(
            name,
            function,
            interval=interval,
            first=first,
            services=self._services,
            metrics=self.metrics,
            stopping=lambda: self._stop.has_begun,
        )
        self.supervise(name, job.run)

    def before_stop(self, function: Callable[[], Awaitable[Any]]) -> None:
        """Call a function when the daemon was told to stop, while its tasks still run: to end what is in hand.

        All of these run at the same time, and are cancelled when their time is over.

        Args:
            function: Returns when nothing is in hand any more.

        """
        self._before_stop.append(function)

    def stop(self) -> None:
        """Stop as at a signal. Any thread may call it, also before the daemon runs and after it has ended."""
        if not self._stop.has_begun:
            self._stop.take(signal.SIGTERM)
            self._begin_to_stop()

    async def run(self) -> int:
        """Run until told to stop, and return the process's exit code: 1 when something could not be opened."""
        self._loop = asyncio.get_running_loop()
        with told_in_a_thread(lambda: self._stop.end_in_time(_end)) as end_in_time:

            def take(number: int) -> None:
                if self._stop.take(number):
                    self._signal = self._stop.signal_name
                    # Before anything else: the loop may be held up.
                    end_in_time()
                    self._begin_to_stop()

            with listening(take), self._services.reporting.watching(self._loop):
                if self._stop.has_begun:
                    self._told.set()
                return await self._live()

    def _begin_to_stop(self) -> None:
        """Let nobody send work any more, and wake the daemon; in a signal's handler, or in any thread."""
        self._services.health.shutting_down = True
        if self._loop is not None:
            # It has ended already.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._told.set()
        if self._starting is not None and not self._interrupted:
            # What it waits for may take long, and is needed no more.
            self._interrupted = self._starting.cancel()

    async def _live(self) -> int:
        """Run from the first line to the last one, and return the exit code."""
        log.info("daemon.starting")
        code = 1
        try:
            async with AsyncExitStack() as opened:
                opened.push_async_exit(_closing("services", lambda *_: self._services.aclose()))
                code = await self._try(opened)
        finally:
            log.info("daemon.stopped", signal=self._signal, exit_code=code)
        return code

    async def _try(self, opened: AsyncExitStack) -> int:
        """Open everything, run the tasks, and return the exit code; a failure is told before anything is closed."""
        try:
            if await self._start(opened):
                await self._work()
            else:
                log.info("daemon.stopping", signal=self._signal)
        except ConfigurationError as error:
            print(error, file=sys.stderr)  # noqa: T201 -- whoever starts it reads it there, whatever is logged where
            return 1
        except Exception as error:
            log.exception("daemon.failed", opening=self._opening)
            self._services.reporting.report(error, ErrorContext(operation="daemon"), in_log=True)
            return 1
        finally:
            self._services.health.shutting_down = True
        return 0

    async def _start(self, opened: AsyncExitStack) -> bool:
        """Open everything, in order, and return whether the daemon has not been told to stop meanwhile."""
        task = self._starting = asyncio.current_task()
        try:
            for name, resource in self._resources:
                if self._told.is_set():
                    break
                self._opening = name
                await unless_leaked(resource.__aenter__)
                opened.push_async_exit(_closing(name, resource.__aexit__))
        except asyncio.CancelledError:
            # One that came from elsewhere goes on.
            if task is None or task.cancelling() > self._interrupted:
                raise
        finally:
            self._starting = None
            if task is not None and self._interrupted:
                task.uncancel()
        self._opening = None
        return not self._told.is_set()

    async def _work(self) -> None:
        """Run the tasks until told to stop; none that crashes ends another one."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._supervisor.keep_running(name, function), name=name)
                for name, function in self._functions.items()
            ]
            self._is_ready = True
            log.info("daemon.ready", tasks=list(self._functions))
            await self._told.wait()
            log.info("daemon.stopping", signal=self._signal)
            await self._drain()
            for task in tasks:
                task.cancel()

    async def _drain(self) -> None:
        """Let what is in hand come to its end, within its time; what is cut off then has a part of the rest."""
        timeout = self._services.settings.shutdown_timeout
        seconds = self._stop.seconds_left - timeout * CLEANUP_SHARE / 2
        try:
            async with asyncio.timeout(max(0.0, seconds)), asyncio.TaskGroup() as group:
                for function in self._before_stop:
                    group.create_task(_drained(function))
        except TimeoutError:
            log.warning("daemon.not_drained", timeout=timeout)

    async def _check_ready(self) -> None:
        if not self._is_ready:
            msg = "not begun yet"
            raise NotReadyError(msg)


def _closing(name: str, leave: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[None]]:
    """Return what closes something; a failure is told, and keeps nothing else open."""

    async def close(*raised: Any) -> None:
        try:
            await leave(*raised)
        except Exception:
            log.exception("daemon.not_closed", resource=name)

    return close


async def _drained(function: AsyncFunction) -> None:
    try:
        await function()
    except Exception:
        log.exception("daemon.drain_failed")


def _end() -> None:
    """End a process whose time is over: what neither ends nor can be cancelled is left."""
    log.warning("daemon.cut_off")
    close_logging(LAST_LINES_SECONDS)
    os._exit(0)
