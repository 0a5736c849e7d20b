"""What `python -m app.daemon publish '<json>'` does: send one message, as it was written, with the time."""

import asyncio
import sys
import time
from uuid import uuid4

from ..adapters.dead_letter_command import broker_away
from ..adapters.message_publisher import MessagePublisher
from ..core.errors import BrokerError
from ..core.messages import Message, MessageUnreadableError, read_message
from ..core.task_headers import SENT_AT
from ..settings import ConfigurationError
from .configuration import DaemonSettings

# Seconds after which a broker that does not answer is given up.
TIMEOUT = 5.0


def publish(settings: DaemonSettings, text: str) -> int:
    """Send a message, say its id, and return the process's exit code.

    Args:
        settings: Which broker, and which queue.
        text: The message, as JSON; one without an id is given one.

    """
    try:
        message = read_message(text, {SENT_AT: time.time()}, default_id=str(uuid4()))
        asyncio.run(_send(settings, message))
    except MessageUnreadableError as error:
        sys.stderr.write(f"message: {error}\n")
        return 2
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except BrokerError as error:
        sys.stderr.write(f"{broker_away(settings.broker_url, error)}\n")
        return 1
    sys.stdout.write(f"published {message.id}\n")
    return 0


async def _send(settings: DaemonSettings, message: Message) -> None:
    messages = MessagePublisher(settings, queue=settings.daemon.queue, timeout=TIMEOUT)
    try:
        await messages.send([message])
    finally:
        await messages.aclose()
