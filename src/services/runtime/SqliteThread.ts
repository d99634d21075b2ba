// SQLite with its statements run by a thread: reads and commits wait for the disk there, and the event loop goes on.
import { Worker } from "node:worker_threads"
import type * as Reactivity from "@effect/experimental/Reactivity"
import { SqlClient, SqlError, Statement } from "@effect/sql"
import type { Connection } from "@effect/sql/SqlConnection"
import { Effect, Exit, type Scope } from "effect"
import {
  NEVER_OPEN,
  type SqliteReply,
  type SqliteRequest,
  type SqliteStart,
  type SqliteStatement
} from "./sqliteMessages.ts"

type Answer = ReadonlyArray<ReadonlyArray<unknown>>
type AskSqlite = (
  request: Pick<SqliteRequest, "statements" | "atomic" | "lists">
) => Effect.Effect<Answer, SqlError.SqlError>

/** How long the thread may take to close the file. */
const END_MILLIS = 5_000

/** Worker threads run the emitted JavaScript, also where this file is run from its TypeScript source. */
const entry = () =>
  import.meta.url.endsWith(".ts")
    ? new URL("../../../dist/services/runtime/sqliteMain.js", import.meta.url)
    : new URL("./sqliteMain.js", import.meta.url)

/** Of a view the thread gets its bytes, not all of the memory that it is a view of. */
const carried = (value: unknown): unknown =>
  ArrayBuffer.isView(value) && value.byteLength < value.buffer.byteLength
    ? Uint8Array.prototype.slice.call(new Uint8Array(value.buffer, value.byteOffset, value.byteLength))
    : value

const carriedStatement = ({ text, values }: SqliteStatement): SqliteStatement => ({
  text,
  values: values.map(carried)
})

const failed = (message: string) => Exit.fail(new SqlError.SqlError({ cause: new Error(message), message }))

/** One thread with the file open. What is asked of it is done in order; what it has not answered at its end fails. */
const startThread = (workerData: SqliteStart) => {
  const worker = new Worker(entry(), { workerData })
  const waiting = new Map<number, (exit: Exit.Exit<Answer, SqlError.SqlError>) => void>()
  let asked = 0
  let ended: string | undefined
  worker.unref()
  const settle = (id: number, exit: Exit.Exit<Answer, SqlError.SqlError>) => {
    const resume = waiting.get(id)
    waiting.delete(id)
    if (waiting.size === 0) worker.unref()
    resume?.(exit)
  }
  const end = (why: string) => {
    ended ??= why
    for (const id of [...waiting.keys()]) settle(id, failed(ended))
  }
  worker.on("message", (reply: SqliteReply) => {
    if ("answer" in reply) settle(reply.id, Exit.succeed(reply.answer))
    else if (reply.id === NEVER_OPEN) end(reply.failure)
    else settle(reply.id, failed(reply.failure))
  })
  worker.once("error", (cause) => end(cause.message))
  worker.once("exit", (code) => end(`the database's thread has ended with code ${code}`))
  const ask: AskSqlite = ({ statements, ...how }) =>
    Effect.async((resume) => {
      if (ended !== undefined) return resume(failed(ended))
      const id = ++asked
      // A process that waits for its database has something to live for.
      if (waiting.size === 0) worker.ref()
      waiting.set(id, resume)
      worker.postMessage({ id, statements: statements.map(carriedStatement), ...how })
    })
  return {
    ask,
    worker,
    alive: () => ended === undefined,
    close: Effect.async<void>((resume) => {
      if (ended !== undefined) return resume(Effect.void)
      worker.ref()
      worker.once("exit", () => resume(Effect.void))
      worker.postMessage("end")
    }).pipe(Effect.timeout(END_MILLIS), Effect.ignore)
  }
}

const connectionOf = (ask: AskSqlite): Connection => {
  const rowsOf = (text: string, values: ReadonlyArray<unknown>, lists: boolean) =>
    Effect.map(ask({ statements: [{ text, values }], atomic: false, lists }), ([rows]) => rows)
  const execute: Connection["execute"] = (text, values, transform) => {
    const rows = rowsOf(text, values, false) as Effect.Effect<ReadonlyArray<object>, SqlError.SqlError>
    return transform === undefined ? rows : Effect.map(rows, transform)
  }
  return {
    execute,
    executeUnprepared: execute,
    executeRaw: (text, values) => rowsOf(text, values, false),
    executeValues: (text, values) =>
      rowsOf(text, values, true) as Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, SqlError.SqlError>,
    executeStream: () => {
      throw new Error("SQLite's rows are not streamed")
    }
  }
}

/** A client of one file, and a way to say a whole transaction at once. */
export interface SqliteThread {
  readonly sql: SqlClient.SqlClient
  /** Runs statements in one transaction and answers the rows of each: one message to the thread and one back. */
  readonly atomically: (
    statements: ReadonlyArray<SqliteStatement>
  ) => Effect.Effect<ReadonlyArray<ReadonlyArray<unknown>>, SqlError.SqlError>
  /** The thread as it is now: for tests, and for who looks. */
  readonly worker: () => Worker
}

/**
 * Opens a file, made where missing, with its log written ahead, while the scope is open. Where the file can't be
 * opened every statement fails with what the driver says. A thread that ends is followed by another at the next
 * statement; a transaction that was open fails with it.
 */
export const makeSqliteThread = (
  options: SqliteStart
): Effect.Effect<SqliteThread, never, Scope.Scope | Reactivity.Reactivity> =>
  Effect.gen(function* () {
    const start = () => {
      const thread = startThread(options)
      return { ...thread, connection: connectionOf(thread.ask) }
    }
    let thread = start()
    yield* Effect.addFinalizer(() => Effect.suspend(() => thread.close))
    const current = () => {
      if (!thread.alive()) thread = start()
      return thread
    }
    // As the driver's own client: one transaction at a time, and no statement in the middle of another's.
    const permit = yield* Effect.makeSemaphore(1)
    const connection = Effect.sync(() => current().connection)
    const sql = yield* SqlClient.make({
      acquirer: permit.withPermits(1)(connection),
      transactionAcquirer: Effect.uninterruptibleMask((restore) =>
        restore(permit.take(1)).pipe(
          Effect.zipRight(Effect.addFinalizer(() => permit.release(1))),
          Effect.zipRight(connection)
        )
      ),
      compiler: Statement.makeCompilerSqlite(),
      spanAttributes: [["db.system.name", "sqlite"]]
    })
    return {
      sql,
      worker: () => thread.worker,
      atomically: (statements) =>
        permit.withPermits(1)(Effect.suspend(() => current().ask({ statements, atomic: true, lists: false })))
    }
  })
