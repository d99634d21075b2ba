// Brings the alerts of every runner of the region to the live feeds of this one, and those from before it started.
import { Effect, Fiber, Layer, Schedule } from "effect"
import { AlertTopic } from "../ingest/AlertTopic.ts"
import { AlertFeed, FEED_RECENT_MAX } from "../observe/AlertFeed.ts"

/** How long a runner that starts waits for the past: a listener that comes back finds it there, if the log answers. */
const PAST_WAIT = "5 seconds"
const AGAIN = Schedule.spaced("1 second")

/** Comes up when the feeds have their past, or without it where the log is slow. */
export const layer = Layer.scopedDiscard(
  Effect.gen(function* () {
    const topic = yield* AlertTopic
    const feed = yield* AlertFeed
    const following = yield* topic
      .follow(FEED_RECENT_MAX, feed.fill, feed.hear)
      .pipe(Effect.retry(AGAIN), Effect.forkScoped)
    yield* Fiber.join(following).pipe(Effect.disconnect, Effect.timeout(PAST_WAIT), Effect.ignore)
  })
)
