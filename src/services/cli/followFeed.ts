// Follows a live feed until Ctrl-C: after a break it goes on behind the last event seen.
import { Duration, Effect, Stream } from "effect"
import type { ApiError, makeApi } from "./ApiClient.ts"
import { Screen } from "./Screen.ts"
import type { ServerSentEvent } from "./sse.ts"

const AGAIN = Duration.seconds(1)

/** Never ends by itself. Fails where the first connection does; a runner that goes away later is waited for. */
export const followFeed = (options: {
  readonly api: Effect.Effect.Success<ReturnType<typeof makeApi>>
  readonly path: string
  readonly query: Readonly<Record<string, string | undefined>>
  readonly show: (event: ServerSentEvent) => Effect.Effect<void, never, Screen>
}): Effect.Effect<never, ApiError, Screen> =>
  Effect.gen(function* () {
    const screen = yield* Screen
    const { api, path, query, show } = options
    let lastId = ""
    let connected = false
    const once = Effect.suspend(() =>
      api.events(path, query, lastId).pipe(
        Stream.runForEach((event) => {
          connected = true
          if (event.id !== "") lastId = event.id
          return show(event)
        })
      )
    )
    return yield* once.pipe(
      Effect.catchTag("ServerUnavailable", (error) =>
        connected ? screen.err.write(`${error.message} Connecting again.\n`) : Effect.fail(error)
      ),
      Effect.zipRight(Effect.sync(() => (connected = true))),
      Effect.zipRight(Effect.sleep(AGAIN)),
      Effect.forever
    )
  })
