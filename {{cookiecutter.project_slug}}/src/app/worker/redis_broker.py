"""Redis as a broker that loses nothing when a worker is killed, and gives its tasks back within seconds.

Kombu's own transport pops a message and writes it among the unacknowledged ones in two steps: a worker that is killed
between them takes it along. And what a worker holds becomes visible again after a fixed time, so this must be longer
than any task takes. Here

- a message moves from the queue to a list of the worker's in one step, and from there to the unacknowledged ones in
  another, so it is always somewhere;
- a thread says every third of the visibility timeout that the worker is alive and holds what it holds, so a short
  timeout is enough for tasks, pauses and retries of any length;
- each worker looks for what others left behind, by the clock of the server.
"""

import threading
import weakref
from queue import Empty
from time import monotonic
from typing import Any
from uuid import uuid4

from kombu.log import get_logger
from kombu.transport import redis, virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps, loads

log = get_logger(__name__)
# Their types know nothing of what is between a channel and its server.
_QoS: Any = redis.QoS
_Channel: Any = redis.Channel
_Transport: Any = redis.Transport
# For how long the name of a worker that is gone is kept: one that only stood still may yet put something there.
FORGET_SECONDS = 86_400
# With several queues: how long one of them is waited on before all are looked at again.
TURN_SECONDS = 0.25
NOW = "local t = redis.call('TIME') local now = t[1] + t[2] / 1000000\n"
# KEYS: queues, then a list for each. From the first queue that has one, take a message.
TAKE = """
local n = #KEYS / 2
for i = 1, n do
    local item = redis.call('LMOVE', KEYS[i], KEYS[n + i], 'RIGHT', 'LEFT')
    if item then return {i, item} end
end
return false
"""
# KEYS: list, unacknowledged messages, index of them. ARGV: message, tag, record. 0: somebody else has it by now.
NOTE = f"""{NOW}
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('ZADD', KEYS[3], now, ARGV[2])
return 1
"""
# KEYS: index, takers. ARGV: how many tags, tags, names of lists.
RENEW = f"""{NOW}
for i = 2, #ARGV do
    if i <= ARGV[1] + 1 then redis.call('ZADD', KEYS[1], 'XX', now, ARGV[i])
    else redis.call('ZADD', KEYS[2], now, ARGV[i]) end
end
"""
# KEYS: takers. ARGV: seconds, what lists begin with, seconds after which a name is forgotten. A name is 32 characters,
# a colon and the queue.
GIVE_BACK = f"""{NOW}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[1])) do
    while redis.call('LMOVE', ARGV[2] .. name, string.sub(name, 34), 'LEFT', 'RIGHT') do end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])
"""


