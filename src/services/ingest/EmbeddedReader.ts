// Reads one partition of the embedded log, block by block: near the end from memory, before that from SQLite.
import type { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import { Clock, Effect } from "effect"
import { LogUnavailable, OffsetOutOfRange } from "../../schema/error/IngestError.ts"
import type { OpenOptions, PartitionReader } from "./EventLog.ts"
import { decodeBlock } from "./logBlock.ts"
import type { LogTail, TailBlock } from "./logTail.ts"
import { clearRecords, makeRecordColumns, viewRecords } from "./recordBatch.ts"

/** What SQLite said. */
export const sqlDetail = (error: SqlError): string =>
  error.cause instanceof Error ? error.cause.message : String(error.cause ?? error.message)

/** Names the topic and what was asked of it where SQLite fails. */
export const orUnavailable =
  (topic: string, operation: LogUnavailable["operation"]) =>
  <A, E, R>(
    effect: Effect.Effect<A, E | SqlError, R>
  ): Effect.Effect<A, Exclude<E, SqlError> | LogUnavailable, R> =>
    Effect.catchIf(
      effect,
      (error): error is SqlError => (error as SqlError)._tag === "SqlError",
      (error) => new LogUnavailable({ topic, operation, detail: sqlDetail(error) })
    ) as Effect.Effect<A, Exclude<E, SqlError> | LogUnavailable, R>

/** libsql answers blobs as ArrayBuffer, better-sqlite3 as Buffer. */
const bytesOf = (blob: ArrayBuffer | Uint8Array): Uint8Array =>
  blob instanceof ArrayBuffer ? new Uint8Array(blob) : blob

/** Opens a partition of the topic with row id `id`; `tail` is its end, and says when there is more. */
export const openEmbeddedReader = (
  sql: SqlClient,
  tail: LogTail,
  limits: { readonly fetchBlocksMax: number },
  id: number,
  { epoch, fetchBytesMax, offset, partition, stream, topic }: OpenOptions
): Effect.Effect<PartitionReader, LogUnavailable | OffsetOutOfRange> =>
  Effect.gen(function* () {
    const bounds = sql<{ earliest: number; end: number }>`SELECT earliest, latest AS "end" FROM partitions
      WHERE topic = ${id} AND partition = ${partition}`.pipe(
      Effect.flatMap(([row]) =>
        row === undefined
          ? new LogUnavailable({ topic, operation: "read", detail: `there is no partition ${partition}` })
          : Effect.succeed(row)
      ),
      orUnavailable(topic, "read")
    )
    const outOfRange = (asked: number, held: { readonly earliest: number; readonly end: number }) =>
      new OffsetOutOfRange({ topic, partition, offset: asked, earliest: held.earliest, latest: held.end })

    const atOpen = yield* bounds
    let position = offset === "earliest" ? atOpen.earliest : offset === "latest" ? atOpen.end : offset
    if (position < atOpen.earliest || position > atOpen.end) return yield* outOfRange(position, atOpen)

    const columns = makeRecordColumns(1_024)
    /** These blocks as a batch, from the position on; moves the position behind them. */
    const take = (blocks: ReadonlyArray<TailBlock>, end: number) => {
      clearRecords(columns)
      let size = 0
      for (const { data } of blocks) size += data.length
      // One block is read in place; several are laid into one piece.
      const arena = blocks.length === 1 ? blocks[0].data : new Uint8Array(size)
      let at = 0
      for (const { base, data } of blocks) {
        if (blocks.length > 1) arena.set(data, at)
        decodeBlock(data, base, position, at, columns)
        at += data.length
      }
      const last = blocks[blocks.length - 1]
      position = last.base + last.count
      return viewRecords(columns, arena, position, Math.max(end, position))
    }
    /** End of the partition when SQLite was last asked, and what was known of other processes' appends then. */
    let askedEnd = -1
    let askedForeign = -1
    const readStored = Effect.gen(function* () {
      const foreign = tail.foreign
      const held = yield* bounds
      if (position < held.earliest || position > held.end) return yield* outOfRange(position, held)
      askedEnd = held.end
      askedForeign = foreign
      if (position === held.end) return undefined
      const sizes = yield* sql<{
        base: number
        count: number
        size: number
      }>`SELECT base, count, size FROM blocks
        WHERE topic = ${id} AND partition = ${partition} AND base >= (SELECT max(base) FROM blocks
          WHERE topic = ${id} AND partition = ${partition} AND base <= ${position})
        ORDER BY base LIMIT ${limits.fetchBlocksMax}`
      let taken = 0
      let total = 0
      while (taken < sizes.length && (taken === 0 || total + sizes[taken].size <= fetchBytesMax)) {
        total += sizes[taken++].size
      }
      if (taken === 0) return yield* outOfRange(position, held)
      const rows = yield* sql<{ data: ArrayBuffer | Uint8Array }>`SELECT data FROM blocks
        WHERE topic = ${id} AND partition = ${partition} AND base >= ${sizes[0].base}
          AND base <= ${sizes[taken - 1].base} ORDER BY base`
      // Retention has removed the first of them in between.
      if (rows.length < taken) return yield* outOfRange(position, yield* bounds)
      return take(
        rows.map(({ data }, i) => ({ ...sizes[i], data: bytesOf(data) })),
        held.end
      )
    }).pipe(orUnavailable(topic, "read"))

    /** Nobody can have appended anything behind the position, as far as is known. */
    const atEnd = () => askedForeign === tail.foreign && position === Math.max(askedEnd, tail.end)

    const fetch: PartitionReader["fetch"] = (maxWaitMillis) => {
      const blocks = tail.from(position, fetchBytesMax)
      return blocks.length > 0 ? Effect.succeed(take(blocks, tail.end)) : waitFor(maxWaitMillis)
    }
    const waitFor = (maxWaitMillis: number) =>
      Effect.gen(function* () {
        const until = (yield* Clock.currentTimeMillis) + maxWaitMillis
        for (;;) {
          // Taken before looking, so that no commit falls in between.
          const seen = tail.version
          const blocks = tail.from(position, fetchBytesMax)
          if (blocks.length > 0) return take(blocks, tail.end)
          const batch = atEnd() ? undefined : yield* readStored
          if (batch !== undefined) return batch
          if ((yield* Clock.currentTimeMillis) >= until) return undefined
          yield* Effect.async<void>((resume) => {
            const stop = tail.wait(seen, until, () => resume(Effect.void))
            return Effect.sync(stop)
          })
        }
      })

    return {
      fetch,
      bounds,
      commit: (next) =>
        sql`INSERT INTO commits (stream, topic, partition, epoch, next)
          VALUES (${stream}, ${id}, ${partition}, ${epoch}, ${next})
          ON CONFLICT (stream, topic, partition) DO UPDATE SET epoch = excluded.epoch, next = excluded.next
          WHERE excluded.epoch >= epoch`.pipe(Effect.asVoid, orUnavailable(topic, "commit"))
    }
  })
