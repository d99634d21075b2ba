// Looks into a stopped runner's files: its log, the state of its cells, and a past run set back to its beginning.
import { cpSync } from "node:fs"
import { join } from "node:path"
import { SqlClient } from "@effect/sql"
import { SqliteClient } from "@effect/sql-sqlite-node"
import { Effect, Layer } from "effect"
import { restoreCell } from "../../src/actors/cell/CellPersistence.ts"
import type { RecordBatch } from "../../src/schema/event/Batch.ts"
import type { StreamPlan } from "../../src/schema/stream/StreamPlan.ts"
import { EmbeddedLog } from "../../src/services/ingest/EmbeddedLog.ts"
import { EventLog } from "../../src/services/ingest/EventLog.ts"
import { layerSqlite } from "../../src/services/runtime/Database.ts"
import { type RunnerConfig, Settings } from "../../src/services/runtime/Settings.ts"
import * as SqlCheckpoint from "../../src/services/state/SqlCheckpoint.ts"
import { stateOf } from "./stateOf.ts"

export interface LoggedRecord {
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
  readonly value: Uint8Array | null
}

const embedded = (folder: string) =>
  EmbeddedLog.layer({ filename: join(folder, "log.db"), synchronous: "normal" })

/** Reads a partition from its earliest record to its present end, batch by batch; answers the end. */
export const eachBatch = (topic: string, partition: number, take: (batch: RecordBatch) => void) =>
  Effect.scoped(
    Effect.gen(function* () {
      const log = yield* EventLog
      const reader = yield* log.open({
        topic,
        partition,
        offset: "earliest",
        epoch: 0,
        stream: "test",
        fetchBytesMax: 4 * 1_048_576
      })
      const { end } = yield* reader.bounds
      let next = 0
      while (next < end) {
        const batch = yield* reader.fetch(5_000)
        if (batch === undefined) return yield* Effect.dieMessage(`no records from ${next} on`)
        take(batch)
        next = batch.nextOffset
      }
      return end
    })
  )

/** Everything that a topic holds, partition by partition; whatever a reader cannot decode is left out. */
export const readTopic = (topic: string) =>
  Effect.gen(function* () {
    const log = yield* EventLog
    const partitions = yield* log.partitions(topic)
    const records: Array<LoggedRecord> = []
    const ends: Array<number> = []
    for (let partition = 0; partition < partitions; partition++) {
      const end = yield* eachBatch(topic, partition, (batch) => {
        for (let row = 0; row < batch.count; row++) {
          records.push({
            partition,
            offset: batch.offsets[row],
            timestamp: batch.timestamps[row],
            value: batch.starts[row] < 0 ? null : batch.bytes.slice(batch.starts[row], batch.ends[row])
          })
        }
      })
      ends.push(end)
    }
    return { records, ends }
  })

export const readEmbedded = (folder: string, topic: string) =>
  Effect.runPromise(readTopic(topic).pipe(Effect.provide(embedded(folder))))

/** Appends to a log that no runner has open: what an HTTP intake would have refused. */
export const appendEmbedded = (
  folder: string,
  topic: string,
  records: ReadonlyArray<{
    readonly partition: number
    readonly value: Uint8Array | null
    readonly timestamp?: number
  }>
) =>
  Effect.runPromise(
    Effect.flatMap(EventLog, (log) =>
      log.append(
        topic,
        records.map((record) => ({ key: null, ...record }))
      )
    ).pipe(Effect.provide(embedded(folder)))
  )

/** Makes a log with these records at the very offsets that they had elsewhere. */
export const writeEmbedded = (
  folder: string,
  topic: string,
  partitions: number,
  records: ReadonlyArray<LoggedRecord>
) =>
  Effect.runPromise(
    Effect.gen(function* () {
      const log = yield* EventLog
      yield* log.ensureTopic(topic, partitions)
      const appended = yield* log.append(
        topic,
        records.map(({ partition, timestamp, value }) => ({ key: null, value, timestamp, partition }))
      )
      appended.forEach((place, i) => {
        if (place.offset !== records[i].offset)
          throw new Error(`offset ${records[i].offset} became ${place.offset}`)
      })
    }).pipe(Effect.provide(embedded(folder)))
  )

const database = (folder: string) =>
  layerSqlite({ filename: join(folder, "state.db"), durability: "normal", busyTimeoutMillis: 5_000 })

/** Tables that a run begins with: what operators commanded, and the models they commanded it with. */
const GIVEN = new Set(["cell_command", "groundstate_migration", "model_version", "model_command"])

/**
 * A copy of a stopped runner's data, set back to before its first event: same events at the same offsets, the
 * recorded commands at theirs, nothing else. Without `log` the copy has no event log yet.
 */
export const rewind = async (from: string, to: string, options: { readonly log: boolean }) => {
  cpSync(from, to, { recursive: true, filter: (file) => options.log || !/log\.db/.test(file) })
  const clear = Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const tables = yield* sql<{ name: string }>`SELECT name FROM sqlite_master WHERE type = 'table'`
    for (const { name } of tables) {
      if (GIVEN.has(name) || name.startsWith("sqlite_") || name.startsWith("cluster_")) continue
      yield* sql.unsafe(`DELETE FROM ${name}`)
    }
  })
  await Effect.runPromise(clear.pipe(Effect.provide(database(to))))
  if (!options.log) return
  // The topics that the run itself wrote start empty again.
  const empty = Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`DELETE FROM blocks WHERE topic IN (SELECT id FROM topics WHERE name LIKE 'groundstate.%')`
    yield* sql`UPDATE partitions SET earliest = 0, latest = 0
      WHERE topic IN (SELECT id FROM topics WHERE name LIKE 'groundstate.%')`
    yield* sql`DELETE FROM commits`
  })
  await Effect.runPromise(empty.pipe(Effect.provide(SqliteClient.layer({ filename: join(to, "log.db") }))))
}

/** The state of every cell, as its last checkpoint in the database has it. */
export const restoredStates = (plan: StreamPlan, partitions: number, settings: RunnerConfig) =>
  Effect.forEach(
    Array.from({ length: partitions }, (_, partition) => partition),
    (partition) =>
      Effect.map(restoreCell({ stream: plan.stream, partition }, plan, 0), (restored) =>
        stateOf(restored.core)
      )
  ).pipe(Effect.provide(SqlCheckpoint.layer), Effect.provide(Layer.succeed(Settings, settings)))

/** The same of a stopped runner with a file of its own. */
export const checkpointed = (folder: string, plan: StreamPlan, partitions: number, settings: RunnerConfig) =>
  Effect.runPromise(restoredStates(plan, partitions, settings).pipe(Effect.provide(database(folder))))
