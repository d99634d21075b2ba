// What DeviceChanges must do on every database: each alert once, each device as if it had been alone.
import { SqlClient } from "@effect/sql"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer } from "effect"
import * as Device from "../../src/actors/device/Device.ts"
import * as DeviceBatches from "../../src/actors/device/DeviceBatches.ts"
import { newDevice, takeAlerts } from "../../src/actors/device/deviceState.ts"
import { type Fenced, StorageUnavailable } from "../../src/schema/error/StorageError.ts"
import { AlertId, CommandId } from "../../src/schema/Ids.ts"
import { CellProtocol } from "../../src/schema/protocol/CellProtocol.ts"
import { DeviceProtocol, deviceEntityId } from "../../src/schema/protocol/DeviceProtocol.ts"
import type { Alert } from "../../src/schema/verdict/Alert.ts"
import { Metrics } from "../../src/services/observe/Metrics.ts"
import { Cells } from "../../src/services/runtime/Cells.ts"
import * as Cluster from "../../src/services/runtime/Cluster.ts"
import { defaultConfig, Settings } from "../../src/services/runtime/Settings.ts"
import { type ServedStream, Streams } from "../../src/services/runtime/Streams.ts"
import { ActorStore, type DeviceWrite } from "../../src/services/state/ActorStore.ts"
import { type CellEpoch, Checkpoint } from "../../src/services/state/Checkpoint.ts"
import { DeviceChanges } from "../../src/services/state/DeviceChanges.ts"
import { Projections } from "../../src/services/state/Projections.ts"

const QUIET_MILLIS = 600_000
const timing = { quietMillis: QUIET_MILLIS, resolveMillis: defaultConfig.device.resolveAfter }

const alert = (offset: number, device: string, time = offset, partition = 0): Alert => ({
  id: AlertId.make(`flows.${partition}.${offset}.model`),
  stream: "flows",
  partition,
  offset,
  device,
  time,
  recordTime: time,
  severity: offset % 5 === 0 ? "high" : "medium",
  rule: null,
  escalated: false,
  path: "fast",
  model: null,
  energy: offset % 7,
  pvalue: 1e-5,
  threshold: 5,
  contributions: [{ feature: "temperature", energy: 3, observed: 'it\'s "odd"', expected: null }],
  prototype: null,
  quarantined: false,
  summary: "temperature was 9, expected 3"
})

/** Alerts of `devices` devices, one after the other in turn. */
const inTurn = (count: number, devices: number) =>
  Array.from({ length: count }, (_, offset) => alert(offset, `d-${offset % devices}`))

const keyOf = (device: string) => ({ stream: "flows", device })

/** The only owner that the cell ever had. */
const owner: CellEpoch = { stream: "flows", partition: 0, epoch: 1 }

type Database = Layer.Layer<ActorStore | Checkpoint | Projections | SqlClient.SqlClient, unknown>

/** What a test does to the store before it does what it is asked. */
interface Tampering {
  readonly beforeSave: (
    store: typeof ActorStore.Service,
    writes: ReadonlyArray<DeviceWrite>,
    checkpoint: typeof Checkpoint.Service
  ) => Effect.Effect<void, StorageUnavailable>
}

const served = { plan: { quietMillis: QUIET_MILLIS }, partitions: 1 } as unknown as ServedStream

const layerOf = (database: Database, tampering?: Tampering) => {
  const tampered =
    tampering === undefined
      ? database
      : Layer.effect(
          ActorStore,
          Effect.map(Effect.all([ActorStore, Checkpoint]), ([store, checkpoint]) => ({
            ...store,
            saveDevices: (writes: ReadonlyArray<DeviceWrite>) =>
              Effect.zipRight(tampering.beforeSave(store, writes, checkpoint), store.saveDevices(writes))
          }))
        ).pipe(Layer.provideMerge(database))
  return DeviceBatches.layer.pipe(
    Layer.provideMerge(tampered),
    Layer.provideMerge(
      Layer.mergeAll(
        Layer.succeed(Settings, defaultConfig),
        Layer.succeed(Streams, { all: [served], get: () => served })
      )
    )
  )
}

const devicesOf = (alerts: ReadonlyArray<Alert>) => [...new Set(alerts.map(({ device }) => device))]

