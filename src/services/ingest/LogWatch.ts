// A log that takes nothing makes the runner not ready, also where no cell has anything to write.
import { Effect, Layer, Queue } from "effect"
import { Health } from "../observe/Health.ts"
import { EventLog } from "./EventLog.ts"

const EVERY = "1 second"
const COMPONENT = "log"

/**
 * The log as it is. An append that fails has it asked at once, and then once a second until it answers well: whoever
 * brings events goes to another runner meanwhile, so appends alone would not tell.
 */
export const layer = Layer.scoped(
  EventLog,
  Effect.gen(function* () {
    const log = yield* EventLog
    const health = yield* Health
    const failures = yield* Queue.sliding<void>(1)
    let away = false
    const look: Effect.Effect<void> = log.ping.pipe(
      Effect.matchEffect({
        onSuccess: () =>
          Effect.suspend(() => {
            health.report(COMPONENT, { ready: true, reason: null })
            const back = away
            away = false
            return back ? Effect.logInfo("the log takes events again") : Effect.void
          }),
        onFailure: (error) =>
          Effect.suspend(() => {
            health.report(COMPONENT, { ready: false, reason: error.message })
            const first = !away
            away = true
            return first
              ? Effect.logWarning("the log takes nothing; it is asked again", error.message)
              : Effect.void
          }).pipe(Effect.zipRight(Effect.sleep(EVERY)), Effect.zipRight(Effect.suspend(() => look)))
      })
    )
    yield* Effect.forkScoped(Effect.forever(Effect.zipRight(Queue.take(failures), look)))
    return {
      ...log,
      append: (topic, records) =>
        Effect.tapError(log.append(topic, records), () => Queue.offer(failures, undefined))
    }
  })
)
