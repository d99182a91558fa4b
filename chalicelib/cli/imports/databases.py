"""Tables of Sequelize in SQLite or PostgreSQL, read without a change to them, by pages that a key begins.

Every value is read as text, so that one that is out of the ordinary costs its own row and not the page.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from chalicelib.core.errors import InvalidInput, NotFound, Unavailable

REMEDY = "look at DATABASE_URL and at what it names, and import again"
CONNECT_TIMEOUT_S = 10
STATEMENT_TIMEOUT_S = 60
PAGE = 500  # records at most, and about as many bytes as follow
PAGE_BYTES = 8_000_000
SQLITE = ("sqlite:///", "sqlite:", "file:")
POSTGRES = ("postgres://", "postgresql://")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table that are read. Older versions of a source may lack the ``optional`` ones."""

    required: Sequence[str]
    optional: Sequence[str] = ()
    times: Sequence[str] = ()  # which of them are points in time


@dataclass(frozen=True, slots=True)
class Database:
    """A connection, and how its kind of database writes things."""

    rows: Callable[[str, Mapping[str, Any]], Generator[Row]]  # one after the other, as they are asked for
    text: str  # how a value becomes text: {}
    time: str  # how a point in time does
    schema: str | None = None

    def run(self, statement: str, given: Mapping[str, Any]) -> Sequence[Row]:
        """All rows that a statement finds. Raises ``Unavailable``."""
        return [*self.rows(statement, given)]

    def table(self, name: str) -> str:
        """A table's name, as statements have it."""
        return _quoted(name) if self.schema is None else f"{_quoted(self.schema)}.{_quoted(name)}"

    def expect(self, name: str, columns: Columns) -> frozenset[str]:
        """Which of the columns a table has; raises ``NotFound`` where there is no such table."""
        try:
            self.run(f"{self.select('1', self.table(name))} WHERE 1 = 0", {})
        except Unavailable as error:
            remedy = "name the --table-prefix, and the --schema, that its options have"
            raise NotFound(f"there is no table {name}", got=str(error), remedy=remedy) from error
        return frozenset(filter(lambda column: self._has(name, column), [*columns.required, *columns.optional]))

    def selected(self, alias: str, columns: Columns, present: frozenset[str]) -> str:
        """The columns that a table has, for a SELECT; raises ``NotFound`` where one that it must have is missing."""
        if missing := [column for column in columns.required if column not in present]:
            raise NotFound("the table is no such table", expected=f"the columns {', '.join(missing)}")
        wanted = [column for column in (*columns.required, *columns.optional) if column in present]
        return ", ".join(f"{self._read(alias, column, columns)} AS {_quoted(column)}" for column in wanted)

    def select(self, columns: str, tables: str) -> str:
        """A SELECT of ``columns``, as ``selected`` wrote them, from ``tables``, as ``table`` did."""
        return f"SELECT {columns} FROM {tables}"  # noqa: S608  # names, quoted; values are given apart

    def pages(self, select: str, where: Sequence[str], given: Mapping[str, Any], key: str) -> Iterator[Sequence[Row]]:
        """The rows of a SELECT that hold to every condition, in the order of ``key``, which is read as ``id``."""
        after: str | None = None
        while True:
            conditions = " AND ".join([*where, *([] if after is None else [f"{key} > :after"])])
            statement = f"{select} WHERE {conditions} ORDER BY {key} LIMIT {PAGE}"
            rows = self._page(statement, {**given, "after": after})
            if not rows:
                return
            yield rows
            after = str(rows[-1]["id"])

    def _page(self, statement: str, given: Mapping[str, Any]) -> Sequence[Row]:
        """The first rows that a statement finds: however large they are, they fit into memory."""
        page: list[Row] = []
        size = 0
        with closing(self.rows(statement, given)) as rows:
            for row in rows:
                page.append(row)
                size += sum(len(value) for value in row.values() if isinstance(value, str))
                if size >= PAGE_BYTES:
                    break
        return page

    def count(self, table: str, alias: str, where: Sequence[str], given: Mapping[str, Any]) -> int:
        """How many rows hold to every condition."""
        conditions = " AND ".join(where)
        select = self.select("count(*) AS n", f"{self.table(table)} {alias}")
        return int(self.run(f"{select} WHERE {conditions}", given)[0]["n"])

    def _has(self, table: str, column: str) -> bool:
        # Qualified: SQLite takes a quoted name of no column for a text.
        select = self.select(f"t.{_quoted(column)}", f"{self.table(table)} t")
        try:
            self.run(f"{select} WHERE 1 = 0", {})
        except Unavailable:
            return False
        return True

    def _read(self, alias: str, column: str, columns: Columns) -> str:
        template = self.time if column in columns.times else self.text
        return template.format(f"{alias}.{_quoted(column)}")


