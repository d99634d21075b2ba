// An event log in memory, with gaps and stretches that nobody can read; each request may be held up at a gate.
import { Effect, Exit, Option } from "effect"
import { LogUnavailable, OffsetOutOfRange } from "../../src/schema/error/IngestError.ts"
import type { RecordBatch, UnreadableRecords } from "../../src/schema/event/Batch.ts"
import type { EventLog, NewRecord } from "../../src/services/ingest/EventLog.ts"
import { partitionOf } from "../../src/services/ingest/partition.ts"
import type { Gate } from "./gate.ts"

export interface LogRecord {
  readonly value: Uint8Array | null
  readonly timestamp: number
  readonly headers: Readonly<Record<string, string>> | undefined
}

/** What stands at an offset: a record, nothing (compaction, a marker), or the first offset of what can't be read. */
export type LogEntry = LogRecord | "gap" | UnreadableRecords

interface Partition {
  readonly entries: Array<LogEntry>
  readonly waiting: Set<() => void>
}

export interface LogTables {
  readonly topics: Map<string, Array<Partition>>
  /** Puts entries behind the last one and wakes readers; answers the first one's offset. */
  readonly put: (topic: string, partition: number, entries: ReadonlyArray<LogEntry>) => number
}

export const makeLogTables = (): LogTables => {
  const topics = new Map<string, Array<Partition>>()
  return {
    topics,
    put: (topic, partition, entries) => {
      const { entries: held, waiting } = topics.get(topic)![partition]
      const first = held.length
      held.push(...entries)
      for (const wake of waiting) wake()
      return first
    }
  }
}

/** How much of a partition a fetch sees and takes, and what it says of the end; never more than there is. */
export interface Sight {
  readonly records: (available: number) => number
  readonly end: (end: number, seen: number) => number
}
const clearSight: Sight = { records: (available) => available, end: (end) => end }

const isRecord = (entry: LogEntry): entry is LogRecord => entry !== "gap" && !("reason" in entry)

/** Entries [from, to) of a partition as a reader hands them out. */
export const batchOfEntries = (
  entries: ReadonlyArray<LogEntry>,
  from: number,
  to: number,
  endOffset: number
): RecordBatch => {
  const rows: Array<{ readonly offset: number; readonly record: LogRecord }> = []
  const unreadable: Array<UnreadableRecords> = []
  for (let offset = from; offset < to; offset++) {
    const entry = entries[offset]
    if (entry === "gap") continue
    if (isRecord(entry)) rows.push({ offset, record: entry })
    else unreadable.push(entry)
  }
  const bytes = new Uint8Array(rows.reduce((sum, { record }) => sum + (record.value?.length ?? 0), 0))
  const starts = new Int32Array(rows.length)
  const ends = new Int32Array(rows.length)
  const headers = new Map<number, Readonly<Record<string, string>>>()
  let at = 0
  rows.forEach(({ record }, row) => {
    starts[row] = record.value === null ? -1 : at
    if (record.value !== null) bytes.set(record.value, at)
    at += record.value?.length ?? 0
    ends[row] = at
    if (record.headers !== undefined) headers.set(row, record.headers)
  })
  return {
    count: rows.length,
    offsets: Float64Array.from(rows, ({ offset }) => offset),
    timestamps: Float64Array.from(rows, ({ record }) => record.timestamp),
    bytes,
    starts,
    ends,
    headers: headers.size === 0 ? undefined : headers,
    unreadable,
    nextOffset: to,
    endOffset
  }
}

const lowerCase = (headers: NewRecord["headers"]): LogRecord["headers"] =>
  headers === undefined
    ? undefined
    : Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))

