"""What is still logged when a process or a thread ends: why it crashed, and every line that waits."""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.util import Finalize, register_after_fork
from types import FrameType, TracebackType

from ...core import logging as chain

_log = chain.get_logger(__name__)


def log_crash_of_thread(crash: threading.ExceptHookArgs) -> None:
    """Log what ended a thread, where a traceback would be no line of the log."""
    if crash.exc_type is not SystemExit:
        _log.error("thread.crashed", thread=crash.thread.name if crash.thread else None, exc_info=crash.exc_value)


def log_crash(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """Log what ended the process; Ctrl-C is no crash."""
    if not issubclass(kind, KeyboardInterrupt):
        _log.critical("process.crashed", exc_info=error)


def report_crashes() -> None:
    """Make what ends a thread or the process a line of the log."""
    threading.excepthook = log_crash_of_thread
    sys.excepthook = log_crash


class _End:
    """What is to be done before the process ends; None until it was prepared."""

    close: Callable[[], object] | None = None


def close_at_the_end(close: Callable[[], object]) -> None:
    """Let no line be lost when the process ends: at exit, and at a SIGTERM that nobody handles.

    Args:
        close: Brings all lines to their sinks; called again after a fork, and a second time does no harm.

    """
    if _End.close is not None:
        return
    _End.close = close
    atexit.register(close)
    # A child of `multiprocessing` forgets what was registered before the fork, and never gets to `atexit`.
    register_after_fork(_End, _close_at_the_end_of_a_child)
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def _close_at_the_end_of_a_child(_key: object) -> None:
    Finalize(None, _close, exitpriority=0)


def _close() -> None:
    if _End.close is not None:
        _End.close()


def _terminate(number: int, _frame: FrameType | None) -> None:
    _close()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
