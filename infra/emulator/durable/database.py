"""The SQLite file: its tables, and opening it without changing a file that is not the engine's own."""

import sqlite3
from pathlib import Path

APPLICATION, VERSION = 0x52594448, 1
TABLES = """
CREATE TABLE instance(
    id TEXT PRIMARY KEY, name TEXT NOT NULL, version TEXT, execution TEXT NOT NULL, status TEXT NOT NULL,
    input TEXT, quoted_input INTEGER NOT NULL, output TEXT, custom_status TEXT, created TEXT NOT NULL,
    updated TEXT NOT NULL, parent TEXT, state TEXT NOT NULL);
CREATE INDEX instance_created ON instance(created, id);
CREATE TABLE history(
    instance TEXT NOT NULL REFERENCES instance ON DELETE CASCADE, position INTEGER NOT NULL, event TEXT NOT NULL,
    PRIMARY KEY(instance, position));
CREATE TABLE checkpoint(
    instance TEXT NOT NULL REFERENCES instance ON DELETE CASCADE, position INTEGER NOT NULL, state TEXT NOT NULL,
    gave_up INTEGER NOT NULL, PRIMARY KEY(instance, position));
CREATE TABLE message(
    id INTEGER PRIMARY KEY AUTOINCREMENT, instance TEXT NOT NULL REFERENCES instance ON DELETE CASCADE,
    execution TEXT, event TEXT NOT NULL);
CREATE INDEX message_instance ON message(instance);
CREATE TABLE activity(
    id INTEGER PRIMARY KEY AUTOINCREMENT, instance TEXT NOT NULL REFERENCES instance ON DELETE CASCADE,
    execution TEXT NOT NULL, task INTEGER NOT NULL, name TEXT NOT NULL, input TEXT NOT NULL,
    failed INTEGER NOT NULL DEFAULT 0);
CREATE INDEX activity_instance ON activity(instance);
CREATE TABLE timer(
    instance TEXT NOT NULL REFERENCES instance ON DELETE CASCADE, task INTEGER NOT NULL, execution TEXT NOT NULL,
    due TEXT NOT NULL, PRIMARY KEY(instance, task));
CREATE INDEX timer_due ON timer(due);
CREATE TABLE entity(id TEXT PRIMARY KEY, state TEXT, updated TEXT NOT NULL);
CREATE TABLE operation(
    id INTEGER PRIMARY KEY AUTOINCREMENT, entity TEXT NOT NULL, name TEXT NOT NULL, input TEXT,
    instance TEXT, execution TEXT, reply TEXT);
CREATE INDEX operation_entity ON operation(entity);
"""


class DatabaseUnusable(RuntimeError):
    """The database file is damaged, in use by another process, or not of this engine; it was not changed."""


def connect(path: Path) -> sqlite3.Connection:
    """Open or create the file with an exclusive lock for this process. Raises DatabaseUnusable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, isolation_level=None, timeout=1)
    try:
        _open(database)
    except (sqlite3.Error, DatabaseUnusable) as error:
        database.close()
        locked = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
        remedy = "end the other process that uses it" if locked else "move the file away to start afresh"
        raise DatabaseUnusable(f"{path}: {error}; {remedy}") from error
    return database


def _open(database: sqlite3.Connection) -> None:
    def pragma(name: str) -> int | str:
        return database.execute(f"PRAGMA {name}").fetchone()[0]

    # Exclusive: a second engine on the same file fails at its start, instead of running the same work twice.
    pragma("locking_mode = EXCLUSIVE")
    ours = (pragma("application_id"), pragma("user_version")) == (APPLICATION, VERSION)
    if not ours and database.execute("SELECT 1 FROM sqlite_schema").fetchone():
        raise DatabaseUnusable("not a database of this engine, or one of another version")
    if (health := pragma("quick_check(1)")) != "ok":
        raise DatabaseUnusable(f"the database is damaged ({health})")
    # Transactions survive kill -9 of the process, because the kernel holds what was written. A power cut may undo
    # the last transactions, without damage to the file; a development machine can accept that.
    pragma("journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute("PRAGMA foreign_keys = ON")
    if ours:
        database.executescript("BEGIN EXCLUSIVE; COMMIT")  # acquires the lock now
    else:
        database.executescript(
            f"BEGIN EXCLUSIVE; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT"
        )
