// Entry of the thread that moves a SQLite file's write-ahead log into it: the sync to disk that this takes would hold up
// the next commit for up to a quarter of a second.
import { createRequire } from "node:module"
import { parentPort, workerData } from "node:worker_threads"
import type { WalReply, WalStart } from "./WalThread.ts"

/** As much of the driver as is used here; it brings no types. */
interface Database {
  pragma(text: string): ReadonlyArray<{ readonly log: number; readonly checkpointed: number }>
  close(): void
}
type Driver = new (filename: string) => Database

const port = parentPort
if (port === null) throw new Error("walMain runs as a worker thread only")
const { filename, everyMillis, triesMax, busyMillis } = workerData as WalStart
const Sqlite: Driver = createRequire(import.meta.url)("better-sqlite3")
const database = new Sqlite(filename)
database.pragma(`busy_timeout = ${busyMillis}`)
database.pragma("synchronous = NORMAL")

/** Moves what is there; only where nothing was left behind does the next writer start the log from its beginning. */
const move = () => {
  for (let tried = 0; tried < triesMax; tried++) {
    const [{ log, checkpointed }] = database.pragma("wal_checkpoint(PASSIVE)")
    if (log === checkpointed) return
  }
}

const timer = setInterval(move, everyMillis)
port.once("message", () => {
  clearInterval(timer)
  database.close()
  port.close()
})
const ready: WalReply = "ready"
port.postMessage(ready)
