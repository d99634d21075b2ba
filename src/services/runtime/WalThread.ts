// A thread of its own for the part of SQLite's work that waits for the disk: moving the write-ahead log into the file.
import { Worker } from "node:worker_threads"
import type { SqlClient } from "@effect/sql"
import { Effect, type Scope } from "effect"

/** What the thread is started with. */
export interface WalStart {
  readonly filename: string
  readonly everyMillis: number
  /** Moves in a row, where the log has grown during one. */
  readonly triesMax: number
  readonly busyMillis: number
}
export type WalReply = "ready"

const EVERY_MILLIS = 1_000
const TRIES_MAX = 4
const BUSY_MILLIS = 1_000
/** Pages, of 4 KiB, at which the writer moves the log itself: without the thread, and where that falls behind. */
const ALONE_PAGES = 4_000
const BEHIND_PAGES = 32_000
/** How long the thread may take to close the file. */
const END_MILLIS = 2_000

/** Worker threads run the emitted JavaScript, also where this file is run from its TypeScript source. */
const entry = () =>
  import.meta.url.endsWith(".ts")
    ? new URL("../../../dist/services/runtime/walMain.js", import.meta.url)
    : new URL("./walMain.js", import.meta.url)

const ended = (worker: Worker) =>
  Effect.async<void>((resume) => {
    worker.once("exit", () => resume(Effect.void))
    worker.postMessage("end")
  }).pipe(Effect.timeout(END_MILLIS), Effect.ignore)

/**
 * Keeps the write-ahead log of `filename` short while the scope is open. `sql` is the one connection that writes the
 * file in this process. Where the thread does not start, or dies, that connection does the work, as SQLite does by
 * itself.
 */
export const keepWalShort = (
  sql: SqlClient.SqlClient,
  filename: string
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.gen(function* () {
    const moveAt = (pages: number) => Effect.ignore(sql.unsafe(`PRAGMA wal_autocheckpoint = ${pages}`))
    yield* moveAt(ALONE_PAGES)
    const workerData: WalStart = {
      filename,
      everyMillis: EVERY_MILLIS,
      triesMax: TRIES_MAX,
      busyMillis: BUSY_MILLIS
    }
    const worker = new Worker(entry(), { workerData })
    worker.unref()
    let alive = true
    const dead = Effect.async<string>((resume) => {
      worker.once("error", (cause) => resume(Effect.succeed(cause.message)))
      worker.once("exit", (code) => resume(Effect.succeed(`it ended with code ${code}`)))
    })
    const ready = Effect.async<void>((resume) => {
      worker.once("message", () => resume(Effect.void))
    })
    yield* Effect.addFinalizer(() => Effect.suspend(() => (alive ? ended(worker) : Effect.void)))
    yield* Effect.zipRight(ready, moveAt(BEHIND_PAGES)).pipe(Effect.forkScoped)
    yield* dead.pipe(
      Effect.tap((detail) => {
        alive = false
        return Effect.logWarning("SQLite's log is moved by its writer: the thread that did is gone", {
          filename,
          detail
        })
      }),
      Effect.zipRight(moveAt(ALONE_PAGES)),
      Effect.forkScoped
    )
  })
