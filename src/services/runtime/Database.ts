// The durable state of a runner: one SQLite database (PostgreSQL in a region), migrated before anything uses it.
import { SqlClient } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Effect, Layer } from "effect"
import { migrations } from "./migrations.ts"

export interface DatabaseOptions {
  /** Path of the SQLite file; its folder exists. */
  readonly filename: string
  /** `full` survives a power cut, `normal` a killed process. */
  readonly durability: "full" | "normal"
  /** How long a statement waits for another process's lock. */
  readonly busyTimeoutMillis: number
}

/** Applies what is missing, in order, each in its own transaction. Ids only grow; an applied one never changes. */
const migrate = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE IF NOT EXISTS groundstate_migration (id INTEGER PRIMARY KEY, name TEXT NOT NULL)`
  const rows = yield* sql<{ id: number }>`SELECT id FROM groundstate_migration`
  const applied = new Set(rows.map((row) => row.id))
  for (const migration of migrations) {
    if (applied.has(migration.id)) continue
    yield* sql.withTransaction(
      Effect.gen(function* () {
        for (const statement of migration.statements) yield* sql.unsafe(statement)
        yield* sql`INSERT INTO groundstate_migration ${sql.insert({ id: migration.id, name: migration.name })}`
      })
    )
  }
})

/** SQLite on libsql, migrated. Statements run on the event loop: keep them short and blobs bounded. */
export const layerSqlite = (options: DatabaseOptions): Layer.Layer<SqlClient.SqlClient, SqlError> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql.unsafe(`PRAGMA busy_timeout = ${options.busyTimeoutMillis}`)
      yield* sql.unsafe(`PRAGMA synchronous = ${options.durability === "full" ? "FULL" : "NORMAL"}`)
      yield* sql.unsafe("PRAGMA wal_autocheckpoint = 4000")
      yield* migrate
    })
  ).pipe(Layer.provideMerge(SqliteClient.layer({ filename: options.filename })), Layer.orDie) as Layer.Layer<
    SqlClient.SqlClient,
    SqlError
  >

/** A blob as drivers give it: libsql an ArrayBuffer, others a view. */
export const blobBytes = (value: Uint8Array | ArrayBuffer): Uint8Array =>
  value instanceof ArrayBuffer ? new Uint8Array(value) : value
