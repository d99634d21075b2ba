// The durable state of a runner: one SQLite database (PostgreSQL in a region), migrated before anything uses it.
import { SqlClient } from "@effect/sql"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Cause, Effect, Layer } from "effect"
import { StorageUnavailable } from "../../schema/error/StorageError.ts"
import { inPostgres, migrations } from "./migrations.ts"
import { keepWalShort } from "./WalThread.ts"

export interface DatabaseOptions {
  /** Path of the SQLite file; its folder exists. */
  readonly filename: string
  /** `full` survives a power cut, `normal` a killed process. */
  readonly durability: "full" | "normal"
  /** How long a statement waits for another process's lock. */
  readonly busyTimeoutMillis: number
}

/** Applies what is missing, in order, each in its own transaction. Ids only grow; an applied one never changes. */
export const migrate = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const statementOf = sql.onDialectOrElse({ pg: () => inPostgres, orElse: () => (text: string) => text })
  yield* sql`CREATE TABLE IF NOT EXISTS groundstate_migration (id INTEGER PRIMARY KEY, name TEXT NOT NULL)`
  const rows = yield* sql<{ id: number }>`SELECT id FROM groundstate_migration`
  const applied = new Set(rows.map((row) => row.id))
  for (const migration of migrations) {
    if (applied.has(migration.id)) continue
    yield* sql.withTransaction(
      Effect.gen(function* () {
        for (const statement of migration.statements) yield* sql.unsafe(statementOf(statement))
        yield* sql`INSERT INTO groundstate_migration ${sql.insert({ id: migration.id, name: migration.name })}`
      })
    )
  }
})

/**
 * SQLite on libsql, migrated. Statements run on the event loop: keep them short and blobs bounded. Fails where
 * the file can't be opened, or is no database.
 */
export const layerSqlite = (options: DatabaseOptions): Layer.Layer<SqlClient.SqlClient, StorageUnavailable> =>
  Layer.scopedDiscard(
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql.unsafe(`PRAGMA busy_timeout = ${options.busyTimeoutMillis}`)
      yield* sql.unsafe(`PRAGMA synchronous = ${options.durability === "full" ? "FULL" : "NORMAL"}`)
      yield* migrate
      yield* keepWalShort(sql, options.filename)
    })
  ).pipe(
    Layer.provideMerge(SqliteClient.layer({ filename: options.filename })),
    // The driver throws what is wrong with the file itself; both ways of failing mean the same here.
    Layer.catchAllCause((cause) =>
      Layer.fail(
        new StorageUnavailable({
          operation: "open",
          detail: `${options.filename}: ${reasonOf(Cause.squash(cause))}`
        })
      )
    )
  )

/** What a driver says is wrong. */
export const reasonOf = (error: unknown): string =>
  error instanceof Error
    ? error.cause instanceof Error
      ? error.cause.message
      : error.message
    : String(error)

/** A blob as drivers give it: libsql an ArrayBuffer, others a view. */
export const blobBytes = (value: Uint8Array | ArrayBuffer): Uint8Array =>
  value instanceof ArrayBuffer ? new Uint8Array(value) : value
