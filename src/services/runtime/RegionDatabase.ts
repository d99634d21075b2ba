// A region's database made ready before anything uses it: every table, the cluster library's own too, by one runner at a time.
import { ShardingConfig, SqlMessageStorage, SqlRunnerStorage } from "@effect/cluster"
import { SqlClient } from "@effect/sql"
import { Cause, Duration, Effect, Layer, Schedule } from "effect"
import { StorageUnavailable } from "../../schema/error/StorageError.ts"
import { migrate, reasonOf } from "./Database.ts"
import { layerPostgres, type PostgresOptions, postgresPlace } from "./Postgres.ts"

/** Names the lock among the database's advisory locks; the cluster library's own begin at a million. */
const MIGRATION_LOCK = 7_061_934
const LOCK_POLL = Duration.millis(50)

/** The session's own lock: it goes with the session, whatever becomes of the runner. */
const locked = <A, E, R>(work: Effect.Effect<A, E, R>, waitMillis: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const session = yield* sql.reserve
      yield* session.executeValues(`SELECT pg_try_advisory_lock(${MIGRATION_LOCK})`, []).pipe(
        Effect.flatMap(([[taken]]) => (taken === true ? Effect.void : Effect.fail("taken" as const))),
        Effect.retry({
          while: (error) => error === "taken",
          schedule: Schedule.spaced(LOCK_POLL).pipe(Schedule.upTo(Duration.millis(waitMillis)))
        })
      )
      return yield* Effect.ensuring(
        work,
        Effect.ignore(session.executeRaw(`SELECT pg_advisory_unlock(${MIGRATION_LOCK})`, []))
      )
    })
  )

/** The library makes its tables where its storage is made, without a lock of its own; both are let go at once. */
const libraryTables = Effect.scoped(
  Layer.build(
    Layer.merge(SqlMessageStorage.layer, SqlRunnerStorage.layer).pipe(
      Layer.provide(ShardingConfig.layerDefaults)
    )
  )
)

/**
 * PostgreSQL, migrated: runners that start together wait for the first. Fails where the database refuses or does not
 * come within `startTimeout`.
 */
export const layerRegion = (options: PostgresOptions) =>
  Layer.effectDiscard(
    locked(Effect.zipRight(migrate, libraryTables), options.postgres.startTimeout).pipe(
      Effect.catchAllCause((cause) => {
        const error = Cause.squash(cause)
        return new StorageUnavailable({
          operation: "make the tables",
          detail: `PostgreSQL at ${postgresPlace(options.postgres)}: ${
            error === "taken" ? "another runner has been making them for too long" : reasonOf(error)
          }`
        })
      })
    )
  ).pipe(Layer.provideMerge(layerPostgres(options)))
