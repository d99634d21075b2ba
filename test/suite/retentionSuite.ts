// What Retention must do on every database: what is past goes in time, what is open or decided stays.
import { SqlClient } from "@effect/sql"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { newDevice, passTime, takeAlerts } from "../../src/actors/device/deviceState.ts"
import { AlertId } from "../../src/schema/Ids.ts"
import type { DeviceRecord } from "../../src/schema/protocol/DeviceProtocol.ts"
import type { Alert } from "../../src/schema/verdict/Alert.ts"
import { ActorStore } from "../../src/services/state/ActorStore.ts"
import { Projections } from "../../src/services/state/Projections.ts"
import * as RetentionLayer from "../../src/services/state/Retention.ts"
import { Retention } from "../../src/services/state/Retention.ts"

const HOUR = 3_600_000
const KEEP = 30 * 24 * HOUR
const START = 1_760_000_000_000
const timing = { quietMillis: HOUR, resolveMillis: HOUR }

/** Its event time lies years before the wall clock: a backfill. */
const alert = (offset: number, device: string): Alert => ({
  id: AlertId.make(`flows.0.${offset}.model`),
  stream: "flows",
  partition: 0,
  offset,
  device,
  time: offset,
  recordTime: offset,
  severity: "medium",
  rule: null,
  escalated: false,
  path: "fast",
  model: null,
  energy: 9,
  pvalue: 1e-5,
  threshold: 5,
  contributions: [],
  prototype: null,
  quarantined: false,
  summary: "temperature was 9, expected 3"
})

/** A device with one alert, as the store takes it; `decide` is what operators then did, `resolved` whether it is over. */
const raise = (
  offset: number,
  device: string,
  options: { readonly resolved: boolean; readonly decide?: Partial<DeviceRecord> }
) =>
  Effect.gen(function* () {
    const store = yield* ActorStore
    const step = takeAlerts(newDevice("flows", device), [alert(offset, device)], timing)
    const quiet = passTime(step.record, offset + 2 * HOUR, timing)
    const over = options.resolved ? passTime(quiet, offset + 9 * HOUR, timing) : step.record
    const record = { ...over, ...options.decide, version: 1 }
    const incidents = record.incident === null ? [] : [record.incident]
    yield* store.saveDevices([{ record, incidents, alerts: step.alerts, commandId: undefined, cells: [] }])
  })

const kept = Effect.gen(function* () {
  const projections = yield* Projections
  const alerts = yield* projections.alerts({ limit: 10_000 })
  const incidents = yield* projections.incidents({ limit: 10_000 })
  return {
    alerts: alerts.items.map(({ device }) => device).toSorted(),
    incidents: incidents.items.map(({ device }) => device).toSorted()
  }
})

const rememberedOf = (devices: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const records = yield* (yield* ActorStore).devices(devices.map((device) => ({ stream: "flows", device })))
    return devices.filter((_, at) => records[at] !== undefined)
  })

/** `database` gives an empty database each time that it is built. */
export const retentionSuite = (
  name: string,
  database: Layer.Layer<ActorStore | Projections | SqlClient.SqlClient, unknown>
) => {
  const layer = RetentionLayer.layer.pipe(Layer.provideMerge(database))

  describe(`Retention on ${name}`, () => {
    it.effect(
      "deletes what was written before the time that is kept, by the wall clock and not by event time",
      () =>
        Effect.gen(function* () {
          const retention = yield* Retention
          yield* raise(1, "old", { resolved: true })
          yield* retention.sweep(START, KEEP)
          yield* raise(2, "new", { resolved: true })
          expect(yield* retention.sweep(START + KEEP / 2, KEEP)).toEqual({
            alerts: 0,
            incidents: 0,
            devices: 0
          })
          expect(yield* kept).toEqual({ alerts: ["new", "old"], incidents: ["new", "old"] })
          expect(yield* retention.sweep(START + KEEP, KEEP)).toEqual({ alerts: 1, incidents: 1, devices: 1 })
          expect(yield* kept).toEqual({ alerts: ["new"], incidents: ["new"] })
          expect(yield* rememberedOf(["old", "new"])).toEqual(["new"])
          expect(yield* retention.sweep(START + KEEP / 2 + KEEP, KEEP)).toEqual({
            alerts: 1,
            incidents: 1,
            devices: 1
          })
        }).pipe(Effect.provide(layer))
    )

    it.effect("keeps what is open, and what somebody decided", () =>
      Effect.gen(function* () {
        const retention = yield* Retention
        const by = { by: "ada", at: START, reason: "" }
        const label = { label: "false-alarm" as const, incident: null, note: "", by: "ada", at: START }
        const override = { ...by, mute: true, shift: 0, until: 5 }
        yield* raise(1, "open", { resolved: false })
        yield* raise(2, "quarantined", { resolved: true, decide: { quarantine: by } })
        yield* raise(3, "overridden", { resolved: true, decide: { override } })
        yield* raise(4, "labelled", { resolved: true, decide: { label } })
        yield* raise(5, "forgotten", { resolved: true })
        yield* retention.sweep(START, KEEP)
        expect(yield* retention.sweep(START + 2 * KEEP, KEEP)).toEqual({
          alerts: 5,
          incidents: 4,
          devices: 1
        })
        expect((yield* kept).incidents).toEqual(["open"])
        const devices = ["open", "quarantined", "overridden", "labelled", "forgotten"]
        expect(yield* rememberedOf(devices)).toEqual(devices.slice(0, 4))
      }).pipe(Effect.provide(layer))
    )

    it.live("deletes thousands, a few hundred at a time", () =>
      Effect.gen(function* () {
        const retention = yield* Retention
        const store = yield* ActorStore
        for (let offset = 0; offset < 1_500; offset += 50) {
          const writes = Array.from({ length: 50 }, (_, at) => {
            const device = `d-${offset + at}`
            const step = takeAlerts(newDevice("flows", device), [alert(offset + at, device)], timing)
            const quiet = passTime(step.record, offset + at + 2 * HOUR, timing)
            const record = { ...passTime(quiet, offset + at + 9 * HOUR, timing), version: 1 }
            return {
              record,
              incidents: record.incident === null ? [] : [record.incident],
              alerts: step.alerts,
              commandId: undefined,
              cells: []
            }
          })
          yield* store.saveDevices(writes)
        }
        yield* retention.sweep(START, KEEP)
        expect(yield* retention.sweep(START + KEEP, KEEP)).toEqual({
          alerts: 1_500,
          incidents: 1_500,
          devices: 1_500
        })
        expect(yield* kept).toEqual({ alerts: [], incidents: [] })
      }).pipe(Effect.provide(layer))
    )

    it.effect("sets few marks, and forgets those that have served", () =>
      Effect.gen(function* () {
        const retention = yield* Retention
        const sql = yield* SqlClient.SqlClient
        for (let minute = 0; minute < 200; minute++) {
          if (minute % 2 === 0) yield* raise(minute, `d-${minute}`, { resolved: true })
          yield* retention.sweep(START + minute * (KEEP / 100), KEEP)
        }
        const [{ marks }] = yield* sql<{ marks: number }>`SELECT COUNT(*) AS marks FROM retention_mark`
        expect(Number(marks)).toBeLessThanOrEqual(34)
        expect(Number(marks)).toBeGreaterThanOrEqual(20)
      }).pipe(Effect.provide(layer))
    )
  })
}
