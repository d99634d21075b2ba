// Files of events read like a log: the same rows at the same offsets each time, as fast as asked.
import { Clock, Context, Effect, Layer, type Scope } from "effect"
import { LogUnavailable, OffsetOutOfRange } from "../../schema/error/IngestError.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { EventSource, type OpenOptions, type PartitionReader } from "./EventLog.ts"
import { partitionOf } from "./partition.ts"
import { listFiles, type ReplayFormat, type ReplayRow, readRows } from "./ReplayRows.ts"
import { batchOf, type PlainRecord } from "./recordBatch.ts"
import { parseTimestamp } from "./time.ts"

export interface ReplayOptions {
  readonly topic: string
  /** Files, and folders of files and folders (read in the order of their paths). `.gz` is unpacked. */
  readonly files: ReadonlyArray<string>
  /** By the file's name by default: `.csv` and `.tsv` are CSV. */
  readonly format?: ReplayFormat
  /** Tells where device and event time lie; without it rows take turns over the partitions. */
  readonly plan?: StreamPlan
  /** `max`, or how many times real time, by event time. `max` by default. */
  readonly speed?: "max" | number
  /** 1 by default. Each partition reads the files once for itself. */
  readonly partitions?: number
  readonly delimiter?: string
  readonly columns?: ReadonlyArray<string>
  readonly chunkBytes?: number
  readonly rowBytesMax?: number
}

/** A reader of a replay; it comes to an end. At the end `bounds.end` is exact, until then it is what was read. */
export interface ReplayReader extends PartitionReader {
  /** True once every row was handed out: further fetches answer undefined. */
  readonly finished: Effect.Effect<boolean>
}

/** The replay itself, beside `EventSource`, for who wants to know that it is over. */
export class Replay extends Context.Tag("groundstate/services/ingest/Replay")<
  Replay,
  {
    readonly open: (
      options: OpenOptions
    ) => Effect.Effect<ReplayReader, LogUnavailable | OffsetOutOfRange, Scope.Scope>
    /** True once each partition was read to its end by its latest reader. */
    readonly finished: Effect.Effect<boolean>
  }
>() {}

const text = new TextEncoder()

const valueAt = (event: unknown, path: ReadonlyArray<string>): unknown => {
  let value = event
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined
    value = (value as Readonly<Record<string, unknown>>)[key]
  }
  return value
}

/** Epoch ms of an event, NaN where it tells none. */
const timeOf = (event: unknown, plan: StreamPlan): number => {
  const value = plan.time === undefined ? undefined : valueAt(event, plan.time)
  if (typeof value === "number") return value * plan.timeScale
  if (typeof value !== "string") return Number.NaN
  const bytes = text.encode(value)
  return parseTimestamp(bytes, 0, bytes.length)
}

