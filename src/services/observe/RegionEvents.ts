// What happens to the region, kept for those who ask later: told without waiting, written behind, the oldest forgotten.
import { SqlClient } from "@effect/sql"
import { Context, Effect, Layer } from "effect"
import { StorageUnavailable } from "../../schema/error/StorageError.ts"
import type { RegionEvent, RegionEventKind } from "../../schema/protocol/RegionEvent.ts"
import { reasonOf } from "../runtime/Database.ts"
import { Settings } from "../runtime/Settings.ts"
import { Metrics } from "./Metrics.ts"

/** Events that a region keeps. */
export const EVENTS_KEPT_MAX = 10_000
/** Events that wait for a database that is away; then the oldest of them are dropped, and counted. */
export const EVENTS_WAITING_MAX = 1_024
const ROWS_PER_WRITE = 64
const DETAIL_CHARACTERS_MAX = 1_000
const AGAIN_MILLIS = 1_000

/** What a part of the runner says. */
export interface Told {
  readonly kind: RegionEventKind
  readonly detail: string
  readonly stream?: string
  readonly partition?: number
}

export interface EventsQuery {
  /** Only those before this one; the newest without it. */
  readonly before?: number | undefined
  readonly kind?: RegionEventKind | undefined
  readonly limit: number
}

export interface RegionEventsService {
  /** Never fails and never waits. */
  readonly tell: (event: Told) => void
  /** Newest first. */
  readonly list: (query: EventsQuery) => Effect.Effect<ReadonlyArray<RegionEvent>, StorageUnavailable>
  /** Those after `seq`, oldest first. */
  readonly after: (
    seq: number,
    limit: number
  ) => Effect.Effect<ReadonlyArray<RegionEvent>, StorageUnavailable>
  /** The number of the newest; 0 before the first. */
  readonly newest: Effect.Effect<number, StorageUnavailable>
}

interface EventRow {
  readonly seq: string | number
  readonly at: string | number
  readonly kind: RegionEventKind
  readonly runner: string
  readonly stream: string | null
  readonly partition_id: string | number | null
  readonly detail: string
}

const eventOf = (row: EventRow): RegionEvent => ({
  seq: Number(row.seq),
  at: Number(row.at),
  kind: row.kind,
  runner: row.runner,
  stream: row.stream,
  partition: row.partition_id === null ? null : Number(row.partition_id),
  detail: row.detail
})

/** PostgreSQL takes no NUL in a text. */
const storable = (detail: string): string => detail.slice(0, DETAIL_CHARACTERS_MAX).replaceAll("\0", "\ufffd")

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const metrics = yield* Metrics
  const { runner } = yield* Settings
  const clock = yield* Effect.clock
  const waiting: Array<Omit<RegionEvent, "seq">> = []
  const bell = Effect.unsafeMakeLatch(false)

  /** Numbers and rows in one transaction, one writer after the other: whoever has seen a number has all before it. */
  const write = (events: ReadonlyArray<Omit<RegionEvent, "seq">>) =>
    sql.withTransaction(
      Effect.gen(function* () {
        const [{ value }] = yield* sql<{ value: string | number }>`INSERT INTO sequence (name, value)
          VALUES ('region-event', ${events.length})
          ON CONFLICT (name) DO UPDATE SET value = sequence.value + excluded.value RETURNING value`
        const first = Number(value) - events.length + 1
        yield* sql`INSERT INTO region_event ${sql.insert(
          events.map(({ partition, ...event }, i) => ({ seq: first + i, ...event, partition_id: partition }))
        )}`
        yield* sql`DELETE FROM region_event WHERE seq <= ${Number(value) - EVENTS_KEPT_MAX}`
      })
    )

  const writeNext = Effect.suspend(() => {
    if (waiting.length === 0) {
      bell.unsafeClose()
      return bell.await
    }
    const taken = waiting.slice(0, ROWS_PER_WRITE)
    return Effect.matchCauseEffect(write(taken), {
      onSuccess: () =>
        Effect.sync(() => {
          // Some may have been dropped from the front meanwhile.
          const last = waiting.indexOf(taken[taken.length - 1])
          waiting.splice(0, last + 1)
        }),
      onFailure: () => Effect.sleep(AGAIN_MILLIS)
    })
  })
  yield* Effect.forkScoped(Effect.forever(writeNext))
  // What is told while the runner stops is worth a moment, and no more.
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() =>
      waiting.length === 0 ? Effect.void : write(waiting.splice(0, ROWS_PER_WRITE))
    ).pipe(Effect.interruptible, Effect.timeout(AGAIN_MILLIS), Effect.ignore)
  )

  const stored = <A, E>(read: Effect.Effect<A, E>) =>
    Effect.mapError(
      read,
      (error) => new StorageUnavailable({ operation: "read the region's events", detail: reasonOf(error) })
    )
  const columns = sql.literal("seq, at, kind, runner, stream, partition_id, detail")

  const service: RegionEventsService = {
    tell: ({ detail, kind, partition, stream }) => {
      if (waiting.length >= EVENTS_WAITING_MAX) {
        waiting.shift()
        metrics.regionEventDropped()
      }
      waiting.push({
        at: clock.unsafeCurrentTimeMillis(),
        kind,
        runner,
        stream: stream ?? null,
        partition: partition ?? null,
        detail: storable(detail)
      })
      bell.unsafeOpen()
    },
    list: ({ before, kind, limit }) =>
      stored(
        sql<EventRow>`SELECT ${columns} FROM region_event
          WHERE seq < ${before ?? Number.MAX_SAFE_INTEGER} ${kind === undefined ? sql`` : sql`AND kind = ${kind}`}
          ORDER BY seq DESC LIMIT ${limit}`
      ).pipe(Effect.map((rows) => rows.map(eventOf))),
    after: (seq, limit) =>
      stored(
        sql<EventRow>`SELECT ${columns} FROM region_event WHERE seq > ${seq} ORDER BY seq LIMIT ${limit}`
      ).pipe(Effect.map((rows) => rows.map(eventOf))),
    newest: stored(sql<{ seq: string | number | null }>`SELECT MAX(seq) AS seq FROM region_event`).pipe(
      Effect.map(([row]) => Number(row.seq ?? 0))
    )
  }
  return service
})

/** Nobody keeps anything: for parts that run without a database of their own. */
const silent: RegionEventsService = {
  tell: () => {},
  list: () => Effect.succeed([]),
  after: () => Effect.succeed([]),
  newest: Effect.succeed(0)
}

export class RegionEvents extends Context.Reference<RegionEvents>()(
  "groundstate/services/observe/RegionEvents",
  { defaultValue: () => silent }
) {
  static readonly layer: Layer.Layer<RegionEvents, never, SqlClient.SqlClient | Metrics | Settings> =
    Layer.scoped(RegionEvents, make)
}