export const memoryLog = (
  tables: LogTables,
  gate: Gate,
  clock: () => number,
  sight: Sight = clearSight
): EventLog["Type"] => {
  const ask = <A, E>(
    topic: string,
    operation: LogUnavailable["operation"],
    apply: () => Exit.Exit<A, E | LogUnavailable>
  ) =>
    gate<A, E | LogUnavailable>(
      `${operation} ${topic}`,
      apply,
      (detail) => new LogUnavailable({ topic, operation, detail })
    )
  const missing = (topic: string, operation: LogUnavailable["operation"], detail: string) =>
    Exit.fail(new LogUnavailable({ topic, operation, detail }))
  let turn = 0

  return {
    ensureTopic: (topic, partitions) =>
      ask(topic, "create", () => {
        const known = tables.topics.get(topic)
        if (known !== undefined) return Exit.succeed(known.length)
        const made = Array.from({ length: partitions }, () => ({
          entries: [],
          waiting: new Set<() => void>()
        }))
        tables.topics.set(topic, made)
        return Exit.succeed(partitions)
      }),
    partitions: (topic) =>
      ask(topic, "describe", () => {
        const known = tables.topics.get(topic)
        return known === undefined ? missing(topic, "describe", "no such topic") : Exit.succeed(known.length)
      }),
    append: (topic, records) =>
      ask(topic, "append", () => {
        const partitions = tables.topics.get(topic)
        if (partitions === undefined) return missing(topic, "append", "no such topic")
        if (records.some(({ partition = 0 }) => partition >= partitions.length)) {
          return missing(topic, "append", "no such partition")
        }
        return Exit.succeed(
          records.map(({ headers, key, partition: given, timestamp = clock(), value }) => {
            const partition =
              given ?? (key === null ? turn++ % partitions.length : partitionOf(key, partitions.length))
            const record = { value: value?.slice() ?? null, timestamp, headers: lowerCase(headers) }
            return { partition, offset: tables.put(topic, partition, [record]) }
          })
        )
      }),
    ping: Effect.void,

    open: ({ offset, partition, topic }) =>
      Effect.gen(function* () {
        const { held, start } = yield* ask(topic, "read", () => {
          const held = tables.topics.get(topic)?.[partition]
          if (held === undefined) return missing(topic, "read", `no partition ${partition}`)
          const latest = held.entries.length
          const start = offset === "earliest" ? 0 : offset === "latest" ? latest : offset
          return start < 0 || start > latest
            ? Exit.fail(new OffsetOutOfRange({ topic, partition, offset: start, earliest: 0, latest }))
            : Exit.succeed({ held, start })
        })
        let next = start
        let before: RecordBatch | undefined
        /** Whoever asks takes what it hears: an answer that is lost moves nothing. */
        const poll = Effect.suspend(() => {
          // What was handed out before is gone with this fetch.
          before?.bytes.fill(0)
          before?.offsets.fill(Number.NaN)
          before = undefined
          return ask<RecordBatch | undefined, never>(topic, "read", () => {
            const end = held.entries.length
            const count = sight.records(end - next)
            if (count === 0) return Exit.succeed(undefined)
            let to = next + count
            for (let at = next; at < to; at++) {
              const entry = held.entries[at]
              // A stretch that can't be read comes whole.
              if (entry !== "gap" && !isRecord(entry)) to = Math.max(to, entry.lastOffset + 1)
            }
            return Exit.succeed(batchOfEntries(held.entries, next, to, sight.end(end, to)))
          })
        }).pipe(
          Effect.tap((batch) => {
            if (batch === undefined) return
            next = batch.nextOffset
            before = batch
          })
        )
        const woken = Effect.async<void>((resume) => {
          const wake = () => resume(Effect.void)
          if (held.entries.length > next) return wake()
          held.waiting.add(wake)
          return Effect.sync(() => held.waiting.delete(wake))
        })
        return {
          fetch: (maxWaitMillis) =>
            Effect.flatMap(poll, (batch) =>
              batch !== undefined || maxWaitMillis === 0
                ? Effect.succeed(batch)
                : Effect.flatMap(Effect.timeoutOption(woken, maxWaitMillis), (came) =>
                    Option.isSome(came) ? poll : Effect.succeed(undefined)
                  )
            ),
          commit: () => ask(topic, "commit", () => Exit.void),
          bounds: ask(topic, "describe", () => Exit.succeed({ earliest: 0, end: held.entries.length }))
        }
      })
  }
}