const make = (options: ReplayOptions) =>
  Effect.gen(function* () {
    const { plan, topic } = options
    const partitions = options.partitions ?? 1
    const speed = options.speed ?? "max"
    const unavailable = (cause: unknown) =>
      new LogUnavailable({
        topic,
        operation: "read",
        detail: cause instanceof Error ? cause.message : String(cause)
      })
    const files = yield* Effect.tryPromise({ try: () => listFiles(options.files), catch: unavailable })
    const ended = new Set<number>()

    /** Rows of one partition, in order, with their times. The same whenever they are read. */
    async function* rowsOf(
      partition: number
    ): AsyncGenerator<ReadonlyArray<ReplayRow & { readonly time: number }>> {
      const chunks = readRows(files, {
        ...options,
        parsed: plan !== undefined && (partitions > 1 || plan.time !== undefined),
        chunkBytes: options.chunkBytes ?? 262_144,
        rowBytesMax: options.rowBytesMax ?? 10_485_760
      })
      let index = 0
      let time = 0
      for await (const chunk of chunks) {
        const rows: Array<ReplayRow & { readonly time: number }> = []
        for (const row of chunk) {
          const turn = index++ % partitions
          // Every partition follows the time of all rows, so that all run at the same pace.
          if (plan !== undefined) {
            const own = timeOf(row.event, plan)
            if (Number.isFinite(own)) time = own
          }
          const device = plan === undefined ? undefined : valueAt(row.event, plan.device)
          const home =
            partitions === 1 || (typeof device !== "string" && typeof device !== "number")
              ? turn
              : partitionOf(text.encode(String(device)), partitions)
          if (home === partition) rows.push({ ...row, time })
        }
        if (rows.length > 0) yield rows
      }
    }

    const open: (typeof Replay.Service)["open"] = ({ fetchBytesMax, offset, partition }) =>
      Effect.gen(function* () {
        if (!(partition >= 0 && partition < partitions))
          return yield* unavailable(`there is no partition ${partition}`)
        ended.delete(partition)
        const rows = rowsOf(partition)
        yield* Effect.addFinalizer(() => Effect.promise(() => rows.return(undefined).catch(() => undefined)))
        let buffered: ReadonlyArray<ReplayRow & { readonly time: number }> = []
        let taken = 0
        let position = 0
        let isOver = false
        let coming: ReturnType<typeof rows.next> | undefined

        /** Reads on when nothing is buffered. An interrupted wait is taken up again, so no row is lost. */
        const refill = Effect.suspend(() => {
          if (isOver || taken < buffered.length) return Effect.void
          return Effect.map(
            Effect.tryPromise({
              try: () => {
                coming ??= rows.next()
                return coming
              },
              catch: unavailable
            }),
            (next) => {
              coming = undefined
              if (next.done === true) {
                isOver = true
                buffered = []
                ended.add(partition)
              } else buffered = next.value
              taken = 0
            }
          )
        })

        const target = offset === "earliest" ? 0 : offset === "latest" ? Number.POSITIVE_INFINITY : offset
        while (position < target && !isOver) {
          yield* refill
          const skip = Math.min(target - position, buffered.length - taken)
          taken += skip
          position += skip
        }
        if (target !== Number.POSITIVE_INFINITY && position < target) {
          return yield* new OffsetOutOfRange({
            topic,
            partition,
            offset: target,
            earliest: 0,
            latest: position
          })
        }

        /** Clock and event time of the first row handed out, for the pace. */
        let startedAt = 0
        let firstTime = Number.NaN
        const due = (time: number, now: number): number => {
          if (speed === "max") return now
          if (Number.isNaN(firstTime)) {
            startedAt = now
            firstTime = time
          }
          return startedAt + (time - firstTime) / speed
        }

        const fetch: ReplayReader["fetch"] = (maxWaitMillis) =>
          Effect.gen(function* () {
            const began = yield* Clock.currentTimeMillis
            for (;;) {
              yield* refill
              const now = yield* Clock.currentTimeMillis
              const left = maxWaitMillis - (now - began)
              if (isOver) {
                // A caller that asks again and again must not spin.
                if (left > 0) yield* Effect.sleep(left)
                return undefined
              }
              const records: Array<PlainRecord> = []
              let size = 0
              let wait = 0
              while (taken < buffered.length && (records.length === 0 || size < fetchBytesMax)) {
                const { time, value } = buffered[taken]
                wait = due(time, now) - now
                if (wait > 0) break
                records.push({ offset: position++, timestamp: time, value })
                size += value.length
                taken++
              }
              if (records.length > 0) return batchOf(records, position, position + (buffered.length - taken))
              if (left <= 0) return undefined
              yield* Effect.sleep(Math.min(left, wait))
            }
          })

        return {
          fetch,
          commit: () => Effect.void,
          bounds: Effect.sync(() => ({ earliest: 0, end: position + (buffered.length - taken) })),
          finished: Effect.map(Effect.ignore(refill), () => isOver)
        }
      })

    return Context.make(EventSource, { partitions: () => Effect.succeed(partitions), open }).pipe(
      Context.add(Replay, { open, finished: Effect.sync(() => ended.size === partitions) })
    )
  })

/** Fails to build, with LogUnavailable, where a file or folder is missing. */
export const ReplaySource = {
  layer: (options: ReplayOptions): Layer.Layer<EventSource | Replay, LogUnavailable> =>
    Layer.effectContext(make(options))
}
