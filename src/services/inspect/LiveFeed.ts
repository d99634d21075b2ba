// Alerts and events of the region as server-sent events: bounded in listeners, ended for slow ones and before the server closes.
import { HttpServerResponse } from "@effect/platform"
import { Context, Deferred, Effect, Layer, Option, Queue, Schema, type Scope, Stream } from "effect"
import { ApiProblem } from "../../schema/error/ApiError.ts"
import type { StorageUnavailable } from "../../schema/error/StorageError.ts"
import type { RegionEvent } from "../../schema/protocol/RegionEvent.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"
import { AlertCloudEvent, alertCloudEvent } from "../../schema/verdict/alertCloudEvent.ts"
import { AlertFeed, FEED_ALERTS_MAX } from "../observe/AlertFeed.ts"
import { Metrics } from "../observe/Metrics.ts"
import { RegionEvents } from "../observe/RegionEvents.ts"
import { Settings } from "../runtime/Settings.ts"

/** A comment this often keeps proxies from closing a quiet feed, and finds listeners that are gone. */
export const HEARTBEAT_MILLIS = 15_000
/** How long a client should wait before it connects again. */
const RECONNECT_MILLIS = 2_000

/** How often a listener that has all of the region's events looks for more. */
const EVENTS_EVERY = "1 second"
const EVENTS_PER_READ = 256

export interface FeedQuery {
  readonly stream?: string | undefined
  readonly device?: string | undefined
  readonly lastEventId?: string | undefined
}

const encodeAlert = Schema.encodeSync(AlertCloudEvent)

/** One event of the feed; JSON has no line breaks, so one data line holds it. */
export const feedText = (region: string, alert: Alert): string =>
  `id: ${alert.id.replaceAll(/[\r\n\0]/g, "")}\nevent: alert\ndata: ${JSON.stringify(encodeAlert(alertCloudEvent(region, alert)))}\n\n`

/** Told where a listener's `Last-Event-ID` is not known any more. */
const GAP_TEXT = `event: gap\ndata: ${JSON.stringify({
  detail: "Alerts before the next may be missing; GET /v1/alerts lists all of them."
})}\n\n`

/** What a feed tells: an alert, or that some may be missing. */
type Told = Alert | "gap"

