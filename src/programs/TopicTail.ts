// The last events of a topic as a file of JSON lines, in the order of the log's times, for training on what came in.
import { mkdtemp, open, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { CommandFailed, ServiceUnavailable } from "../schema/error/CliError.ts"
import type { RecordBatch } from "../schema/event/Batch.ts"
import type { Report, TopicTail, TopicTailOptions } from "../services/cli/Programs.ts"
import { EventLog, type PartitionReader } from "../services/ingest/EventLog.ts"
import { type EventForm, eventLine } from "../services/ingest/eventLine.ts"
import type { RunnerConfig } from "../services/runtime/Settings.ts"
import { logLayer } from "./Runner.ts"
import { TimesTail } from "./timesTail.ts"

const FETCH_BYTES = 4 * 1_048_576
const WAIT_MILLIS = 1_000
/** Fetches without an answer, one after the other, before the log counts as silent. */
const SILENT_MAX = 20
const WRITE_BYTES = 1_048_576

/** A partition being read up to the end it had when it was opened. */
interface Cursor {
  readonly partition: number
  readonly reader: PartitionReader
  readonly end: number
  next: number
  batch: RecordBatch | undefined
  row: number
}

/** Moves to the next record, fetching where the batch is used up; false at the end. */
const advance = (cursor: Cursor, topic: string) =>
  Effect.gen(function* () {
    cursor.row++
    let silent = 0
    while (cursor.batch === undefined || cursor.row >= cursor.batch.count) {
      if (cursor.next >= cursor.end) return false
      const batch = yield* cursor.reader.fetch(WAIT_MILLIS)
      if (batch === undefined) {
        if (++silent < SILENT_MAX) continue
        return yield* new ServiceUnavailable({
          problem: `Partition ${cursor.partition} of ${topic} does not answer from offset ${cursor.next} on.`,
          next: "`groundstate doctor` looks for what is wrong."
        })
      }
      silent = 0
      cursor.batch = batch
      cursor.row = 0
      cursor.next = batch.nextOffset
    }
    return cursor.batch.offsets[cursor.row] < cursor.end
  })

const timeOf = ({ batch, row }: Cursor) => (batch as RecordBatch).timestamps[row]

const cursors = (topic: string, last: number) =>
  Effect.gen(function* () {
    const log = yield* EventLog
    const count = yield* log.partitions(topic)
    const opened: Array<Cursor> = []
    for (let partition = 0; partition < count; partition++) {
      const options = { topic, partition, epoch: 0, stream: "train", fetchBytesMax: FETCH_BYTES } as const
      const { earliest, end } = yield* Effect.scoped(
        Effect.flatMap(log.open({ ...options, offset: "latest" }), (reader) => reader.bounds)
      )
      const offset = Math.max(earliest, end - last)
      if (offset >= end) continue
      const reader = yield* log.open({ ...options, offset })
      opened.push({ partition, reader, end, next: offset, batch: undefined, row: -1 })
    }
    return opened
  })

/** The time from which on lie the last `last` records; all of them where the partitions hold no more. */
const firstTime = (topic: string, last: number, report: Report) =>
  Effect.scoped(
    Effect.gen(function* () {
      const times = new TimesTail(last)
      let read = 0
      for (const cursor of yield* cursors(topic, last)) {
        while (yield* advance(cursor, topic)) {
          times.add(timeOf(cursor))
          if (++read % 10_000 === 0) yield* report(read, undefined)
        }
      }
      return times.first()
    })
  )

class Spool {
  /** Where each line came from. */
  readonly partitions: Array<number> = []
  readonly offsets: Array<number> = []
  empty = 0
  private parts: Array<Uint8Array> = []
  private size = 0
  private readonly write: (bytes: Uint8Array) => Promise<unknown>

  constructor(write: (bytes: Uint8Array) => Promise<unknown>) {
    this.write = write
  }

  /** True where what is held should be written. */
  add(cursor: Cursor, form: EventForm): boolean {
    const line = eventLine(cursor.batch as RecordBatch, cursor.row, form)
    if (line === undefined) {
      this.empty++
      return false
    }
    this.partitions.push(cursor.partition)
    this.offsets.push((cursor.batch as RecordBatch).offsets[cursor.row])
    this.parts.push(line)
    this.size += line.length
    return this.size >= WRITE_BYTES
  }

  flush = Effect.suspend(() => {
    const bytes = Buffer.concat(this.parts)
    this.parts = []
    this.size = 0
    return Effect.promise(() => this.write(bytes))
  })
}

/** Merges the partitions by time and writes one event a line. */
const spool = (
  topic: string,
  last: number,
  from: number,
  ties: number,
  form: EventForm,
  file: string,
  report: Report
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const handle = yield* Effect.acquireRelease(
        Effect.promise(() => open(file, "wx", 0o600)),
        (opened) => Effect.promise(() => opened.close())
      )
      const out = new Spool((bytes) => handle.write(bytes))
      const heads: Array<Cursor> = []
      for (const cursor of yield* cursors(topic, last)) {
        if (yield* advance(cursor, topic)) heads.push(cursor)
      }
      let tied = 0
      let first = Number.NaN
      let latest = Number.NaN
      while (heads.length > 0 && out.offsets.length < last) {
        let at = 0
        for (let other = 1; other < heads.length; other++) {
          if (timeOf(heads[other]) < timeOf(heads[at])) at = other
        }
        const head = heads[at]
        const time = timeOf(head)
        if (time > from || (time === from && tied++ < ties)) {
          if (Number.isNaN(first)) first = time
          latest = time
          if (out.add(head, form)) yield* out.flush
          if (out.offsets.length % 10_000 === 0) yield* report(out.offsets.length, last)
        }
        if (!(yield* advance(head, topic))) heads.splice(at, 1)
      }
      yield* out.flush
      return { out, first, latest }
    })
  )

