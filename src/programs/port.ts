// Is a port free? Asked before anything starts, so that a taken one is no half start.
import { createServer } from "node:net"
import { Effect } from "effect"

/** The reason why `host:port` can't be listened on; undefined where it can, or where port 0 means any. */
export const portProblem = (host: string, port: number): Effect.Effect<string | undefined> =>
  port === 0
    ? Effect.succeed(undefined)
    : Effect.async((resume) => {
        const server = createServer()
        server.once("error", (cause) => resume(Effect.succeed(cause.message)))
        server.listen({ host, port, exclusive: true }, () =>
          server.close(() => resume(Effect.succeed(undefined)))
        )
      })
