// Alerts as they are raised on this runner, for live feeds: bounded, lossy for slow listeners, never blocking.
import { Context, Effect, Layer, Stream } from "effect"
import type { Alert } from "../../schema/verdict/Alert.ts"

/** How many alerts a listener may be behind before the oldest are dropped for it. */
export const FEED_ALERTS_MAX = 1_024
/** How many of the latest alerts are kept for a view that opens late. */
export const FEED_RECENT_MAX = 200

export class AlertFeed extends Context.Tag("groundstate/services/observe/AlertFeed")<
  AlertFeed,
  {
    readonly publish: (alerts: ReadonlyArray<Alert>) => void
    /** From now on; an alert may come twice after a takeover, with the same id. */
    readonly subscribe: Stream.Stream<Alert>
    /** The latest alerts, newest last. */
    readonly recent: Effect.Effect<ReadonlyArray<Alert>>
  }
>() {
  static readonly layer = Layer.sync(AlertFeed, () => {
    const listeners = new Set<(alert: Alert) => void>()
    const latest: Array<Alert> = []
    return {
      publish: (alerts) => {
        for (const alert of alerts) {
          latest.push(alert)
          for (const listener of listeners) listener(alert)
        }
        if (latest.length > FEED_RECENT_MAX) latest.splice(0, latest.length - FEED_RECENT_MAX)
      },
      subscribe: Stream.asyncPush<Alert>(
        (emit) =>
          Effect.acquireRelease(
            Effect.sync(() => {
              const listener = (alert: Alert) => void emit.single(alert)
              listeners.add(listener)
              return listener
            }),
            (listener) => Effect.sync(() => void listeners.delete(listener))
          ),
        { bufferSize: FEED_ALERTS_MAX, strategy: "sliding" }
      ),
      recent: Effect.sync(() => [...latest])
    }
  })
}
