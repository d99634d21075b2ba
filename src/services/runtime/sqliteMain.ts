// Entry of the thread that has a SQLite file's one writing connection: a commit that waits for the disk would hold the
// event loop, and with it every request and every cell.
import { createRequire } from "node:module"
import { parentPort, workerData } from "node:worker_threads"
import { NEVER_OPEN, type SqliteReply, type SqliteRequest, type SqliteStart } from "./sqliteMessages.ts"

/** As much of the driver as is used here; it brings no types. A list binds as it is: one value alone would pass for names. */
interface Prepared {
  readonly reader: boolean
  all(values: ReadonlyArray<unknown>): ReadonlyArray<unknown>
  run(values: ReadonlyArray<unknown>): unknown
  raw(on: boolean): void
}
interface Database {
  prepare(text: string): Prepared
  pragma(text: string): unknown
  close(): void
}
type Driver = new (filename: string) => Database

/** Texts kept prepared; the oldest give way. */
const PREPARED_MAX = 200

const port = parentPort
if (port === null) throw new Error("sqliteMain runs as a worker thread only")
const { filename, pragmas } = workerData as SqliteStart
const Sqlite: Driver = createRequire(import.meta.url)("better-sqlite3")
const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
const open = (): Database | undefined => {
  try {
    const opened = new Sqlite(filename)
    for (const pragma of pragmas) opened.pragma(pragma)
    opened.pragma("journal_mode = WAL")
    return opened
  } catch (cause) {
    // The driver's error does not survive its way as the thread's own.
    const reply: SqliteReply = { id: NEVER_OPEN, failure: messageOf(cause) }
    port.postMessage(reply)
    port.close()
    return undefined
  }
}
const database = open()

const prepared = new Map<string, Prepared>()
const statementOf = (text: string): Prepared => {
  const known = prepared.get(text)
  if (known !== undefined) return known
  const statement = (database as Database).prepare(text)
  if (prepared.size >= PREPARED_MAX) prepared.delete(prepared.keys().next().value as string)
  prepared.set(text, statement)
  return statement
}

/** Rows as objects, or as lists of values; of a statement that has no rows none. */
const run = (text: string, values: ReadonlyArray<unknown>, lists: boolean): ReadonlyArray<unknown> => {
  const statement = statementOf(text)
  if (!statement.reader) {
    statement.run(values)
    return []
  }
  if (!lists) return statement.all(values)
  statement.raw(true)
  try {
    return statement.all(values)
  } finally {
    statement.raw(false)
  }
}

const answerOf = (request: SqliteRequest): ReadonlyArray<ReadonlyArray<unknown>> => {
  const { lists, statements } = request
  if (!request.atomic) return statements.map(({ text, values }) => run(text, values, lists))
  run("BEGIN IMMEDIATE", [], false)
  try {
    const rows = statements.map(({ text, values }) => run(text, values, lists))
    run("COMMIT", [], false)
    return rows
  } catch (cause) {
    try {
      run("ROLLBACK", [], false)
    } catch {
      // SQLite has rolled back by itself; what went wrong is the first error.
    }
    throw cause
  }
}

/** Blobs are handed over, not copied. */
const blobsIn = (answer: ReadonlyArray<ReadonlyArray<unknown>>): Array<ArrayBuffer> => {
  const blobs: Array<ArrayBuffer> = []
  for (const rows of answer) {
    for (const row of rows) {
      for (const value of Object.values(row as object)) if (value instanceof ArrayBuffer) blobs.push(value)
    }
  }
  return blobs
}

const take = (request: SqliteRequest | "end") => {
  if (request === "end") {
    database?.close()
    port.close()
    return
  }
  let reply: SqliteReply
  let blobs: Array<ArrayBuffer> = []
  try {
    const answer = answerOf(request)
    blobs = blobsIn(answer)
    reply = { id: request.id, answer }
  } catch (cause) {
    reply = { id: request.id, failure: messageOf(cause) }
  }
  port.postMessage(reply, blobs)
}
if (database !== undefined) port.on("message", take)