const make = Effect.gen(function* () {
  const feed = yield* AlertFeed
  const metrics = yield* Metrics
  const events = yield* RegionEvents
  const { region, http } = yield* Settings
  const ended = yield* Deferred.make<void>()
  let open = 0
  const resize = (by: number) => {
    open += by
    metrics.liveFeeds(open)
  }

  const slot: Effect.Effect<void, ApiProblem, Scope.Scope> = Effect.acquireRelease(
    Effect.suspend(() => {
      if (open >= http.sseClientsMax) {
        return ApiProblem.of(
          "unavailable",
          `This runner feeds ${http.sseClientsMax} listeners, as many as it may. Read GET /v1/alerts, or ask again later.`,
          { retryAfter: 30 }
        ).raise
      }
      resize(1)
      return Effect.void
    }),
    () => Effect.sync(() => resize(-1))
  )

  /** What came after the alert of this id; with `gap` where it is not known any more, and all that is known comes. */
  const past = (id: string | undefined): ReadonlyArray<Told> => {
    if (id === undefined) return []
    const recent = feed.recent()
    const known = recent.findIndex((alert) => alert.id === id)
    return known < 0 ? ["gap", ...recent] : recent.slice(known + 1)
  }

  /**
   * Alerts from now on, after those that `lastEventId` missed; each id once. A listener that is too slow to be kept for
   * is `cut`: it comes again and goes on behind the last that it had.
   */
  const follow = (
    query: FeedQuery,
    cut: () => void
  ): Effect.Effect<Stream.Stream<Told>, never, Scope.Scope> =>
    Effect.gen(function* () {
      const queue = yield* Effect.acquireRelease(Queue.dropping<Told>(FEED_ALERTS_MAX), Queue.shutdown)
      const wanted = (told: Told) =>
        told === "gap" ||
        ((query.stream === undefined || query.stream === told.stream) &&
          (query.device === undefined || query.device === told.device))
      let full = false
      const leave = feed.listen((alert) => {
        if (full || !wanted(alert)) return
        full = !queue.unsafeOffer(alert)
        if (!full) return
        metrics.liveFeedCut()
        cut()
      })
      // At once after the listener: nothing falls between the past and what is to come, and nothing is in both.
      const missed = past(query.lastEventId)
      yield* Effect.addFinalizer(() => Effect.sync(leave))
      return Stream.concat(Stream.fromIterable(missed), Stream.fromQueue(queue)).pipe(Stream.filter(wanted))
    })

  /** Events as text, with a beat where nothing happens; endless until `end` where they are. */
  const endless = (events: Stream.Stream<string>): Stream.Stream<string> => {
    const beats = Stream.tick(HEARTBEAT_MILLIS).pipe(
      Stream.drop(1),
      Stream.map(() => ": still here\n\n")
    )
    return Stream.succeed(`retry: ${RECONNECT_MILLIS}\n\n`).pipe(
      Stream.concat(Stream.merge(events, beats)),
      Stream.interruptWhenDeferred(ended)
    )
  }

  /** The alerts' text, endless until `end`. Fails with 503 where no more listeners are taken. */
  const texts = (
    query: FeedQuery,
    onCut: () => void = () => {}
  ): Effect.Effect<Stream.Stream<string>, ApiProblem, Scope.Scope> =>
    Effect.gen(function* () {
      yield* slot
      const behind = yield* Deferred.make<void>()
      const alerts = yield* follow(query, () => {
        Deferred.unsafeDone(behind, Effect.void)
        onCut()
      })
      return endless(Stream.map(alerts, (told) => (told === "gap" ? GAP_TEXT : feedText(region, told)))).pipe(
        Stream.interruptWhenDeferred(behind)
      )
    })

  /**
   * The region's events after `seq`, or from now on. Each listener asks for the next when it has taken the last, so one
   * that is slow is late and misses none, as long as they are kept.
   */
  const eventTexts = (
    seq: number | undefined
  ): Effect.Effect<Stream.Stream<string>, ApiProblem | StorageUnavailable, Scope.Scope> =>
    Effect.gen(function* () {
      yield* slot
      const from = seq ?? (yield* events.newest)
      const next = (after: number): Effect.Effect<readonly [ReadonlyArray<RegionEvent>, number]> =>
        events.after(after, EVENTS_PER_READ).pipe(
          // With the database away the feed is still there, and goes on when that is back.
          Effect.orElseSucceed((): ReadonlyArray<RegionEvent> => []),
          Effect.tap((found) => (found.length === 0 ? Effect.sleep(EVENTS_EVERY) : Effect.void)),
          Effect.map((found) => [found, found.at(-1)?.seq ?? after] as const)
        )
      return endless(
        Stream.paginateEffect(from, (after) =>
          Effect.map(next(after), ([found, last]) => [found, Option.some(last)] as const)
        ).pipe(
          Stream.flatMap(Stream.fromIterable),
          Stream.map((event) => `id: ${event.seq}\nevent: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`)
        )
      )
    })

  const answerOf = (text: Stream.Stream<string>) =>
    HttpServerResponse.stream(Stream.encodeText(text), {
      contentType: "text/event-stream; charset=utf-8",
      headers: { "cache-control": "no-store", "x-accel-buffering": "no", connection: "close" }
    })

  return {
    texts,
    /** The answer to a request; `onCut` ends its connection where the listener is too slow. Its listener leaves when the request's scope closes. */
    response: (query: FeedQuery, onCut: () => void) => Effect.map(texts(query, onCut), answerOf),
    eventTexts,
    /** As `response`, for the region's events. */
    eventsResponse: (seq: number | undefined) => Effect.map(eventTexts(seq), answerOf),
    /** Ends every feed, and those that are opened later, at once. */
    end: Effect.asVoid(Deferred.succeed(ended, undefined)),
    open: () => open
  }
})

export class LiveFeed extends Context.Tag("groundstate/services/inspect/LiveFeed")<
  LiveFeed,
  Effect.Effect.Success<typeof make>
>() {
  static readonly layer = Layer.effect(LiveFeed, make)
}