@contextmanager
def opened(url: str, schema: str | None) -> Iterator[Database]:
    """The database at a URL: ``sqlite:///FILE`` or ``postgres://USER@HOST/NAME``.

    Raises ``InvalidInput`` for another URL, ``Unavailable`` where it does not answer; no error shows the URL, which may
    hold a password.
    """
    if url.startswith(POSTGRES):
        with _postgres(url, schema) as database:
            yield database
    elif (scheme := next(filter(url.startswith, SQLITE), None)) is not None:
        with _sqlite(url.removeprefix(scheme)) as database:
            yield database
    else:
        kind = url.split(":", 1)[0] if ":" in url else "no URL"
        expected = "sqlite:///FILE or postgres://USER@HOST/NAME"
        raise InvalidInput("no such database can be read", field="DATABASE_URL", expected=expected, got=kind)


@contextmanager
def _sqlite(path: str) -> Iterator[Database]:
    def rows(statement: str, given: Mapping[str, Any]) -> Generator[Row]:
        try:
            for row in connection.execute(statement, given):
                yield dict(row)
        except sqlite3.Error as error:
            raise Unavailable(f"the database did not answer: {error}", remedy=REMEDY) from error

    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=CONNECT_TIMEOUT_S)
        connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.Error as error:
        raise NotFound(
            f"the SQLite file cannot be opened: {error}",
            field="DATABASE_URL",
            expected="sqlite:///FILE",
            got=path,
            remedy="name the file of a database that this user may read",
        ) from error
    connection.row_factory = sqlite3.Row
    connection.text_factory = lambda stored: stored.decode(errors="surrogateescape")
    try:
        yield Database(rows, text="CAST({} AS TEXT)", time="CAST({} AS TEXT)")
    finally:
        connection.close()


@contextmanager
def _postgres(url: str, schema: str | None) -> Iterator[Database]:
    try:
        import psycopg
        from psycopg.rows import dict_row
    except ImportError as error:
        raise needs_extra("PostgreSQL", "psycopg") from error

    def rows(statement: str, given: Mapping[str, Any]) -> Generator[Row]:
        named = re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", statement.replace("%", "%%"))
        try:
            with connection.cursor() as cursor:
                yield from cursor.stream(named.encode(), given)
        except psycopg.Error as error:
            raise Unavailable(f"the database did not answer: {error}", remedy=REMEDY) from error

    try:
        connection = psycopg.connect(
            url,
            autocommit=True,
            row_factory=dict_row,
            connect_timeout=CONNECT_TIMEOUT_S,
            tcp_user_timeout=STATEMENT_TIMEOUT_S * 1_000,
        )
        connection.execute("SET default_transaction_read_only = on")
        connection.execute(f"SET statement_timeout = {STATEMENT_TIMEOUT_S * 1_000}")
    except psycopg.Error as error:
        raise Unavailable(f"PostgreSQL does not answer: {error}", field="DATABASE_URL", remedy=REMEDY) from error
    utc = """to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""
    time = f"CASE WHEN isfinite({{0}}) THEN {utc} ELSE {{0}}::text END"
    with connection:
        yield Database(rows, text="{}::text", time=time, schema=schema)


def needs_extra(what: str, module: str) -> InvalidInput:
    """The error of who wants to read what a package is missing for."""
    return InvalidInput(
        f"{what} cannot be read without the package {module}",
        expected="Taskyard with its extra `import`",
        remedy="pip install -c requirements-dev.lock -e '.[local,import]'",
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