/** The records that the pure steps give when each device's alerts come alone, versions aside. */
const expected = (alerts: ReadonlyArray<Alert>) =>
  devicesOf(alerts).map((device) => {
    const own = alerts.filter((one) => one.device === device)
    return takeAlerts(newDevice("flows", device), own, timing).record.incident
  })

const incidentsOf = (alerts: ReadonlyArray<Alert>) =>
  Effect.gen(function* () {
    const records = yield* (yield* ActorStore).devices(devicesOf(alerts).map(keyOf))
    return records.map((record) => record?.incident)
  })

const listed = Effect.gen(function* () {
  const projections = yield* Projections
  const alerts = yield* projections.alerts({ limit: 10_000 })
  const incidents = yield* projections.incidents({ limit: 10_000 })
  return { alerts: alerts.items.toReversed(), incidents: incidents.items.toReversed() }
})

/** Makes the stored record of a device of stream `flows` one that can't be read. */
type Spoil = (device: string) => Effect.Effect<void, unknown, SqlClient.SqlClient>

const spoilInSql: Spoil = (device) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.asVoid(sql`UPDATE device SET record_json = '{}' WHERE device = ${device}`)
  )

/** `database` gives an empty database each time that it is built. */
export const deviceChangesSuite = (name: string, database: Database, spoil = spoilInSql) => {
  const layer = layerOf(database)

  describe(`DeviceChanges on ${name}`, () => {
    it.scopedLive("takes the alerts of many devices at once as if each had come alone", () =>
      Effect.gen(function* () {
        const changes = yield* DeviceChanges
        const alerts = inTurn(333, 100)
        yield* changes.takeAlerts(owner, alerts)
        expect(yield* incidentsOf(alerts)).toEqual(expected(alerts))
        const rows = yield* listed
        expect(rows.alerts.toSorted((a, b) => a.offset - b.offset)).toEqual(alerts)
        expect(rows.incidents.toSorted((a, b) => a.id.localeCompare(b.id))).toEqual(
          expected(alerts).toSorted((a, b) => (a?.id ?? "").localeCompare(b?.id ?? ""))
        )
        expect(new Set(rows.incidents.map((incident) => incident.alerts))).toEqual(new Set([3, 4]))
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("takes an id once, within a call, in another call, and from two owners at a time", () =>
      Effect.gen(function* () {
        const changes = yield* DeviceChanges
        const alerts = inTurn(50, 7)
        yield* changes.takeAlerts(owner, [...alerts.slice(0, 20), ...alerts.slice(0, 20)])
        const before = yield* (yield* ActorStore).devices([keyOf("d-1")])
        yield* changes.takeAlerts(owner, alerts.slice(0, 20))
        expect(yield* (yield* ActorStore).devices([keyOf("d-1")])).toEqual(before)
        yield* Effect.all(
          [changes.takeAlerts(owner, alerts.slice(15)), changes.takeAlerts(owner, alerts.slice(15))],
          {
            concurrency: "unbounded"
          }
        )
        expect(yield* incidentsOf(alerts)).toEqual(expected(alerts))
        expect((yield* listed).alerts).toHaveLength(50)
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("takes no alert whose id another device has, and goes on", () =>
      Effect.gen(function* () {
        const changes = yield* DeviceChanges
        yield* changes.takeAlerts(owner, [alert(1, "d-1")])
        yield* changes.takeAlerts(owner, [alert(1, "d-2"), alert(2, "d-3")])
        const records = yield* (yield* ActorStore).devices(["d-1", "d-2", "d-3"].map(keyOf))
        expect(records.map((record) => record?.version)).toEqual([1, undefined, 1])
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("reads a device again that somebody wrote in between, and that device alone", () => {
      const rounds: Array<ReadonlyArray<string>> = []
      const label = { label: "unsure" as const, incident: null, note: "", by: "ana", at: 1 }
      const meddling = layerOf(database, {
        beforeSave: (store, writes) => {
          rounds.push(writes.map(({ record }) => record.device))
          if (rounds.length > 2) return Effect.void
          const version = rounds.length
          // Somebody on another runner labels the device, twice, each time between the read and the write.
          const record = { ...newDevice("flows", "d-2"), label, version }
          return store
            .saveDevices([{ record, incidents: [], alerts: [], commandId: `label-${version}`, cells: [] }])
            .pipe(Effect.map((saved) => expect(saved).toEqual(["written"])))
        }
      })
      return Effect.gen(function* () {
        const changes = yield* DeviceChanges
        const alerts = inTurn(8, 4)
        yield* changes.takeAlerts(owner, alerts)
        expect(rounds).toEqual([["d-0", "d-1", "d-2", "d-3"], ["d-2"], ["d-2"]])
        expect(yield* incidentsOf(alerts)).toEqual(expected(alerts))
        expect(yield* (yield* ActorStore).devices([keyOf("d-2")])).toMatchObject([{ version: 3, label }])
        expect((yield* listed).alerts).toHaveLength(8)
      }).pipe(Effect.provide(meddling))
    })

    it.scopedLive("writes nothing of a step whose version has gone", () =>
      Effect.gen(function* () {
        const store = yield* ActorStore
        const step = (device: string, alerts: ReadonlyArray<Alert>): DeviceWrite => ({
          ...takeAlerts(newDevice("flows", device), alerts, timing),
          commandId: undefined,
          cells: [owner]
        })
        expect(yield* store.saveDevices([step("d-1", [alert(1, "d-1")])])).toEqual(["written"])
        expect(
          yield* store.saveDevices([step("d-1", [alert(2, "d-1")]), step("d-2", [alert(3, "d-2")])])
        ).toEqual(["overtaken", "written"])
        const rows = yield* listed
        expect(rows.alerts.map(({ offset }) => offset)).toEqual([1, 3])
        expect(rows.incidents.map(({ device }) => device)).toEqual(["d-1", "d-2"])
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("says of a record that can't be read that it can't, and goes on with others", () =>
      Effect.gen(function* () {
        const changes = yield* DeviceChanges
        yield* changes.takeAlerts(owner, [alert(1, "d-1")])
        yield* spoil("d-1")
        const error = yield* Effect.flip(changes.takeAlerts(owner, [alert(2, "d-1")]))
        expect(error).toBeInstanceOf(StorageUnavailable)
        yield* changes.takeAlerts(owner, [alert(3, "d-2")])
        expect(yield* incidentsOf([alert(3, "d-2")])).toEqual(expected([alert(3, "d-2")]))
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("ends half way when the database goes, and is completed by the same call", () => {
      let saves = 0
      const failing = layerOf(database, {
        beforeSave: () =>
          ++saves === 2
            ? Effect.fail(new StorageUnavailable({ operation: "write devices", detail: "a failpoint" }))
            : Effect.void
      })
      return Effect.gen(function* () {
        const changes = yield* DeviceChanges
        const alerts = inTurn(3 * DeviceBatches.BATCH_MAX, 10)
        expect(Exit.isFailure(yield* Effect.exit(changes.takeAlerts(owner, alerts)))).toBe(true)
        // What follows the batch that failed has not overtaken it.
        expect((yield* listed).alerts.map(({ offset }) => offset)).toHaveLength(DeviceBatches.BATCH_MAX)
        yield* changes.takeAlerts(owner, alerts)
        expect(yield* incidentsOf(alerts)).toEqual(expected(alerts))
        expect((yield* listed).alerts).toHaveLength(alerts.length)
      }).pipe(Effect.provide(failing))
    })

    it.scopedLive("is finished by the next owner when its caller ends in the middle", () =>
      Effect.gen(function* () {
        const changes = yield* DeviceChanges
        const alerts = inTurn(4 * DeviceBatches.BATCH_MAX, 10)
        yield* Effect.forkScoped(changes.takeAlerts(owner, alerts)).pipe(
          Effect.tap(() => Effect.yieldNow()),
          Effect.flatMap(Fiber.interrupt)
        )
        yield* changes.takeAlerts(owner, alerts)
        expect(yield* incidentsOf(alerts)).toEqual(expected(alerts))
        expect((yield* listed).alerts).toHaveLength(alerts.length)
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("lets incidents turn quiet, then resolved, as event time passes, each once", () =>
      Effect.gen(function* () {
        const changes = yield* DeviceChanges
        const store = yield* ActorStore
        const alerts = Array.from({ length: 100 }, (_, n) => alert(n, `d-${n}`, n % 2 === 0 ? 0 : 5_000))
        yield* changes.takeAlerts(owner, alerts)
        const pass = (watermark: number) =>
          changes.passTime(devicesOf(alerts).map((device) => ({ cell: owner, device, watermark })))
        const seen = Effect.map(store.devices(["d-0", "d-1"].map(keyOf)), (records) =>
          records.map((record) => [record?.incident?.status, record?.version])
        )
        yield* pass(QUIET_MILLIS)
        yield* pass(QUIET_MILLIS)
        expect(yield* seen).toEqual([
          ["quiet", 2],
          ["open", 1]
        ])
        yield* pass(QUIET_MILLIS + timing.resolveMillis)
        expect(yield* seen).toEqual([
          ["resolved", 3],
          ["quiet", 2]
        ])
        const projections = yield* Projections
        expect((yield* projections.incidents({ limit: 200, status: "resolved" })).items).toHaveLength(50)
        expect(yield* projections.counts).toMatchObject({ openIncidents: 50, alerts: 100 })
      }).pipe(Effect.provide(layer))
    )
  })

  describe(`The fence of devices on ${name}`, () => {
    const claim = (partition: number) =>
      Effect.gen(function* () {
        const key = { stream: "flows", partition }
        return { ...key, epoch: yield* (yield* Checkpoint).claim(key, "test") }
      })
    /** Two owners of cell 0, one after the other, and the one of cell 1. */
    const owners = Effect.all({ old: claim(0), current: claim(0), other: claim(1) })

    it.scopedLive(
      "takes nothing of a former owner, says so, and takes what others bring in the same batch",
      () =>
        Effect.gen(function* () {
          const changes = yield* DeviceChanges
          const { current, old, other } = yield* owners
          // Device `moved` had its events in cell 0 until its stream was given more partitions.
          const [refused, done] = yield* Effect.all(
            [
              Effect.flip(changes.takeAlerts(old, [alert(1, "stale"), alert(2, "moved")])),
              Effect.exit(changes.takeAlerts(other, [alert(7, "fresh", 7, 1), alert(8, "moved", 8, 1)]))
            ],
            { concurrency: "unbounded" }
          )
          expect(refused).toMatchObject({
            _tag: "Fenced",
            stream: "flows",
            partition: 0,
            epoch: old.epoch,
            current: current.epoch
          } satisfies Partial<Fenced>)
          expect(Exit.isSuccess(done)).toBe(true)
          expect((yield* listed).alerts.map(({ id }) => id)).toEqual(["flows.1.7.model", "flows.1.8.model"])
          yield* changes.takeAlerts(current, [alert(1, "stale"), alert(2, "moved")])
          expect((yield* listed).alerts).toHaveLength(4)
        }).pipe(Effect.provide(layer))
    )

    it.scopedLive("takes an alert that both owners bring at once in the name of the later one", () =>
      Effect.gen(function* () {
        const changes = yield* DeviceChanges
        const { current, old } = yield* owners
        const both = [alert(1, "d-1"), alert(2, "d-2")]
        const [refused] = yield* Effect.all(
          [
            Effect.exit(changes.takeAlerts(old, [...both, alert(3, "d-1")])),
            changes.takeAlerts(current, both)
          ],
          { concurrency: "unbounded" }
        )
        expect(Exit.isFailure(refused)).toBe(true)
        expect(yield* incidentsOf(both)).toEqual(expected(both))
        expect((yield* listed).alerts.toSorted((a, b) => a.offset - b.offset)).toEqual(both)
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("writes nothing of a fenced step, and the others of its transaction", () =>
      Effect.gen(function* () {
        const store = yield* ActorStore
        const { current, old, other } = yield* owners
        const step = (device: string, offset: number, cells: ReadonlyArray<CellEpoch>): DeviceWrite => ({
          ...takeAlerts(newDevice("flows", device), [alert(offset, device)], timing),
          commandId: `c-${device}`,
          cells
        })
        const outcomes = yield* store.saveDevices([
          step("d-1", 1, [old]),
          step("d-2", 2, [current]),
          step("d-3", 3, [other, old]),
          step("d-4", 4, [])
        ])
        const fenced = { _tag: "Fenced", epoch: old.epoch, current: current.epoch }
        expect(outcomes).toMatchObject([fenced, "written", fenced, "written"])
        const rows = yield* listed
        expect(rows.alerts.map(({ device }) => device)).toEqual(["d-2", "d-4"])
        expect(rows.incidents.map(({ device }) => device)).toEqual(["d-2", "d-4"])
        const known = ["d-1", "d-2", "d-3", "d-4"].map((device) =>
          store.commandKnown("flows", device, `c-${device}`)
        )
        expect(yield* Effect.all(known)).toEqual([false, true, false, true])
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive("passes over the time that a former owner tells, and counts it", () =>
      Effect.gen(function* () {
        const changes = yield* DeviceChanges
        const { current, old } = yield* owners
        yield* changes.takeAlerts(current, [alert(1, "d-1", 0)])
        const pass = (cell: CellEpoch) => changes.passTime([{ cell, device: "d-1", watermark: QUIET_MILLIS }])
        const status = Effect.map(incidentsOf([alert(1, "d-1")]), ([incident]) => incident?.status)
        expect([yield* pass(old), yield* status]).toEqual([1, "open"])
        expect([yield* pass(current), yield* status]).toEqual([0, "quiet"])
      }).pipe(Effect.provide(layer))
    )
  })

  describe(`a device's actor on ${name}`, () => {
    const cells = CellProtocol.toLayer(
      Effect.succeed(
        CellProtocol.of({
          Inspect: () => Effect.dieMessage("nobody asks"),
          Device: () => Effect.succeed(null),
          Drift: () => Effect.succeed(null),
          Devices: () => Effect.succeed({ devices: [], next: null, total: 0 }),
          Judge: () => Effect.succeed(null),
          Command: () => Effect.succeed({ offset: 1, epoch: 1, fresh: true })
        })
      )
    )

    const actorOn = (on: typeof layer) =>
      Device.layer(defaultConfig.device).pipe(
        Layer.provideMerge(Layer.mergeAll(cells, Cells.layer, Metrics.layer)),
        Layer.provideMerge(Cluster.layerSingle),
        Layer.provideMerge(on)
      )

    it.scopedLive("decides again where its cell has got a new owner meanwhile, once", () => {
      let saves = 0
      const overtaken = layerOf(database, {
        beforeSave: (_, __, checkpoint) =>
          ++saves > 1
            ? Effect.void
            : Effect.asVoid(checkpoint.claim({ stream: "flows", partition: 0 }, "another"))
      })
      return Effect.gen(function* () {
        const device = (yield* DeviceProtocol.client)(deviceEntityId("flows", "d-1"))
        const command = { command: CommandId.make("c-1"), by: "ana", ifVersion: null }
        expect(yield* device.Quarantine({ ...command, reason: "odd" })).toMatchObject({
          version: 1,
          quarantine: { by: "ana" }
        })
        expect(saves).toBe(2)
        expect(yield* (yield* Metrics).exposition).toContain('groundstate_fenced_total{stream="flows"} 1')
      }).pipe(Effect.provide(actorOn(overtaken)))
    })

    it.scopedLive("never answers or decides from a record that alerts have changed meanwhile", () =>
      Effect.gen(function* () {
        const changes = yield* DeviceChanges
        const device = (yield* DeviceProtocol.client)(deviceEntityId("flows", "d-1"))
        const label = (command: string, ifVersion: number | null) =>
          device.Label({
            command: CommandId.make(command),
            by: "ana",
            ifVersion,
            label: "false-alarm",
            note: ""
          })
        expect(yield* device.Describe()).toMatchObject({ version: 0, incident: null })
        yield* changes.takeAlerts(owner, [alert(1, "d-1"), alert(2, "d-1")])
        expect(yield* device.Describe()).toMatchObject({ version: 1, incident: { alerts: 2 } })
        yield* changes.takeAlerts(owner, [alert(3, "d-1")])
        expect(yield* Effect.flip(label("c-1", 1))).toMatchObject({ _tag: "VersionMismatch", actual: 2 })
        expect(yield* label("c-1", 2)).toMatchObject({
          version: 3,
          incident: { alerts: 3, label: "false-alarm" }
        })
        yield* changes.takeAlerts(owner, [alert(4, "d-1")])
        // The same command once more answers what is there now, and changes nothing.
        expect(yield* label("c-1", 2)).toMatchObject({
          version: 4,
          incident: { alerts: 4, label: "false-alarm" }
        })
      }).pipe(Effect.provide(actorOn(layer)))
    )
  })
}
