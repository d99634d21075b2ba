// What is remembered of past alerts does not grow without end: rows older than they are to be kept go, a few at a time.
import { SqlClient } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { Context, Effect, Layer, Schema } from "effect"
import type { StorageUnavailable } from "../../schema/error/StorageError.ts"
import { DeviceRecord } from "../../schema/protocol/DeviceProtocol.ts"
import { turn } from "../runtime/turn.ts"
import { storageError } from "./SqlCheckpoint.ts"

/** Rows that one statement deletes: SQLite holds the event loop for as long as that takes. */
const ROWS_PER_STATEMENT = 200
/** Statements of one sweep and kind of row; what is left waits for the next. */
const STATEMENTS_PER_SWEEP = 100
/** Marks are set no closer than this share of the time that rows are kept. */
const MARKS_PER_RETENTION = 32

const readLabel = Schema.decodeSync(Schema.parseJson(DeviceRecord.pick("label")))

interface DeviceRow {
  readonly changed: number
  readonly record_json: string
}

export interface Swept {
  readonly alerts: number
  readonly incidents: number
  readonly devices: number
}

export class Retention extends Context.Tag("groundstate/services/state/Retention")<
  Retention,
  {
    /**
     * Deletes alerts, resolved incidents and the records of devices that nothing is left to remember of, if they were
     * written more than `keepMillis` before `now` (epoch ms, of a wall clock). What is open, quarantined, overridden or
     * labelled stays.
     */
    readonly sweep: (now: number, keepMillis: number) => Effect.Effect<Swept, StorageUnavailable>
  }
>() {}

/**
 * Rows carry no wall clock, they carry numbers of one rising sequence. So each sweep notes which number has been reached
 * by now, and a row is as old as the newest note above it: writing costs nothing, and event time, which may be years
 * past or ahead, decides nothing.
 */
const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient

  const mark = (now: number, keepMillis: number) =>
    Effect.gen(function* () {
      const [last] = yield* sql<{ at: number | null }>`SELECT MAX(at) AS at FROM retention_mark`
      if (last.at !== null && now - Number(last.at) < keepMillis / MARKS_PER_RETENTION) return
      const reached = yield* sql<{ value: number }>`SELECT value FROM sequence WHERE name = 'change'`
      if (reached.length === 0) return
      yield* sql`INSERT INTO retention_mark ${sql.insert({ value: Number(reached[0].value), at: now })}
        ON CONFLICT (value) DO NOTHING`
    })

  /** Repeats a bounded statement until nothing is left, with a turn of the event loop in between. */
  const deleted = (statement: Effect.Effect<ReadonlyArray<unknown>, SqlError>) =>
    Effect.gen(function* () {
      let rows = 0
      for (let done = 0; done < STATEMENTS_PER_SWEEP; done++) {
        const { length } = yield* statement
        rows += length
        if (length < ROWS_PER_STATEMENT) break
        yield* turn
      }
      return rows
    })

  /** Devices of which nothing is left but a resolved incident. A label is for good. */
  const forgotten = (upTo: number) =>
    Effect.gen(function* () {
      let rows = 0
      let after = 0
      for (let done = 0; done < STATEMENTS_PER_SWEEP; done++) {
        const found = yield* sql<DeviceRow>`SELECT changed, record_json FROM device
          WHERE changed > ${after} AND changed <= ${upTo} AND incident_open = 0 AND quarantined = 0
          AND overridden = 0 ORDER BY changed LIMIT ${ROWS_PER_STATEMENT}`
        const over = found.filter((row) => readLabel(row.record_json).label === null)
        // By number, not by name: who writes the device in between gives it another, and keeps it.
        if (over.length > 0)
          yield* sql`DELETE FROM device WHERE changed IN ${sql.in(over.map((row) => Number(row.changed)))}`
        rows += over.length
        if (found.length < ROWS_PER_STATEMENT) break
        after = Number(found[found.length - 1].changed)
        yield* turn
      }
      return rows
    })

  return Retention.of({
    sweep: (now, keepMillis) =>
      Effect.gen(function* () {
        yield* mark(now, keepMillis)
        const [old] = yield* sql<{ value: number | null }>`SELECT MAX(value) AS value FROM retention_mark
          WHERE at <= ${now - keepMillis}`
        if (old.value === null) return { alerts: 0, incidents: 0, devices: 0 }
        const upTo = Number(old.value)
        const alerts = yield* deleted(
          sql`DELETE FROM alert WHERE id IN (SELECT id FROM alert WHERE seq <= ${upTo}
            ORDER BY seq LIMIT ${ROWS_PER_STATEMENT}) RETURNING id`
        )
        const incidents = yield* deleted(
          sql`DELETE FROM incident WHERE id IN (SELECT id FROM incident WHERE seq <= ${upTo}
            AND status = 'resolved' ORDER BY seq LIMIT ${ROWS_PER_STATEMENT}) RETURNING id`
        )
        const devices = yield* forgotten(upTo)
        yield* sql`DELETE FROM retention_mark WHERE value < ${upTo}`
        return { alerts, incidents, devices }
      }).pipe(Effect.catchTag("SqlError", (error) => Effect.fail(storageError("delete what is past")(error))))
  })
})

export const layer: Layer.Layer<Retention, never, SqlClient.SqlClient> = Layer.effect(Retention, make)
