// A log that takes nothing, or can't be reached, makes the runner not ready, also where no cell has anything to write.
import { Effect, Layer, Queue } from "effect"
import { LogUnavailable } from "../../schema/error/IngestError.ts"
import { Health } from "../observe/Health.ts"
import { LogReach } from "../runtime/LogReach.ts"
import { EventLog } from "./EventLog.ts"

const EVERY = "1 second"
const COMPONENT = "log"

/** A log that has not answered by then does not. */
const ANSWER = "3 seconds"
const silent = new LogUnavailable({
  topic: "(all)",
  operation: "describe",
  detail: `it did not answer within ${ANSWER}`
})

export interface LogWatchOptions {
  /**
   * Is it asked once a second, whatever becomes of appends? Where it lies on other machines a reader may hear nothing
   * for long and not know why; what lies in a file here fails by itself.
   */
  readonly always: boolean
}

/**
 * The log as it is. An append that fails has it asked at once, and then once a second until it answers well: whoever
 * brings events goes to another runner meanwhile, so appends alone would not tell.
 */
export const layer = ({ always }: LogWatchOptions) =>
  Layer.scoped(
    EventLog,
    Effect.gen(function* () {
      const log = yield* EventLog
      const health = yield* Health
      const reach = yield* LogReach
      const failures = yield* Queue.sliding<void>(1)
      let away = false
      const ping = always
        ? log.ping.pipe(Effect.disconnect, Effect.timeoutFail({ duration: ANSWER, onTimeout: () => silent }))
        : log.ping
      const look: Effect.Effect<void> = ping.pipe(
        Effect.matchEffect({
          onSuccess: () =>
            Effect.suspend(() => {
              reach.answered()
              health.report(COMPONENT, { ready: true, reason: null })
              const back = away
              away = false
              return back ? Effect.logInfo("the log answers again") : Effect.void
            }),
          onFailure: (error) =>
            Effect.suspend(() => {
              reach.failed()
              health.report(COMPONENT, { ready: false, reason: error.message })
              const first = !away
              away = true
              return first
                ? Effect.logWarning("the log takes nothing; it is asked again", error.message)
                : Effect.void
            }).pipe(Effect.zipRight(Effect.sleep(EVERY)), Effect.zipRight(Effect.suspend(() => look)))
        })
      )
      const asked = Queue.take(failures)
      const next = always ? Effect.ignore(Effect.timeout(asked, EVERY)) : asked
      yield* Effect.forkScoped(Effect.forever(Effect.zipRight(next, look)))
      return {
        ...log,
        append: (topic, records) =>
          Effect.tapError(log.append(topic, records), () => Queue.offer(failures, undefined))
      }
    })
  )
