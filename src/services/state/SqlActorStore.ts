// What actors remember, in SQL; the same tables answer the lists of `Projections`.
import { SqlClient } from "@effect/sql"
import type { SqlError } from "@effect/sql/SqlError"
import { Effect, Layer, Schema } from "effect"
import { Fenced, StorageUnavailable } from "../../schema/error/StorageError.ts"
import { DeviceRecord, deviceEntityId } from "../../schema/protocol/DeviceProtocol.ts"
import { ModelVersionRecord } from "../../schema/protocol/ModelProtocol.ts"
import { Alert } from "../../schema/verdict/Alert.ts"
import { Incident } from "../../schema/verdict/Incident.ts"
import { ActorStore, type DeviceKey, type DeviceWrite, type WriteOutcome } from "./ActorStore.ts"
import type { CellEpoch, CellKey } from "./Checkpoint.ts"
import { type ListQuery, type Page, Projections } from "./Projections.ts"
import { storageError } from "./SqlCheckpoint.ts"

const modelText = Schema.parseJson(ModelVersionRecord)
const readDevice = Schema.decodeSync(Schema.parseJson(DeviceRecord))
const readIncident = Schema.decodeSync(Schema.parseJson(Incident))
const readAlert = Schema.decodeSync(Schema.parseJson(Alert))
const readModel = Schema.decodeSync(modelText)

/** Rows of one statement: bounds its variables and how many texts of it are kept prepared. */
const ROWS_MAX = 16

const chunksOf = <A>(rows: ReadonlyArray<A>): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(rows.length / ROWS_MAX) }, (_, at) =>
    rows.slice(at * ROWS_MAX, (at + 1) * ROWS_MAX)
  )

/** The list filled up with its last item to a power of two, so that a few prepared statements serve any length. */
const padded = <A>(items: ReadonlyArray<A>): ReadonlyArray<A> =>
  Array.from(
    { length: 2 ** Math.ceil(Math.log2(items.length)) },
    (_, i) => items[Math.min(i, items.length - 1)]
  )

const keyOf = ({ stream, device }: DeviceKey): string => deviceEntityId(stream, device)
const cellOf = ({ stream, partition }: CellKey): string => `${stream}/${partition}`

/** PostgreSQL's text has no NUL, and a device may be named by any characters: written as SUB and a digit, one to one. */
export const withoutNul = (text: string): string => text.replaceAll("\x1a", "\x1a1").replaceAll("\0", "\x1a0")

// What was made here is not checked again: it is written as its schema would encode it, types say so.

type Written = (text: string) => string

const deviceRow = (record: typeof DeviceRecord.Encoded, changed: number, written: Written) => ({
  stream: record.stream,
  device: written(record.device),
  version: record.version,
  record_json: JSON.stringify(record),
  incident_open: record.incident !== null && record.incident.status !== "resolved" ? 1 : 0,
  quarantined: record.quarantine === null ? 0 : 1,
  overridden: record.override === null ? 0 : 1,
  changed
})

const incidentRow = (incident: typeof Incident.Encoded, seq: number, written: Written) => ({
  id: incident.id,
  stream: incident.stream,
  device: written(incident.device),
  status: incident.status,
  last_alert_at: incident.lastAlertAt,
  seq,
  record_json: JSON.stringify(incident)
})

const alertRow = (
  placed: { readonly alert: typeof Alert.Encoded; readonly incident: string },
  seq: number,
  written: Written
) => ({
  id: placed.alert.id,
  seq,
  stream: placed.alert.stream,
  device: written(placed.alert.device),
  incident: placed.incident,
  record_json: JSON.stringify(placed.alert)
})

interface JsonRow {
  readonly record_json: string
}
interface SequencedRow extends JsonRow {
  readonly seq: number
}

/** A cursor is the sequence number of the last row seen; anything else starts from the newest. */
const before = (cursor: string | undefined): number => {
  const seq = cursor === undefined ? Number.NaN : Number(cursor)
  return Number.isSafeInteger(seq) && seq > 0 ? seq : Number.MAX_SAFE_INTEGER
}

