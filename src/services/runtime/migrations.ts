// The tables of a runner's state, in the order in which they came. An applied migration is never edited.

export interface Migration {
  readonly id: number
  readonly name: string
  readonly statements: ReadonlyArray<string>
}

/** SQLite's words for PostgreSQL: its own INTEGER has 32 bits and its REAL 24 of them. */
export const inPostgres = (statement: string): string =>
  statement
    .replace(/\bINTEGER\b/g, "BIGINT")
    .replace(/\bBLOB\b/g, "BYTEA")
    .replace(/\bREAL\b/g, "DOUBLE PRECISION")

export const migrations: ReadonlyArray<Migration> = [
  {
    id: 1,
    name: "cells",
    statements: [
      `CREATE TABLE cell_epoch (
        stream TEXT NOT NULL, partition_id INTEGER NOT NULL, epoch INTEGER NOT NULL, owner TEXT NOT NULL,
        PRIMARY KEY (stream, partition_id))`,
      `CREATE TABLE cell_checkpoint (
        stream TEXT NOT NULL, partition_id INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
        next_offset INTEGER NOT NULL, shape TEXT NOT NULL, devices INTEGER NOT NULL,
        PRIMARY KEY (stream, partition_id))`,
      `CREATE TABLE cell_blob (
        stream TEXT NOT NULL, partition_id INTEGER NOT NULL, name TEXT NOT NULL, bytes BLOB NOT NULL,
        PRIMARY KEY (stream, partition_id, name))`,
      `CREATE TABLE cell_page (
        stream TEXT NOT NULL, partition_id INTEGER NOT NULL, page INTEGER NOT NULL, seq INTEGER NOT NULL,
        bytes BLOB NOT NULL, PRIMARY KEY (stream, partition_id, page))`,
      `CREATE TABLE cell_delta (
        stream TEXT NOT NULL, partition_id INTEGER NOT NULL, seq INTEGER NOT NULL, bytes BLOB NOT NULL,
        PRIMARY KEY (stream, partition_id, seq))`,
      `CREATE TABLE cell_command (
        stream TEXT NOT NULL, partition_id INTEGER NOT NULL, command_id TEXT NOT NULL, seq INTEGER NOT NULL,
        from_offset INTEGER NOT NULL, epoch INTEGER NOT NULL, change_json TEXT NOT NULL,
        PRIMARY KEY (stream, partition_id, command_id))`,
      `CREATE INDEX cell_command_by_offset ON cell_command (stream, partition_id, from_offset, seq)`
    ]
  },
  {
    id: 2,
    name: "actors",
    statements: [
      `CREATE TABLE device (
        stream TEXT NOT NULL, device TEXT NOT NULL, version INTEGER NOT NULL, record_json TEXT NOT NULL,
        incident_open INTEGER NOT NULL, quarantined INTEGER NOT NULL, overridden INTEGER NOT NULL,
        changed INTEGER NOT NULL, PRIMARY KEY (stream, device))`,
      `CREATE INDEX device_by_change ON device (changed)`,
      `CREATE TABLE device_command (
        stream TEXT NOT NULL, device TEXT NOT NULL, command_id TEXT NOT NULL, version INTEGER NOT NULL,
        PRIMARY KEY (stream, device, command_id))`,
      `CREATE TABLE incident (
        id TEXT PRIMARY KEY, stream TEXT NOT NULL, device TEXT NOT NULL, status TEXT NOT NULL,
        last_alert_at REAL NOT NULL, seq INTEGER NOT NULL, record_json TEXT NOT NULL)`,
      `CREATE INDEX incident_by_seq ON incident (seq)`,
      `CREATE INDEX incident_by_device ON incident (stream, device)`,
      `CREATE INDEX incident_by_status ON incident (stream, status, last_alert_at)`,
      `CREATE TABLE alert (
        id TEXT PRIMARY KEY, seq INTEGER NOT NULL, stream TEXT NOT NULL, device TEXT NOT NULL,
        incident TEXT NOT NULL, record_json TEXT NOT NULL)`,
      `CREATE INDEX alert_by_seq ON alert (seq)`,
      `CREATE INDEX alert_by_device ON alert (stream, device)`,
      `CREATE INDEX alert_by_incident ON alert (incident)`,
      `CREATE TABLE model_version (
        digest TEXT PRIMARY KEY, stream TEXT, state TEXT NOT NULL, version INTEGER NOT NULL,
        record_json TEXT NOT NULL)`,
      `CREATE TABLE model_command (
        digest TEXT NOT NULL, command_id TEXT NOT NULL, PRIMARY KEY (digest, command_id))`,
      `CREATE TABLE sequence (name TEXT PRIMARY KEY, value INTEGER NOT NULL)`
    ]
  },
  {
    id: 3,
    name: "retention",
    statements: [`CREATE TABLE retention_mark (value INTEGER PRIMARY KEY, at REAL NOT NULL)`]
  },
  {
    id: 4,
    name: "region",
    statements: [
      `CREATE TABLE region_runner (
        address TEXT PRIMARY KEY, name TEXT NOT NULL, incarnation TEXT NOT NULL, state TEXT NOT NULL,
        http TEXT NOT NULL, log TEXT NOT NULL, started_at INTEGER NOT NULL, beat_at INTEGER NOT NULL)`,
      `CREATE TABLE region_slot (slot INTEGER PRIMARY KEY, address TEXT NOT NULL)`
    ]
  },
  {
    id: 5,
    name: "runner version",
    statements: [`ALTER TABLE region_runner ADD COLUMN version TEXT NOT NULL DEFAULT ''`]
  },
  {
    id: 6,
    name: "shared models",
    statements: [
      `CREATE TABLE model_bundle (digest TEXT PRIMARY KEY, bytes INTEGER NOT NULL)`,
      `CREATE TABLE model_piece (
        digest TEXT NOT NULL, name TEXT NOT NULL, piece INTEGER NOT NULL, bytes BLOB NOT NULL,
        PRIMARY KEY (digest, name, piece))`
    ]
  },
  {
    id: 7,
    name: "region events",
    statements: [
      `CREATE TABLE region_event (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, runner TEXT NOT NULL, stream TEXT,
        partition_id INTEGER, detail TEXT NOT NULL)`
    ]
  },
  {
    id: 8,
    name: "runners that reach the log",
    statements: [
      `ALTER TABLE region_runner ADD COLUMN able INTEGER NOT NULL DEFAULT 1`,
      `ALTER TABLE region_runner ADD COLUMN log_at INTEGER NOT NULL DEFAULT 0`,
      `ALTER TABLE region_runner ADD COLUMN log_since INTEGER NOT NULL DEFAULT 0`
    ]
  }
]
