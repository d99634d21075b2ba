// Alerts of the region for live feeds: each id once, the latest kept, listeners called at once and never waited for.
import { Context, Effect, Layer, Stream } from "effect"
import type { Alert } from "../../schema/verdict/Alert.ts"

/** How many alerts a listener may be behind. */
export const FEED_ALERTS_MAX = 1_024
/** How many of the latest alerts are kept, for a view that opens late and a listener that comes back. */
export const FEED_RECENT_MAX = 2_048

export interface AlertFeedService {
  /** Alerts that a cell of this runner has raised. */
  readonly publish: (alerts: ReadonlyArray<Alert>) => void
  /** Alerts from before this runner started, oldest first: nobody is told, they are there for who comes back. */
  readonly fill: (alerts: ReadonlyArray<Alert>) => void
  /** Alerts that have come by the region's topic, this runner's own among them. */
  readonly hear: (alerts: ReadonlyArray<Alert>) => void
  /** Calls `listener` with each alert from now on; the answer ends that. Must not throw, and does not wait. */
  readonly listen: (listener: (alert: Alert) => void) => () => void
  /** From now on; the oldest are dropped for whoever is too slow. */
  readonly subscribe: Stream.Stream<Alert>
  /** The latest alerts, newest last. */
  readonly recent: () => ReadonlyArray<Alert>
}

/** `source`: whose word is told on. */
const make = (source: "cells" | "topic"): AlertFeedService => {
  const listeners = new Set<(alert: Alert) => void>()
  const latest: Array<Alert> = []
  /** Ids of `latest`: after a takeover the same alert comes again. */
  const known = new Set<string>()
  const forget = () => {
    if (latest.length <= FEED_RECENT_MAX) return
    for (const { id } of latest.splice(0, latest.length - FEED_RECENT_MAX)) known.delete(id)
  }
  const tell = (alerts: ReadonlyArray<Alert>) => {
    for (const alert of alerts) {
      if (known.has(alert.id)) continue
      known.add(alert.id)
      latest.push(alert)
      for (const listener of listeners) listener(alert)
    }
    forget()
  }
  const fill = (alerts: ReadonlyArray<Alert>) => {
    const older: Array<Alert> = []
    for (const alert of alerts) {
      if (known.has(alert.id)) continue
      known.add(alert.id)
      older.push(alert)
    }
    latest.unshift(...older)
    forget()
  }
  const ignore = () => {}
  const listen = (listener: (alert: Alert) => void) => {
    listeners.add(listener)
    return () => void listeners.delete(listener)
  }
  return {
    publish: source === "cells" ? tell : ignore,
    fill,
    hear: source === "topic" ? tell : ignore,
    listen,
    subscribe: Stream.asyncPush<Alert>(
      (emit) =>
        Effect.acquireRelease(
          Effect.sync(() => listen((alert) => void emit.single(alert))),
          (leave) => Effect.sync(leave)
        ),
      { bufferSize: FEED_ALERTS_MAX, strategy: "sliding" }
    ),
    recent: () => [...latest]
  }
}

export class AlertFeed extends Context.Tag("groundstate/services/observe/AlertFeed")<
  AlertFeed,
  AlertFeedService
>() {
  /** Of a runner that is alone: told before the log has it. */
  static readonly layer = Layer.sync(AlertFeed, () => make("cells"))
  /** Of a runner among others: told in the topic's order, which is the same at each of them. */
  static readonly layerRegion = Layer.sync(AlertFeed, () => make("topic"))
}
