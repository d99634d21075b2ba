// Alerts as server-sent events: bounded in listeners, lossy for slow ones, ended before the server closes.
import { HttpServerResponse } from "@effect/platform"
import { Context, Deferred, Effect, Layer, Queue, Schema, type Scope, Stream } from "effect"
import { ApiProblem } from "../../schema/error/ApiError.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"
import { AlertCloudEvent, alertCloudEvent } from "../../schema/verdict/alertCloudEvent.ts"
import { AlertFeed, FEED_ALERTS_MAX } from "../observe/AlertFeed.ts"
import { Metrics } from "../observe/Metrics.ts"
import { Settings } from "../runtime/Settings.ts"

/** A comment this often keeps proxies from closing a quiet feed, and finds listeners that are gone. */
export const HEARTBEAT_MILLIS = 15_000
/** How long a client should wait before it connects again. */
const RECONNECT_MILLIS = 2_000

/** Turns of the scheduler that a subscription gets to start in; it needs two. */
const SUBSCRIBE_TURNS = 16

export interface FeedQuery {
  readonly stream?: string | undefined
  readonly device?: string | undefined
  readonly lastEventId?: string | undefined
}

const encodeAlert = Schema.encodeSync(AlertCloudEvent)

/** One event of the feed; JSON has no line breaks, so one data line holds it. */
export const feedText = (region: string, alert: Alert): string =>
  `id: ${alert.id.replaceAll(/[\r\n\0]/g, "")}\nevent: alert\ndata: ${JSON.stringify(encodeAlert(alertCloudEvent(region, alert)))}\n\n`

const make = Effect.gen(function* () {
  const feed = yield* AlertFeed
  const metrics = yield* Metrics
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

  /** Alerts from now on, after those that `lastEventId` missed; each id once. */
  const follow = (query: FeedQuery): Effect.Effect<Stream.Stream<Alert>, never, Scope.Scope> =>
    Effect.gen(function* () {
      const queue = yield* Effect.acquireRelease(Queue.sliding<Alert>(FEED_ALERTS_MAX), Queue.shutdown)
      const newest = (yield* feed.recent).at(-1)?.id
      yield* Effect.forkScoped(Stream.runForEach(feed.subscribe, (alert) => Queue.offer(queue, alert)))
      // The subscription starts a turn or two after the fork. Only then is the past read again, so that no alert
      // falls between the two; one that is in both is told apart by its id.
      yield* Effect.repeatN(Effect.yieldNow(), SUBSCRIBE_TURNS)
      const recent = yield* feed.recent
      const known = recent.findIndex(({ id }) => id === (query.lastEventId ?? newest))
      const missed = recent.slice(known + 1)
      const told = new Set(missed.map(({ id }) => id))
      const live = Stream.filter(Stream.fromQueue(queue), ({ id }) => !told.delete(id))
      return Stream.concat(Stream.fromIterable(missed), live).pipe(
        Stream.filter(
          ({ stream, device }) =>
            (query.stream === undefined || query.stream === stream) &&
            (query.device === undefined || query.device === device)
        )
      )
    })

  /** The feed's text, endless until `end`. Fails with 503 where no more listeners are taken. */
  const texts = (query: FeedQuery): Effect.Effect<Stream.Stream<string>, ApiProblem, Scope.Scope> =>
    Effect.gen(function* () {
      yield* slot
      const alerts = yield* follow(query)
      const beats = Stream.tick(HEARTBEAT_MILLIS).pipe(
        Stream.drop(1),
        Stream.map(() => ": still here\n\n")
      )
      const events = Stream.map(alerts, (alert) => feedText(region, alert))
      return Stream.succeed(`retry: ${RECONNECT_MILLIS}\n\n`).pipe(
        Stream.concat(Stream.merge(events, beats)),
        Stream.interruptWhenDeferred(ended)
      )
    })

  return {
    texts,
    /** The answer to a request; its listener leaves when the request's scope closes. */
    response: (query: FeedQuery) =>
      Effect.map(texts(query), (text) =>
        HttpServerResponse.stream(Stream.encodeText(text), {
          contentType: "text/event-stream; charset=utf-8",
          headers: { "cache-control": "no-store", "x-accel-buffering": "no", connection: "close" }
        })
      ),
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
