"""While processes are killed, clients that repeat their requests get one order for each key, and the same one."""

import os
import signal
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

from .backends import PostgreSQL, connected
from .clients import Seen, until_answered
from .conftest import Launch, migrate
from .orders import on_postgresql, order
from .server import Service, Target, new_id
from .wire import Response, eventually

WORKERS, KEYS, CLIENTS = 4, 20, 200
# One insert after the other: the shortest time in which all orders can be placed is KEYS times as long.
INSERT_SECONDS = 0.2
# The age at which a worker has certainly served.
SERVING_SECONDS = 4


def test_one_order_per_key(launch: Launch, target: Target, frail_postgresql: PostgreSQL, tmp_path: Path) -> None:
    """Two hundred clients with twenty keys, four workers, one of which is killed each second."""
    url = migrate(target, tmp_path, frail_postgresql.new_database())
    _let_inserts_queue(url)
    service = launch(DATABASE_URL=url, HTTP__WORKERS=str(WORKERS), IDEMPOTENCY__LEASE="2")
    eventually(lambda: [worker.age > SERVING_SECONDS for worker in service.workers()] == [True] * WORKERS)
    seen = Seen()
    keyed = [(order(), new_id()) for _ in range(KEYS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        sent = [pool.submit(until_answered, service, *keyed[number % KEYS], seen) for number in range(CLIENTS)]
        kills = _kill_one_each_second(service, sent)
        answers = [future.result() for future in sent]
    assert kills >= 3, f"all was over after {kills} kills"
    assert seen.broken, "nobody noticed that a worker was killed"
    _assert_one_order_each(url, [body for body, _ in keyed], answers)


def _let_inserts_queue(url: str) -> None:
    """Make each order's insert wait for the one before and take its time, in the transaction of the request."""
    with connected(url) as connection:
        connection.execute(
            "CREATE FUNCTION crawl() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" PERFORM pg_advisory_xact_lock(1); PERFORM pg_sleep({INSERT_SECONDS}); RETURN NEW; END $$"
        )
        table = on_postgresql(connection, "customer_email")
        connection.execute(f"CREATE TRIGGER crawl BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION crawl()")


def _kill_one_each_second(service: Service, sent: list[Future[Response]]) -> int:
    """Kill the worker that has been there the longest, second after second, until all clients have their answers."""
    kills, answered = 0, -1
    while wait(sent, timeout=1).not_done:
        done = sum(future.done() for future in sent)
        # Not before it has served, and somebody got an answer: who is killed while starting is replaced more and more
        # slowly, until nobody serves, and a machine that is busy with other things may serve nobody in a second.
        oldest = [worker for worker in service.workers()[:1] if worker.age > SERVING_SECONDS and done > answered]
        for worker in oldest:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)
                kills, answered = kills + 1, done
    return kills


def _assert_one_order_each(url: str, bodies: list[dict[str, Any]], answers: list[Response]) -> None:
    """Each key has one order, and all its clients were told of that one."""
    assert {response.status for response in answers} == {201}
    with connected(url) as connection:
        table = on_postgresql(connection, "customer_email")
        placed = connection.execute(f"SELECT sku, id::text FROM {table} ORDER BY sku").fetchall()
    assert placed == sorted((body["sku"], answers[number].json()["id"]) for number, body in enumerate(bodies))
    for number, response in enumerate(answers):
        assert response.body == answers[number % KEYS].body
