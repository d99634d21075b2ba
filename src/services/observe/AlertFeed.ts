// Alerts as they are raised on this runner, for live feeds: bounded, lossy for slow listeners, never blocking.
import { Context, Effect, Layer, PubSub, Ref, Stream } from "effect"
import type { Alert } from "../../schema/verdict/Alert.ts"

/** How many alerts a listener may be behind before the oldest are dropped for it. */
export const FEED_ALERTS_MAX = 1_024
/** How many of the latest alerts are kept for a view that opens late. */
export const FEED_RECENT_MAX = 200

export class AlertFeed extends Context.Tag("groundstate/services/observe/AlertFeed")<
  AlertFeed,
  {
    readonly publish: (alerts: ReadonlyArray<Alert>) => Effect.Effect<void>
    /** From now on; an alert may come twice after a takeover, with the same id. */
    readonly subscribe: Stream.Stream<Alert>
    /** The latest alerts, newest last. */
    readonly recent: Effect.Effect<ReadonlyArray<Alert>>
  }
>() {
  static readonly layer = Layer.scoped(
    AlertFeed,
    Effect.gen(function* () {
      const hub = yield* PubSub.sliding<Alert>(FEED_ALERTS_MAX)
      const latest = yield* Ref.make<ReadonlyArray<Alert>>([])
      yield* Effect.addFinalizer(() => PubSub.shutdown(hub))
      return {
        publish: (alerts) =>
          alerts.length === 0
            ? Effect.void
            : Effect.zipRight(
                Ref.update(latest, (kept) => [...kept, ...alerts].slice(-FEED_RECENT_MAX)),
                PubSub.publishAll(hub, alerts)
              ),
        subscribe: Stream.fromPubSub(hub),
        recent: Ref.get(latest)
      }
    })
  )
}