const noLog = (settings: RunnerConfig) =>
  Effect.gen(function* () {
    if (settings.log.kind === "kafka") return
    const file = join(settings.dataDir, "log.db")
    const found = yield* Effect.promise(() => stat(file).catch(() => undefined))
    if (found === undefined) {
      return yield* new CommandFailed({
        problem: `There is no event log at ${file}.`,
        next: "Name the runner's configuration with --config, or its folder with GROUNDSTATE_DATA_DIR."
      })
    }
  })

/**
 * Reads the last events of a topic from the log that the settings name. The file is gone when the scope closes. Two
 * passes: which time the last N begin at, then the events from there on.
 */
export const topicTail = (options: TopicTailOptions, report: Report) =>
  Effect.gen(function* () {
    const { settings, topic, last, form } = options
    yield* noLog(settings)
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "groundstate-topic-"))),
      (made) => Effect.promise(() => rm(made, { recursive: true, force: true }))
    )
    const file = join(folder, "events.jsonl")
    const { out, first, latest } = yield* Effect.gen(function* () {
      const { time, ties } = yield* firstTime(topic, last, report)
      return yield* spool(topic, last, time, ties, form, file, report)
    }).pipe(
      Effect.provide(logLayer(settings)),
      Effect.mapError((error) =>
        error._tag === "ServiceUnavailable"
          ? error
          : new ServiceUnavailable({
              problem:
                "operation" in error
                  ? `Topic ${topic} can't be read: ${error.detail}.`
                  : error.message === ""
                    ? `The event log can't be opened: ${String(error.cause)}.`
                    : error.message,
              next: "Check --topic and --config; `groundstate doctor` looks for what is wrong."
            })
      )
    )
    if (out.offsets.length === 0) {
      return yield* new CommandFailed({
        problem: `Topic ${topic} holds no events.`,
        next: "Let some arrive, or name another topic."
      })
    }
    const tail: TopicTail = {
      file,
      events: out.offsets.length,
      empty: out.empty,
      from: first,
      to: latest,
      where: (row) => `partition ${out.partitions[row - 1]}, offset ${out.offsets[row - 1]}`
    }
    return tail
  })
