// A link that can be made bad: a TCP relay between two processes that delays, holds back, cuts and refuses.
import { createServer, type Server, Socket } from "node:net"

/** From the one who connected to the one who listens, or back. */
export type Direction = "there" | "back"

export interface Proxy {
  readonly host: string
  readonly port: number
  /** Where connections go from now on. */
  readonly aim: (port: number, host?: string) => void
  /** Passes everything on; what was held back goes first. */
  readonly pass: () => void
  /** Passes everything on so much later, ms. */
  readonly delay: (millis: number) => void
  /** Nothing arrives any more, and nobody is told: connections stay open, new ones are taken. */
  readonly freeze: (...directions: ReadonlyArray<Direction>) => void
  /** Ends all connections with a reset. */
  readonly reset: () => void
  /** Ends all connections with a reset, and refuses new ones until `pass`. */
  readonly refuse: () => void
  /** Each connection is reset after this many more bytes, counted in both directions. */
  readonly cutAfter: (bytes: number) => void
  /** What the link has seen: a fault of which nothing shows here was none. */
  readonly seen: () => ProxySeen
  readonly close: () => Promise<void>
}

export interface ProxySeen {
  readonly connections: number
  readonly refused: number
  readonly resets: number
  /** Bytes that were held back, or came later than they were sent. */
  readonly held: number
  readonly bytes: number
}

interface Pipe {
  readonly from: Socket
  readonly to: Socket
  readonly direction: Direction
  /** What has come and is not yet to go on, with the moment at which it may. */
  readonly waiting: Array<{ readonly at: number; readonly chunk: Buffer | "end" }>
  timer: NodeJS.Timeout | undefined
}

const HELD_BYTES_MAX = 16 * 1_048_576

const listening = (server: Server, host: string, port: number) =>
  new Promise<number>((resolve, reject) => {
    server.once("error", reject)
    server.listen(port, host, () => {
      const address = server.address()
      resolve(typeof address === "object" && address !== null ? address.port : 0)
    })
  })

export const startProxy = async (
  where: { readonly host?: string; readonly port?: number } = {}
): Promise<Proxy> => {
  const host = where.host ?? "127.0.0.1"
  let target = { host: "127.0.0.1", port: 0 }
  let delayMillis = 0
  let refusing = false
  let budget = Number.POSITIVE_INFINITY
  const frozen = new Set<Direction>()
  const pipes = new Set<Pipe>()
  const counts = { connections: 0, refused: 0, resets: 0, held: 0, bytes: 0 }

  const drop = (pipe: Pipe) => {
    clearTimeout(pipe.timer)
    pipes.delete(pipe)
  }

  /** Sends what may go now, and comes back when the next may. */
  const flush = (pipe: Pipe): void => {
    clearTimeout(pipe.timer)
    if (frozen.has(pipe.direction)) return
    const now = performance.now()
    while (pipe.waiting.length > 0 && pipe.waiting[0].at <= now) {
      const { chunk } = pipe.waiting.shift() ?? { chunk: "end" }
      if (chunk === "end") {
        pipe.to.end()
        drop(pipe)
        return
      }
      counts.bytes += chunk.length
      pipe.to.write(chunk)
    }
    if (pipe.waiting.length > 0) pipe.timer = setTimeout(() => flush(pipe), pipe.waiting[0].at - now)
    if (pipe.waiting.length === 0) pipe.from.resume()
  }

  const join = (from: Socket, to: Socket, direction: Direction, spent: { bytes: number }) => {
    const pipe: Pipe = { from, to, direction, waiting: [], timer: undefined }
    pipes.add(pipe)
    const take = (chunk: Buffer | "end") => {
      if (chunk !== "end") {
        spent.bytes += chunk.length
        if (delayMillis > 0 || frozen.has(direction)) counts.held += chunk.length
        if (spent.bytes > budget) {
          counts.resets++
          from.resetAndDestroy()
          to.resetAndDestroy()
          return
        }
      }
      pipe.waiting.push({ at: performance.now() + delayMillis, chunk })
      const held = pipe.waiting.reduce((sum, one) => sum + (one.chunk === "end" ? 0 : one.chunk.length), 0)
      // As a link's own buffers: what does not fit there stays with the sender.
      if (held > HELD_BYTES_MAX) from.pause()
      flush(pipe)
    }
    from.on("data", take)
    from.on("end", () => take("end"))
    from.on("error", () => undefined)
    from.on("close", (failed) => {
      if (!failed) return
      drop(pipe)
      to.destroy()
    })
  }

  const server = createServer({ allowHalfOpen: true }, (near) => {
    if (refusing) {
      counts.refused++
      near.resetAndDestroy()
      return
    }
    counts.connections++
    const far = new Socket({ allowHalfOpen: true })
    near.setNoDelay(true)
    far.setNoDelay(true)
    const spent = { bytes: 0 }
    join(near, far, "there", spent)
    join(far, near, "back", spent)
    far.connect(target.port, target.host)
  })
  const port = await listening(server, host, where.port ?? 0)

  const reset = () => {
    for (const pipe of pipes) {
      clearTimeout(pipe.timer)
      if (pipe.direction === "there") counts.resets++
      pipe.from.resetAndDestroy()
      pipe.to.resetAndDestroy()
    }
    pipes.clear()
  }
  return {
    host,
    port,
    aim: (to, at = "127.0.0.1") => {
      target = { host: at, port: to }
    },
    pass: () => {
      refusing = false
      delayMillis = 0
      budget = Number.POSITIVE_INFINITY
      frozen.clear()
      const now = performance.now()
      for (const pipe of pipes) {
        pipe.waiting.forEach((one, i) => {
          pipe.waiting[i] = { ...one, at: now }
        })
        flush(pipe)
      }
    },
    delay: (millis) => {
      delayMillis = millis
    },
    freeze: (...directions) => {
      for (const direction of directions.length === 0 ? (["there", "back"] as const) : directions)
        frozen.add(direction)
    },
    reset,
    refuse: () => {
      refusing = true
      reset()
    },
    cutAfter: (bytes) => {
      budget = bytes
    },
    seen: () => ({ ...counts }),
    close: () => {
      reset()
      return new Promise((resolve) => server.close(() => resolve()))
    }
  }
}
