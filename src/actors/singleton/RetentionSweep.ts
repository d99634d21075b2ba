// Deletes alerts, incidents and device records that are older than the runner's settings keep them.
import { Singleton } from "@effect/cluster"
import { Clock, Duration, Effect } from "effect"
import { Metrics } from "../../services/observe/Metrics.ts"
import { Settings } from "../../services/runtime/Settings.ts"
import { Retention } from "../../services/state/Retention.ts"
import { rounds } from "./rounds.ts"

const EVERY = Duration.minutes(1)

export const layer = Singleton.make(
  "retention-sweep",
  Effect.gen(function* () {
    const retention = yield* Retention
    const metrics = yield* Metrics
    const { device } = yield* Settings
    const round = Effect.gen(function* () {
      const swept = yield* retention.sweep(yield* Clock.currentTimeMillis, device.keep)
      for (const kind of ["alerts", "incidents", "devices"] as const) metrics.swept(kind, swept[kind])
    })
    return yield* rounds({ name: "a sweep of past alerts", every: EVERY, round })
  })
)
