// PostgreSQL as a region's database: connections that never wait for ever, sessions that end with their runner.
import { Socket } from "node:net"
import type { SqlClient } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { PgClient } from "@effect/sql-pg"
import { Cause, Duration, Effect, Layer, Redacted, Schedule } from "effect"
import { StorageUnavailable } from "../../schema/error/StorageError.ts"
import { reasonOf } from "./Database.ts"
import type { PostgresSettings } from "./Settings.ts"

/** How much longer than the database itself a client waits for the end of a statement. */
const GRACE_MILLIS = 500
/** First wait for a database that is not there yet, growing to 2 s. */
const again = Schedule.exponential("100 millis").pipe(Schedule.union(Schedule.spaced("2 seconds")))

export interface PostgresOptions {
  readonly postgres: PostgresSettings
  /** As `pg_stat_activity` shows the sessions, at most 63 bytes; names the runner, so that others can end them. */
  readonly applicationName: string
  readonly connectionsMax: number
  /** A session that says nothing for so long is ended, and with it the locks that it holds; none: it may be silent. */
  readonly idleSessionMillis?: number
}

/** Where the database is, for people: never with a password. */
export const postgresPlace = (postgres: PostgresSettings): string => {
  const url = new URL(postgresUrl(postgres))
  return `${url.hostname}:${url.port === "" ? 5432 : url.port}${url.pathname}`
}

const postgresUrl = (postgres: PostgresSettings): string => {
  if (postgres.url !== undefined) return Redacted.value(postgres.url)
  const part = encodeURIComponent
  const password = postgres.password === undefined ? "" : `:${part(Redacted.value(postgres.password))}`
  const host = postgres.host?.includes(":") ? `[${postgres.host}]` : postgres.host
  return `postgres://${part(postgres.user ?? "")}${password}@${host}:${postgres.port}/${part(postgres.database ?? "")}`
}

/**
 * The driver takes the settings of a session from its URL alone. A frozen runner's open transaction must not hold
 * rows for ever, nor a frozen database its callers.
 */
const sessionUrl = (options: PostgresOptions): string => {
  const { callTimeout } = options.postgres
  const url = new URL(postgresUrl(options.postgres))
  const settings = {
    statement_timeout: callTimeout,
    idle_in_transaction_session_timeout: callTimeout,
    ...(options.idleSessionMillis === undefined ? {} : { idle_session_timeout: options.idleSessionMillis })
  }
  const given = url.searchParams.get("options") ?? ""
  const own = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`)
  url.searchParams.set("options", [given, ...own].join(" ").trim())
  url.searchParams.set("query_timeout", String(callTimeout + GRACE_MILLIS))
  return url.toString()
}

/** A connection on which nothing moves for longer than any call may take is dead: the pool makes another. */
const socket = (silenceMillis: number) => () => {
  const made = new Socket()
  made.setTimeout(silenceMillis, () => made.destroy(new Error("the database did not answer in time")))
  return made
}

/** Errors of a server that runs and will not have us: waiting does not help. Class 28 is about who asks, 3D about the database. */
const isRefusal = (error: unknown): boolean => {
  const code = error instanceof Error && "code" in error ? String(error.code) : ""
  return code.startsWith("28") || code.startsWith("3D")
}

/**
 * A pool of connections. Waits up to `startTimeout` for a database that is not there yet, and fails with what it said
 * last; at once where it refuses.
 */
export const layerPostgres = (
  options: PostgresOptions
): Layer.Layer<SqlClient.SqlClient | PgClient.PgClient, StorageUnavailable> => {
  const { callTimeout, startTimeout, tls } = options.postgres
  const where = `PostgreSQL at ${postgresPlace(options.postgres)}`
  return PgClient.layer({
    url: Redacted.make(sessionUrl(options)),
    ssl: tls,
    applicationName: options.applicationName.slice(0, 63),
    maxConnections: options.connectionsMax,
    connectTimeout: Duration.millis(callTimeout),
    // Idle connections go before they look dead.
    idleTimeout: Duration.millis(Math.max(100, callTimeout - GRACE_MILLIS)),
    stream: socket(callTimeout + 2 * GRACE_MILLIS)
  }).pipe(
    Layer.tapError((error) =>
      startTimeout === 0 || isRefusal(error.cause)
        ? Effect.void
        : Effect.annotateLogs(Effect.logWarning(`${where} is waited for`), { detail: reasonOf(error) })
    ),
    Layer.retry(
      again.pipe(
        Schedule.whileInput((error: SqlError) => !isRefusal(error.cause)),
        Schedule.upTo(Duration.millis(startTimeout))
      )
    ),
    Layer.catchAllCause((cause) =>
      Layer.fail(
        new StorageUnavailable({ operation: "open", detail: `${where}: ${reasonOf(Cause.squash(cause))}` })
      )
    )
  )
}
