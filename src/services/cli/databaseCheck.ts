// What `doctor` looks at in a region's database: does it answer, is it new enough, may the runner do what it must?
import { Cause, Clock, Effect } from "effect"
import type { RunnerConfig } from "../runtime/Settings.ts"
import { type Check, failed, firstOf, ok, warning } from "./checks.ts"

const CHECK = "database"
const MODELS = "models"
/** PostgreSQL 14 brought `idle_session_timeout`; 15 is the oldest that is tested. */
const VERSION_MINIMUM = 150_000
/** Sessions that a runner holds besides those of its state. */
const SESSIONS_BESIDES = 4
const SKEW_WARNING_MILLIS = 5_000
const WAIT_MILLIS = 3_000

interface Found {
  readonly version: string
  readonly number: number
  readonly mayCreate: boolean
  readonly standby: boolean
  readonly sessions: number
  readonly used: number
  readonly now: number
}

/** What is wrong with a database that answers; the worst first. `clock`: epoch ms here, when it answered. */
export const judgeDatabase = (where: string, found: Found, sessions: number, clock: number): Check => {
  const is = `PostgreSQL ${found.version} at ${where}`
  if (found.number < VERSION_MINIMUM)
    return failed(CHECK, `${is} is too old`, "use PostgreSQL 15 or newer; 15 to 18 are tested")
  if (found.standby)
    return failed(CHECK, `${is} is a read-only standby`, "name the primary in database.postgres")
  if (!found.mayCreate)
    return failed(
      CHECK,
      `${is}: this role may not make tables`,
      "make the role the database's owner, or GRANT CREATE ON SCHEMA public to it"
    )
  if (found.sessions - found.used < sessions)
    return warning(
      CHECK,
      `${is}: ${found.sessions - found.used} of ${found.sessions} sessions are free, a runner holds up to ${sessions}`,
      "raise max_connections, or lower database.postgres.connectionsMax"
    )
  const skew = Math.abs(found.now - clock)
  if (skew > SKEW_WARNING_MILLIS)
    return warning(
      CHECK,
      `${is}: its clock and this machine's are ${(skew / 1_000).toFixed(0)} s apart`,
      "run a time service on both; times in records would not fit together"
    )
  return ok(CHECK, `${is}, ${found.used} of ${found.sessions} sessions in use`)
}

/** A model that scores and that no other runner can take from the database. */
export const judgeModels = (unshared: ReadonlyArray<string>): Check =>
  unshared.length === 0
    ? ok(MODELS, "every active model lies in the region's database")
    : warning(
        MODELS,
        `${unshared.length} active and not in the region's database, such as ${unshared[0]}: a runner that lacks it stands still where it takes over`,
        "groundstate models register DIR on a runner that runs; a bundle over 64 MiB on each of them"
      )

/** Nothing where the state lies in a file. Changes nothing. */
export const checkDatabase = (settings: RunnerConfig): Effect.Effect<ReadonlyArray<Check>> => {
  const { kind, postgres } = settings.database
  if (kind !== "postgres" || postgres === undefined) return Effect.succeed([])
  return Effect.gen(function* () {
    const { layerPostgres, postgresPlace } = yield* Effect.promise(() => import("../runtime/Postgres.ts"))
    const { SqlClient } = yield* Effect.promise(() => import("@effect/sql"))
    const look = Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const [row] = yield* sql<Record<keyof Found, never>>`SELECT
        current_setting('server_version') AS version,
        current_setting('server_version_num')::int AS number,
        has_schema_privilege(current_schema(), 'CREATE') AS "mayCreate",
        pg_is_in_recovery() AS standby,
        current_setting('max_connections')::int AS sessions,
        (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
        extract(epoch FROM clock_timestamp())::float8 * 1000 AS now`
      const sessions = postgres.connectionsMax + SESSIONS_BESIDES
      const answer = judgeDatabase(postgresPlace(postgres), row, sessions, yield* Clock.currentTimeMillis)
      const [{ made }] = yield* sql<{ made: boolean }>`SELECT to_regclass('model_bundle') IS NOT NULL AS made`
      if (!made) return [answer]
      const unshared = yield* sql<{ digest: string }>`SELECT digest FROM model_version
        WHERE state = 'active' AND digest NOT IN (SELECT digest FROM model_bundle) ORDER BY digest`
      return [answer, judgeModels(unshared.map(({ digest }) => digest))]
    })
    const answers = yield* look.pipe(
      Effect.provide(
        layerPostgres({
          postgres: { ...postgres, callTimeout: WAIT_MILLIS, startTimeout: 0 },
          applicationName: "groundstate doctor",
          connectionsMax: 1
        })
      )
    )
    return answers
  }).pipe(
    Effect.catchAllCause((cause) => {
      const error = firstOf(cause)
      const detail =
        typeof error === "object" && error !== null && "detail" in error
          ? String(error.detail)
          : Cause.pretty(cause)
      return Effect.succeed([
        failed(CHECK, detail, "check database.postgres, the network, the role and its password (pg_hba.conf)")
      ])
    })
  )
}