class QoS(_QoS):  # type: ignore[misc]
    """What a channel has taken and not acknowledged.

    Attributes:
        held: The tags of it; a thread reads them.

    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.held: dict[str, None] = {}

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a message as taken; one that was polled for is noted already."""
        if self.channel.noted == delivery_tag:
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)
        self.held[delivery_tag] = None

    def ack(self, delivery_tag: str) -> None:
        """Forget a message that is done."""
        super().ack(delivery_tag)
        self.held.pop(delivery_tag, None)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give a message back, or forget it."""
        super().reject(delivery_tag, requeue=requeue)
        self.held.pop(delivery_tag, None)

    def restore_unacked(self, client: Any = None) -> None:
        """Give everything back."""
        super().restore_unacked(client)
        self.held.clear()

    def restore_visible(self, start: int = 0, num: int | None = None, interval: int = 1) -> None:  # noqa: ARG002
        """Give back what workers hold that are gone: without a lock, which one that is killed would leave behind."""
        with self.channel.conn_or_acquire() as client:
            self.channel.give_back(client)
            seconds, micros = client.time()
            until = seconds + micros / 1e6 - self.visibility_timeout
            for tag in client.zrangebyscore(self.unacked_index_key, "-inf", until):
                log.info("giving a task back whose worker is gone")
                self.restore_by_tag(bytes_to_str(tag), client)


class Channel(_Channel):  # type: ignore[misc]
    """A channel whose messages are always in Redis.

    Attributes:
        noted: The tag of the message that is being delivered, if it is among the unacknowledged ones already.

    """

    QoS = QoS
    noted = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._taker = uuid4().hex
        self._asked: list[str] = []
        self._waits = False
        self._careless: set[str] = set()
        self._left = threading.Event()
        self._keeper: threading.Thread | None = None

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:
        """Consume from a queue; what is not acknowledged, as replies to `inspect`, needs not be kept."""
        if queue not in self._fanout_queues:
            if no_ack:
                self._careless.add(queue)
            elif self._keeper is None:
                self._keeper = threading.Thread(target=_keep, args=(weakref.ref(self), self._left), daemon=True)
                self._keeper.start()
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Ask for a message, without waiting for the answer."""
        if self._is_careless:
            super()._brpop_start(timeout)
            return
        queues = self._queue_cycle.consume(len(self.active_queues))
        keys = [self._q_for_pri(queue, step) for step in self.priority_steps for queue in queues]
        if not keys:
            return
        lists = [self._list_of(key) for key in keys]
        if any(key not in self._asked for key in keys):
            # Before anything can lie in a list, others know of it.
            self.renew(keys)
        self._asked = keys
        self._waits = len(keys) == 1 or self._waits
        if self._waits:
            seconds = timeout or self.brpop_timeout if len(keys) == 1 else TURN_SECONDS
            command = ["BLMOVE", keys[0], lists[0], "RIGHT", "LEFT", seconds]
        else:
            command = ["EVAL", TAKE, 2 * len(keys), *keys, *lists]
        self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        self.client.connection.send_command(*command)

    def _brpop_read(self, **options: Any) -> bool:
        """Read the answer and deliver the message, once it is among the unacknowledged ones."""
        if self._is_careless:
            return bool(super()._brpop_read(**options))
        try:
            key, item = self._answer(options)
            if item is None:
                raise Empty
            message = loads(bytes_to_str(item))
            if not self._note(key, item, message):
                raise Empty
        except self.connection_errors:
            # Whether something was taken nobody knows: others give it back, as this name is not renewed any more.
            self._taker, self._asked = uuid4().hex, []
            if self.client.connection is not None:
                self.client.connection.disconnect()
            raise
        finally:
            self._in_poll = None
        queue = key.rsplit(self.sep, 1)[0]
        self._queue_cycle.rotate(queue)
        try:
            self.connection._deliver(message, queue)  # noqa: SLF001 -- as kombu's own channel does
        finally:
            self.noted = ""
        return True

    def _answer(self, options: dict[str, Any]) -> tuple[str, bytes | None]:
        answer = self.client.parse_response(self.client.connection, "BLMOVE", **options)
        if self._waits:
            self._waits = False
            return self._asked[0], answer
        self._waits = answer is None
        return (self._asked[answer[0] - 1], answer[1]) if answer else ("", None)

    def _note(self, key: str, item: bytes, message: dict[str, Any]) -> bool:
        properties = message["properties"]
        delivery, tag = properties["delivery_info"], properties["delivery_tag"]
        record = dumps([message, delivery["exchange"], delivery["routing_key"]])
        keys = (self._list_of(key), self.unacked_key, self.unacked_index_key)
        with self.conn_or_acquire() as client:
            noted = client.eval(NOTE, len(keys), *keys, item, tag, record)
        self.noted = tag if noted else ""
        return bool(noted)

    def renew(self, keys: list[str] | None = None) -> None:
        """Say that this channel's worker is alive, and holds what it holds.

        Args:
            keys: The queues that it is about to take from, besides those that it has taken from.

        """
        tags = list(self.qos.held)
        names = [f"{self._taker}:{key}" for key in {*self._asked, *(keys or ())}]
        with self.conn_or_acquire() as client:
            client.eval(RENEW, 2, self.unacked_index_key, self._takers, len(tags), *tags, *names)

    def give_back(self, client: Any) -> None:
        """Give back what was on its way to a worker that is gone.

        Args:
            client: A connection.

        """
        client.eval(GIVE_BACK, 1, self._takers, self.visibility_timeout, self._list_of(""), FORGET_SECONDS)

    def close(self) -> None:
        """Give everything back, and take no more."""
        self._left.set()
        super().close()

    @property
    def _is_careless(self) -> bool:
        return not self._careless.isdisjoint(self.active_queues)

    @property
    def _takers(self) -> str:
        return f"{self.unacked_key}.takers"

    def _list_of(self, key: str) -> str:
        return f"{self.unacked_key}.taken.{self._taker}:{key}" if key else f"{self.unacked_key}.taken."


class Transport(_Transport):  # type: ignore[misc]
    """Kombu's transport, with channels that lose nothing."""

    Channel = Channel


def _keep(reference: "weakref.ref[Channel]", left: threading.Event) -> None:
    """Renew what a channel holds until it is closed or gone: in a thread, as a task may keep the loop busy."""
    while (channel := reference()) is not None:
        pause = channel.visibility_timeout / 3
        try:
            channel.renew()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the next turn may succeed
            log.warning("could not renew what is held: %s", type(error).__name__)
        del channel
        if left.wait(pause):
            return
