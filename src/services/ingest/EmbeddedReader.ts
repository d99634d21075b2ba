// Reads one partition of the embedded log, block by block.
import type { SqlClient } from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import { Clock, Deferred, Effect } from "effect"
import { LogUnavailable, OffsetOutOfRange } from "../../schema/error/IngestError.ts"
import type { OpenOptions, PartitionReader } from "./EventLog.ts"
import { decodeBlock } from "./logBlock.ts"
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

/**
 * Opens a partition of the topic with row id `id`. `latch` answers something that is completed when records
 * are next committed to the partition.
 */
export const openEmbeddedReader = (
  sql: SqlClient,
  latch: Effect.Effect<Deferred.Deferred<void>>,
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
    const readNow = Effect.gen(function* () {
      const held = yield* bounds
      if (position < held.earliest || position > held.end) return yield* outOfRange(position, held)
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
      const rows = yield* sql<{ base: number; data: ArrayBuffer | Uint8Array }>`SELECT base, data FROM blocks
        WHERE topic = ${id} AND partition = ${partition} AND base >= ${sizes[0].base}
          AND base <= ${sizes[taken - 1].base} ORDER BY base`
      clearRecords(columns)
      // One block is read in place; several are laid into one piece.
      const arena = rows.length === 1 ? bytesOf(rows[0].data) : new Uint8Array(total)
      let at = 0
      for (const { base, data } of rows) {
        const block = bytesOf(data)
        if (rows.length > 1) arena.set(block, at)
        decodeBlock(block, base, position, at, columns)
        at += block.length
      }
      const last = sizes[taken - 1]
      position = last.base + last.count
      return viewRecords(columns, arena, position, Math.max(held.end, position))
    }).pipe(orUnavailable(topic, "read"))

    const fetch: PartitionReader["fetch"] = (maxWaitMillis) =>
      Effect.gen(function* () {
        const started = yield* Clock.currentTimeMillis
        for (;;) {
          // Armed before looking, so that no commit falls in between.
          const armed = yield* latch
          const batch = yield* readNow
          if (batch !== undefined) return batch
          const left = maxWaitMillis - ((yield* Clock.currentTimeMillis) - started)
          if (left <= 0) return undefined
          yield* Effect.timeoutOption(Deferred.await(armed), left)
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
