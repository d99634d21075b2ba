// Which connections a server keeps: slow ones make room for honest ones, and nobody holds memory by not reading.
import type { IncomingMessage, Server, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { Effect, type Scope } from "effect"

export interface ConnectionLimits {
  /** Connections at once. */
  readonly max: number
  /** Milliseconds after which a client that takes nothing of its answer is cut off. */
  readonly stuckMillis: number
}

/** `crowded`: made room for another one. `refused`: there was none to be made. `stuck`: did not read its answer. */
export type CutCause = "crowded" | "refused" | "stuck"

/** How often it is looked for clients that do not read. */
const LOOK_MILLIS = 1_000

interface Connection {
  /** As it was accepted, below TLS: to destroy it ends all. */
  readonly accepted: Socket
  /** Requests under way; more than one where they are pipelined. */
  readonly requests: Set<IncomingMessage>
  /** What answers are written to: with TLS not what was accepted. */
  writing: Socket
  written: number
  /** When it last took something of its answers. */
  movedAt: number
}

/** Sockets of one connection, below and above TLS, have the same peer. */
const nameOf = (socket: Socket): string => `${socket.remoteAddress} ${socket.remotePort}`

/**
 * Keeps the server's connections within the limits until the scope closes. Where one comes too many, the one goes that
 * has waited longest without a request, or else the one whose request has taken longest to arrive; where every other
 * is being answered, the new one goes. So clients that are slow on purpose push out each other, and one that sends its
 * request at once is served. Live feeds are answers that last; how many there may be is their own limit.
 */
export const keepWithin = (
  server: Server,
  { max, stuckMillis }: ConnectionLimits,
  onCut: (cause: CutCause) => void
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    /** Those whose last request, or which themselves, began first stand first. */
    const all = new Map<string, Connection>()
    /** Those without a request under way, the one that has waited longest first. */
    const waiting = new Map<string, Connection>()

    const forget = (name: string): void => {
      all.delete(name)
      waiting.delete(name)
    }
    const cut = (name: string, { accepted }: Connection, cause: CutCause): void => {
      forget(name)
      accepted.destroy()
      onCut(cause)
    }
    const makeRoom = (newest: string): boolean => {
      for (const [name, connection] of waiting) {
        if (name === newest) continue
        cut(name, connection, "crowded")
        return true
      }
      for (const [name, connection] of all) {
        if (name === newest || ![...connection.requests].some(({ complete }) => !complete)) continue
        cut(name, connection, "crowded")
        return true
      }
      return false
    }

    const onConnection = (socket: Socket): void => {
      const name = nameOf(socket)
      const connection: Connection = {
        accepted: socket,
        requests: new Set(),
        writing: socket,
        written: 0,
        movedAt: performance.now()
      }
      all.set(name, connection)
      waiting.set(name, connection)
      socket.once("close", () => {
        if (all.get(name) === connection) forget(name)
      })
      if (all.size > max && !makeRoom(name)) cut(name, connection, "refused")
    }
    const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
      const name = nameOf(request.socket)
      const connection = all.get(name)
      if (connection === undefined) return
      waiting.delete(name)
      all.delete(name)
      all.set(name, connection)
      connection.writing = request.socket
      connection.requests.add(request)
      response.once("close", () => {
        connection.requests.delete(request)
        if (connection.requests.size === 0 && all.get(name) === connection) waiting.set(name, connection)
      })
    }
    const look = Effect.sync(() => {
      const now = performance.now()
      for (const [name, connection] of all) {
        const { bytesWritten, writableLength } = connection.writing
        const sent = bytesWritten - writableLength
        if (writableLength === 0 || sent !== connection.written) {
          connection.written = sent
          connection.movedAt = now
        } else if (now - connection.movedAt >= stuckMillis) cut(name, connection, "stuck")
      }
    })

    yield* Effect.acquireRelease(
      Effect.sync(() => {
        server.on("connection", onConnection)
        server.prependListener("request", onRequest)
      }),
      () =>
        Effect.sync(() => {
          server.off("connection", onConnection)
          server.off("request", onRequest)
        })
    )
    yield* look.pipe(Effect.delay(LOOK_MILLIS), Effect.forever, Effect.forkScoped)
  })
