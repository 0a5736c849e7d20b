"""The statements on idempotency records: an upsert with a condition that tells what it did, which the ORM cannot say.

What `core.idempotency.decide` says stands here as conditions: only with them in the statement that writes is a claim
atomic.
"""

# The database's clock in seconds since 1970, moving on within a transaction.
_TIME = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "EXTRACT(EPOCH FROM clock_timestamp())::double precision",
}
# What stands for a piece of SQL in the statements below, those first that are made of others.
_PIECES = {
    "<insert>": """INSERT INTO "idempotency_records" AS old
    (key, caller, fingerprint, owner, lease_until, expires_at, answer)""",
    "<taking>": """ON CONFLICT (key) DO UPDATE SET
    caller = excluded.caller, fingerprint = excluded.fingerprint, owner = excluded.owner,
    lease_until = excluded.lease_until, expires_at = excluded.expires_at, answer = excluded.answer
WHERE <free> RETURNING key""",
    "<free>": """(<over> OR (
    old.answer IS NULL AND old.lease_until <= <now> AND old.fingerprint = %(fingerprint)s
))""",
    "<over>": "(old.expires_at <= <now> AND NOT (old.answer IS NULL AND old.lease_until > <now>))",
    "<held>": "key = %(key)s AND owner = %(owner)s AND answer IS NULL",
}


def _for(vendor: str, statement: str) -> str:
    """Return a statement as a database takes it."""
    for piece, meaning in {**_PIECES, "<now>": _TIME[vendor]}.items():
        statement = statement.replace(piece, meaning)
    return statement


def _for_each(statement: str) -> dict[str, str]:
    return {vendor: _for(vendor, statement) for vendor in _TIME}


# One statement takes a key, or shows what stands in the way; in the second case it writes nothing. What it shows may be
# a moment old, which is when it was true; what it takes is decided by the insert alone.
_CLAIM_OR_FIND = """WITH found AS (
    SELECT fingerprint, lease_until, expires_at, answer, <free> AS free
    FROM "idempotency_records" AS old WHERE key = %(key)s
), taken AS (
    <insert> SELECT %(key)s, %(caller)s, %(fingerprint)s, %(owner)s,
        <now> + %(lease)s::double precision, <now> + %(ttl)s::double precision, NULL::text
    WHERE NOT EXISTS (SELECT 1 FROM found WHERE NOT found.free)
    <taking>
)
SELECT taken.key, found.fingerprint, found.lease_until, found.expires_at, found.answer, <now>
FROM (SELECT 1) AS one LEFT JOIN taken ON TRUE LEFT JOIN found ON TRUE"""
_CLAIM = """<insert>
VALUES (%(key)s, %(caller)s, %(fingerprint)s, %(owner)s, <now> + %(lease)s, <now> + %(ttl)s, NULL)
<taking>"""
_FIND = """SELECT NULL, fingerprint, lease_until, expires_at, answer, <now>
FROM "idempotency_records" WHERE key = %(key)s"""
_PURGE = """WITH ended AS (
    SELECT key FROM "idempotency_records" AS old WHERE <over> ORDER BY expires_at LIMIT %(limit)s <shared>
)
DELETE FROM "idempotency_records" WHERE key IN (SELECT key FROM ended) RETURNING key"""

# By database: what is asked in turn until a row answers.
CLAIM = {
    "postgresql": (_for("postgresql", _CLAIM_OR_FIND),),
    "sqlite": (_for("sqlite", _CLAIM), _for("sqlite", _FIND)),
}
COMPLETE = _for_each(
    'UPDATE "idempotency_records" SET answer = %(answer)s, expires_at = <now> + %(ttl)s WHERE <held> RETURNING key'
)
RENEW = _for_each('UPDATE "idempotency_records" SET lease_until = <now> + %(lease)s WHERE <held> RETURNING key')
RELEASE = _for_each('DELETE FROM "idempotency_records" WHERE <held> RETURNING key')
FORGET = _for_each('DELETE FROM "idempotency_records" WHERE caller = %(caller)s RETURNING key')
# Several processes share the work: none waits for what another one has taken.
PURGE = {
    "postgresql": _for("postgresql", _PURGE.replace("<shared>", "FOR UPDATE SKIP LOCKED")),
    "sqlite": _for("sqlite", _PURGE.replace("<shared>", "")),
}