const page = <A>(rows: ReadonlyArray<SequencedRow>, limit: number, read: (text: string) => A): Page<A> => ({
  items: rows.slice(0, limit).map((row) => read(row.record_json)),
  next: rows.length > limit ? String(rows[limit - 1].seq) : null
})

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const written: Written = sql.onDialectOrElse({ pg: () => withoutNul, orElse: () => (text: string) => text })
  const writtenKey = ({ stream, device }: DeviceKey): DeviceKey => ({ stream, device: written(device) })
  const run = <A, E>(operation: string, effect: Effect.Effect<A, E | SqlError>) =>
    effect.pipe(
      Effect.catchTag("SqlError", (error) => Effect.fail(storageError(operation)(error as SqlError)))
    )

  // The weakest lock that a claim waits for: checkpoints of the same cells go on beside it.
  const lock = sql.onDialectOrElse({ pg: () => sql.literal("FOR KEY SHARE"), orElse: () => sql.literal("") })

  /**
   * Says of an owner who follows it, if somebody does, inside the caller's transaction: until its end nobody claims the
   * cells asked for.
   */
  const successors = (cells: ReadonlyArray<CellEpoch>) =>
    Effect.gen(function* () {
      const byCell = [...new Map(cells.map((cell) => [cellOf(cell), cell])).values()]
      if (byCell.length === 0) return () => undefined
      const rows = yield* sql<{ stream: string; partition_id: number; epoch: number }>`
        SELECT stream, partition_id, epoch FROM cell_epoch WHERE ${sql.or(
          padded(byCell).map(
            ({ stream, partition }) => sql`(stream = ${stream} AND partition_id = ${partition})`
          )
        )} ${lock}`
      const newest = new Map(
        rows.map((row) => [
          cellOf({ stream: row.stream, partition: Number(row.partition_id) }),
          Number(row.epoch)
        ])
      )
      return ({ stream, partition, epoch }: CellEpoch): Fenced | undefined => {
        const current = newest.get(cellOf({ stream, partition })) ?? 0
        return epoch >= current ? undefined : new Fenced({ stream, partition, epoch, current })
      }
    })

  /** The first of `count` numbers in a row of the one rising sequence, inside the caller's transaction. */
  const nextSequence = (count: number) =>
    sql<{ value: number }>`INSERT INTO sequence (name, value) VALUES ('change', ${count})
      ON CONFLICT (name) DO UPDATE SET value = sequence.value + excluded.value RETURNING value`.pipe(
      Effect.map((rows) => Number(rows[0].value) - count + 1)
    )

  const store = ActorStore.of({
    devices: (keys) =>
      keys.length === 0
        ? Effect.succeed([])
        : run(
            "read devices",
            sql<JsonRow & DeviceKey>`SELECT stream, device, record_json FROM device
              WHERE (stream, device) IN (VALUES ${sql.csv(
                padded(keys).map(({ stream, device }) => sql`(${stream}, ${written(device)})`)
              )})`
          ).pipe(
            Effect.flatMap((rows) => {
              const texts = new Map(rows.map((row) => [keyOf(row), row.record_json]))
              const read = () =>
                keys.map((key) => {
                  const text = texts.get(keyOf(writtenKey(key)))
                  return text === undefined ? undefined : readDevice(text)
                })
              // No defect: whoever asked waits and says why, and is not started anew again and again.
              return Effect.try({
                try: read,
                catch: (cause) => new StorageUnavailable({ operation: "read devices", detail: String(cause) })
              })
            })
          ),

    knownAlerts: (ids) =>
      ids.length === 0
        ? Effect.succeed(new Set<string>())
        : run(
            "read alert ids",
            sql<{ id: string }>`SELECT id FROM alert WHERE id IN ${sql.in(padded(ids))}`
          ).pipe(Effect.map((rows) => new Set(rows.map((row) => row.id)))),

    commandKnown: (stream, device, commandId) =>
      run(
        "read device commands",
        sql`SELECT 1 FROM device_command
          WHERE stream = ${stream} AND device = ${written(device)} AND command_id = ${written(commandId)}`
      ).pipe(Effect.map((rows) => rows.length > 0)),

    saveDevices: (writes) =>
      writes.length === 0
        ? Effect.succeed([])
        : run(
            "write devices",
            sql.withTransaction(
              Effect.gen(function* () {
                const successorOf = yield* successors(writes.flatMap(({ cells }) => cells))
                const refused = new Map<DeviceWrite, Fenced>()
                for (const write of writes) {
                  const fenced = write.cells.map(successorOf).find((one) => one !== undefined)
                  if (fenced !== undefined) refused.set(write, fenced)
                }
                const allowed = writes.filter((write) => !refused.has(write))
                if (allowed.length === 0) return writes.map((write): WriteOutcome => refused.get(write)!)
                const count = (write: DeviceWrite) => 1 + write.incidents.length + write.alerts.length
                // Every writer locks the sequence first: no two can wait for each other's devices in a circle.
                let next = yield* nextSequence(allowed.reduce((sum, write) => sum + count(write), 0))
                const saved = new Set<string>()
                for (const rows of chunksOf(
                  allowed.map(({ record }) => deviceRow(record, next++, written))
                )) {
                  const taken = yield* sql<DeviceKey>`INSERT INTO device ${sql.insert(rows)}
                    ON CONFLICT (stream, device) DO UPDATE SET version = excluded.version,
                      record_json = excluded.record_json, incident_open = excluded.incident_open,
                      quarantined = excluded.quarantined, overridden = excluded.overridden,
                      changed = excluded.changed
                    WHERE device.version = excluded.version - 1 RETURNING stream, device`
                  for (const key of taken) saved.add(keyOf(key))
                }
                const kept = allowed.filter((write) => saved.has(keyOf(writtenKey(write.record))))
                const incidents = kept.flatMap((write) => write.incidents)
                for (const rows of chunksOf(
                  incidents.map((incident) => incidentRow(incident, next++, written))
                )) {
                  yield* sql`INSERT INTO incident ${sql.insert(rows)} ON CONFLICT (id) DO UPDATE SET
                    status = excluded.status, last_alert_at = excluded.last_alert_at,
                    record_json = excluded.record_json`
                }
                const alerts = kept.flatMap((write) => write.alerts)
                for (const rows of chunksOf(alerts.map((placed) => alertRow(placed, next++, written)))) {
                  yield* sql`INSERT INTO alert ${sql.insert(rows)}`
                }
                for (const { commandId, record } of kept) {
                  if (commandId === undefined) continue
                  yield* sql`INSERT INTO device_command ${sql.insert({
                    stream: record.stream,
                    device: written(record.device),
                    command_id: written(commandId),
                    version: record.version
                  })}`
                }
                return writes.map(
                  (write): WriteOutcome =>
                    refused.get(write) ??
                    (saved.has(keyOf(writtenKey(write.record))) ? "written" : "overtaken")
                )
              })
            )
          ),

    stale: (stream, status, lastAlertBefore, limit) =>
      run(
        "list incidents",
        sql<JsonRow>`SELECT record_json FROM incident WHERE stream = ${stream} AND status IN ${sql.in(status)}
          AND last_alert_at < ${lastAlertBefore} ORDER BY last_alert_at LIMIT ${limit}`
      ).pipe(Effect.map((rows) => rows.map((row) => readIncident(row.record_json)))),

    model: (digest) =>
      run(
        "read the model",
        sql<JsonRow>`SELECT record_json FROM model_version WHERE digest = ${digest}`
      ).pipe(Effect.map((rows) => (rows.length === 0 ? undefined : readModel(rows[0].record_json)))),

    activeModel: (stream) =>
      run(
        "read the active model",
        sql<JsonRow>`SELECT record_json FROM model_version WHERE stream = ${stream} AND state = 'active'`
      ).pipe(Effect.map((rows) => (rows.length === 0 ? undefined : readModel(rows[0].record_json)))),

    modelCommandKnown: (digest, commandId) =>
      run(
        "read model commands",
        sql`SELECT 1 FROM model_command WHERE digest = ${digest} AND command_id = ${commandId}`
      ).pipe(Effect.map((rows) => rows.length > 0)),

    saveModel: (record, commandId) =>
      run(
        "write the model",
        sql.withTransaction(
          Effect.gen(function* () {
            const taken = yield* sql`INSERT INTO model_version ${sql.insert({
              digest: record.digest,
              stream: record.stream,
              state: record.state,
              version: record.version,
              record_json: Schema.encodeSync(modelText)(record)
            })} ON CONFLICT (digest) DO UPDATE SET stream = excluded.stream, state = excluded.state,
              version = excluded.version, record_json = excluded.record_json
              WHERE model_version.version = excluded.version - 1 RETURNING digest`
            if (taken.length === 0) return false
            if (commandId !== undefined) {
              yield* sql`INSERT INTO model_command ${sql.insert({ digest: record.digest, command_id: commandId })}
                ON CONFLICT (digest, command_id) DO NOTHING`
            }
            return true
          })
        )
      )
  })

  const matches = (column: "stream" | "device" | "incident" | "status", value: string | undefined) =>
    value === undefined ? sql`1 = 1` : sql`${sql(column)} = ${value}`
  const filters = (query: ListQuery) => [
    matches("stream", query.stream),
    matches("device", query.device === undefined ? undefined : written(query.device))
  ]

  const projections = Projections.of({
    incidents: (query) =>
      run(
        "list incidents",
        sql<SequencedRow>`SELECT seq, record_json FROM incident WHERE ${sql.and([
          ...filters(query),
          matches("status", query.status),
          sql`seq < ${before(query.cursor)}`
        ])} ORDER BY seq DESC LIMIT ${query.limit + 1}`
      ).pipe(Effect.map((rows) => page(rows, query.limit, readIncident))),
    incident: (id) =>
      run("read the incident", sql<JsonRow>`SELECT record_json FROM incident WHERE id = ${id}`).pipe(
        Effect.map((rows) => (rows.length === 0 ? undefined : readIncident(rows[0].record_json)))
      ),
    alerts: (query) =>
      run(
        "list alerts",
        sql<SequencedRow>`SELECT seq, record_json FROM alert WHERE ${sql.and([
          ...filters(query),
          matches("incident", query.incident),
          sql`seq < ${before(query.cursor)}`
        ])} ORDER BY seq DESC LIMIT ${query.limit + 1}`
      ).pipe(Effect.map((rows) => page(rows, query.limit, readAlert))),
    alert: (id) =>
      run("read the alert", sql<JsonRow>`SELECT record_json FROM alert WHERE id = ${id}`).pipe(
        Effect.map((rows) => (rows.length === 0 ? undefined : readAlert(rows[0].record_json)))
      ),
    devices: (query) => {
      const column = { incident: "incident_open", quarantined: "quarantined", overridden: "overridden" }[
        query.state
      ]
      return run(
        "list devices",
        sql<SequencedRow>`SELECT changed AS seq, record_json FROM device WHERE ${sql.and([
          ...filters(query),
          sql`${sql(column)} = 1`,
          sql`changed < ${before(query.cursor)}`
        ])} ORDER BY changed DESC LIMIT ${query.limit + 1}`
      ).pipe(Effect.map((rows) => page(rows, query.limit, readDevice)))
    },
    models: run("list models", sql<JsonRow>`SELECT record_json FROM model_version ORDER BY digest`).pipe(
      Effect.map((rows) => rows.map((row) => readModel(row.record_json)))
    ),
    counts: run(
      "count",
      sql<{ incidents: number; quarantined: number; alerts: number }>`SELECT
        (SELECT COUNT(*) FROM device WHERE incident_open = 1) AS incidents,
        (SELECT COUNT(*) FROM device WHERE quarantined = 1) AS quarantined,
        (SELECT COUNT(*) FROM alert) AS alerts`
    ).pipe(
      Effect.map((rows) => ({
        openIncidents: Number(rows[0].incidents),
        quarantined: Number(rows[0].quarantined),
        alerts: Number(rows[0].alerts)
      }))
    )
  })
  return { store, projections }
})

/** Both ports over one database. */
export const layer: Layer.Layer<ActorStore | Projections, never, SqlClient.SqlClient> = Layer.unwrapEffect(
  Effect.map(make, ({ store, projections }) =>
    Layer.merge(Layer.succeed(ActorStore, store), Layer.succeed(Projections, projections))
  )
)
