# ruff: noqa: S608 -- put together from what stands here
"""What a source says to a queue file; its tables are in `adapters/message_transports/queue_file.py`.

A message is found by its number, and changed only while the claim is still the receiver's.
"""

EXPIRE = """
UPDATE messages SET visible_at = 0 WHERE queue = :queue AND visible_at > 0 AND visible_at <= :now
"""
CLAIM = """
UPDATE messages
SET visible_at = :now + :lease, deliveries = deliveries + 1, owner = :owner, claim = :claim
WHERE number IN (
  SELECT number FROM messages WHERE queue = :queue AND visible_at = 0 ORDER BY number LIMIT :limit
)
RETURNING number, body, headers, attempt, deliveries
"""
HOLD = """
INSERT INTO holders (queue, owner, held_until) VALUES (:queue, :owner, :now + :lease)
ON CONFLICT (queue) DO UPDATE SET owner = excluded.owner, held_until = excluded.held_until
WHERE owner = excluded.owner OR held_until <= :now
"""
ACKNOWLEDGE = """
DELETE FROM messages
WHERE number IN (SELECT value FROM json_each(:numbers))
  AND owner = :owner AND number || '.' || claim IN (SELECT value FROM json_each(:receipts))
"""
_OWN = "WHERE number = :number AND owner = :owner AND claim = :claim"
TRY_AGAIN = "UPDATE messages SET attempt = attempt + 1, deliveries = 0, visible_at = :due, owner = NULL " + _OWN
GIVE_BACK = "UPDATE messages SET visible_at = 0, deliveries = deliveries - 1, owner = NULL " + _OWN
KEEP = "UPDATE messages SET visible_at = :until " + _OWN
COPY_TO_DEAD = (
    "INSERT INTO dead_letters (queue, body, headers, why) SELECT queue, body, headers, :why FROM messages " + _OWN
)
FORGET = "DELETE FROM messages " + _OWN
WAITING = """
SELECT (SELECT COUNT(*) FROM messages WHERE queue = :queue AND visible_at = 0)
  + (SELECT COUNT(*) FROM messages WHERE queue = :queue AND visible_at > 0 AND (owner IS NULL OR visible_at <= :now))
"""
LETTERS = "SELECT number, body, headers, why FROM dead_letters WHERE queue = ? AND number > ? ORDER BY number LIMIT ?"
REPLAY = "INSERT INTO messages (queue, body, headers) SELECT queue, body, headers FROM dead_letters WHERE number = ?"
DROP = "DELETE FROM dead_letters WHERE number = ?"
RELEASE = "UPDATE messages SET visible_at = 0, owner = NULL WHERE queue = ? AND visible_at > 0 AND owner = ?"
LEAVE = "DELETE FROM holders WHERE queue = ? AND owner = ?"
LOOK = "SELECT 1 FROM messages LIMIT 1"
