"""What is said of a statement is one of few words, whatever it says."""

import pytest

from app.core.statements import quoted_table, statement_kind, statement_table, without_values


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELECT 1", "SELECT"),
        ("\n  update t set a = 1", "UPDATE"),
        ("BEGIN IMMEDIATE", "BEGIN"),
        ("COPY things FROM STDIN", "COPY"),
        ("INSERT INTO t VALUES (1); SELECT 1", "INSERT"),
        ("(SELECT 1) UNION (SELECT 2)", "SELECT"),
        ("WITH x AS (SELECT 1) SELECT * FROM x", "SELECT"),
        ("with x as (select ')insert') insert into t select * from x", "INSERT"),
        ("WITH x AS (INSERT INTO t VALUES (1) RETURNING a), y AS (SELECT 1) UPDATE u SET a = 1", "UPDATE"),
        ('WITH RECURSIVE x ("delete") AS (VALUES (1)) DELETE FROM t', "DELETE"),
        ("WITH x AS (SELECT 1", "WITH"),
        ("VACUUM", "OTHER"),
        ("SELECTED secret", "OTHER"),
        ("-- why\n-- UPDATE\nSELECT 1", "SELECT"),
        ("/* UPDATE */ /* /* DROP */ */ insert into t values (1)", "INSERT"),
        ("-- nothing but a comment", "OTHER"),
        ("", "OTHER"),
        ("  ", "OTHER"),
    ],
)
def test_kind_of_a_statement(statement: str, kind: str) -> None:
    """A statement's kind is one of a few words, whatever it says."""
    assert statement_kind(statement) == kind


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("SELECT orders.id \nFROM orders \nWHERE orders.id = ?", "orders"),
        ('SELECT "orders"."id" \nFROM "orders" LIMIT 1', "orders"),
        ('SELECT "Odd name".id \nFROM "Odd name"', "Odd name"),
        ("INSERT INTO orders (id) VALUES (?)", "orders"),
        ('UPDATE "orders" SET "id" = %s', "orders"),
        ("DELETE FROM orders", "orders"),
        ("SELECT EXTRACT(year FROM orders.id) AS anon_1 \nFROM orders", "orders"),
        ("SELECT 1", ""),
    ],
)
def test_table_of_a_statement(statement: str, table: str) -> None:
    """The first table of a statement that a library writes is found, quoted or not; a FROM in a function is none."""
    assert statement_table(statement) == table


def test_very_long_statement() -> None:
    """Only the beginning of a statement is looked at."""
    assert statement_table("SELECT " + "a, " * 10_000 + " FROM orders") == ""


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("SELECT *\nFROM t WHERE a = %(a_1)s::VARCHAR", "SELECT * FROM t WHERE a = %(a_1)s::VARCHAR"),
        ("SELECT a FROM t WHERE a = ? AND b = :b AND c = $1", "SELECT a FROM t WHERE a = ? AND b = :b AND c = $1"),
        ("SELECT 'ada''s' || 'x', E'\\x41', U&'d', $$a'da$$, $q$ada$q$", "SELECT ? || ?, ?, ?, ?, ?"),
        ("SELECT 4111, -3.5e-7, 0x1F, t1.c2 FROM t1 LIMIT 5", "SELECT ?, -?, ?, t1.c2 FROM t1 LIMIT ?"),
        ("SELECT 1 -- ada\n, 2 /* ada */ /* /* ada */ ada */", "SELECT ? , ?"),
        ("SELECT 'ada", "SELECT ?"),
        ('SELECT "a"."b" FROM "a" JOIN "c d" WHERE x = "ada"', 'SELECT "a"."b" FROM "a" JOIN "c d" WHERE x = ?'),
        ("SELECT 'ada\\' ada '", "SELECT"),
        ("/* ada", "OTHER"),
        ("SELECT a FROM t WHERE a IN (?, ?, ?)", "SELECT a FROM t WHERE a IN (...)"),
        ("SELECT a FROM t WHERE a IN (%(a_1)s::INTEGER, %(a_2)s::INTEGER)", "SELECT a FROM t WHERE a IN (...)"),
    ],
)  # fmt: skip
def test_values_are_not_shown(statement: str, shown: str) -> None:
    """A statement is shown with its placeholders, without literals and comments, and in one length of `IN`."""
    assert without_values(statement) == shown


def test_long_statement_is_cut() -> None:
    """A very long statement is shown up to a length, also when that cuts a value."""
    shown = without_values("SELECT " + "a, " * 10_000)
    assert len(shown) == 2003
    assert "ada" not in without_values("SELECT " + " " * 8180 + "'ada'")


@pytest.mark.parametrize("unit", ["'", '"', "/*", "-- ", "$", "$a$b", "(", "1.", "in (?,", " FROM ", "/* */", "$a"])
def test_hostile_statement_takes_no_time(unit: str) -> None:
    """Whatever a statement repeats, telling what it is does not run away."""
    statement = unit * 20_000
    assert "x" not in without_values(statement) + statement_kind("WITH " + statement) + statement_table(statement)


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ('SELECT "orders"."id", COUNT(*) AS "n" FROM "orders" INNER JOIN "items" ON (1)', "orders"),
        ('INSERT INTO "orders" ("id") VALUES (%s)', "orders"),
        ('UPDATE "orders" SET "sku" = %s', "orders"),
        ('DELETE FROM "orders" WHERE 1', "orders"),
        ("SELECT * FROM orders", ""),
        ("SELECT 'x FROM \"secret\"' FROM orders", ""),
        ("SAVEPOINT x", ""),
    ],
)
def test_quoted_table(statement: str, table: str) -> None:
    """The table of a statement is known where its name is quoted, and nothing that a person wrote is taken for one."""
    assert quoted_table(statement) == table
