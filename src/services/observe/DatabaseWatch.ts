// Asks a region's database once a second whether it answers, and lets readiness know.
import { SqlClient } from "@effect/sql"
import { Cause, Effect, Layer } from "effect"
import { reasonOf } from "../runtime/Database.ts"
import { Health } from "./Health.ts"

const EVERY = "1 second"
const COMPONENT = "database"

/** Never fails. A database that is away makes the runner not ready; it goes on trying, as its cells do. */
export const layer = Layer.scopedDiscard(
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const health = yield* Health
    let away = false
    const look = sql`SELECT 1`.pipe(
      Effect.tap(() =>
        Effect.suspend(() => {
          health.report(COMPONENT, { ready: true, reason: null })
          const back = away
          away = false
          return back ? Effect.logInfo("the database answers again") : Effect.void
        })
      ),
      Effect.catchAllCause((cause) =>
        Effect.suspend(() => {
          const reason = reasonOf(Cause.squash(cause))
          health.report(COMPONENT, { ready: false, reason: `the database does not answer: ${reason}` })
          const first = !away
          away = true
          return first
            ? Effect.annotateLogs(Effect.logWarning("the database does not answer; it is asked again"), {
                reason
              })
            : Effect.void
        })
      )
    )
    yield* look.pipe(Effect.zipRight(Effect.sleep(EVERY)), Effect.forever, Effect.forkScoped)
  })
)
