// The crowd of the hostile bench, in a thread of its own, so that honest requests do not wait for it on their own side.
import { connect, type Socket } from "node:net"
import { parentPort, workerData } from "node:worker_threads"
import { round } from "./report.ts"

export interface Manner {
  readonly name: string
  readonly count: number
  readonly words: string
  /** Sends one more byte every second. */
  readonly drips: boolean
  readonly reads: boolean
  /** Half of it to one and a half times it, one after the other: it comes again after being cut off. */
  readonly againMillis: number
}

/** What became of a crowd's connections: ended by the runner, the longest of those, and open still. */
export interface CrowdSeen {
  readonly cut: number
  readonly longestSeconds: number
  readonly open: number
}

const DRIP_MILLIS = 1_000
/** Connections that are begun at once while all of them come. */
const BATCH = 100

const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

const { port, manners } = workerData as { readonly port: number; readonly manners: ReadonlyArray<Manner> }
const looks = new Map<string, () => CrowdSeen>()

const gather = async (manner: Manner): Promise<void> => {
  const open = new Map<Socket, number>()
  let [cut, longest] = [0, 0]
  const come = (member: number): void => {
    const socket = connect(port, "127.0.0.1")
    const from = performance.now()
    open.set(socket, from)
    socket.on("error", () => undefined)
    socket.once("close", () => {
      open.delete(socket)
      cut += 1
      longest = Math.max(longest, performance.now() - from)
      setTimeout(() => come(member), manner.againMillis * (0.5 + member / manner.count))
    })
    socket.write(manner.words)
    if (manner.reads) socket.resume()
    else socket.pause()
  }
  if (manner.drips) {
    setInterval(() => {
      for (const socket of open.keys()) socket.write("x")
    }, DRIP_MILLIS)
  }
  looks.set(manner.name, () => ({ cut, longestSeconds: round(longest / 1_000), open: open.size }))
  for (let n = 0; n < manner.count; n++) {
    come(n)
    if (n % BATCH === BATCH - 1) await pause(10)
  }
}

parentPort?.on("message", () => {
  parentPort?.postMessage(Object.fromEntries([...looks].map(([name, look]) => [name, look()])))
})
for (const manner of manners) await gather(manner)
