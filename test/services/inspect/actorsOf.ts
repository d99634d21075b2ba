// Actors that answer from a test's world, in the place of those of src/actors.
import { Effect, Layer } from "effect"
import {
  ASK_HEADER,
  type CellDevice,
  CellProtocol,
  type CellStatus,
  CellUnavailable
} from "../../../src/schema/protocol/CellProtocol.ts"
import {
  DeviceProtocol,
  type DeviceRecord,
  VersionMismatch
} from "../../../src/schema/protocol/DeviceProtocol.ts"
import { ModelNotFound, ModelProtocol } from "../../../src/schema/protocol/ModelProtocol.ts"
import { RegionProtocol } from "../../../src/schema/protocol/RegionProtocol.ts"
import { parseCellId } from "../../../src/schema/protocol/slots.ts"
import type { Verdict } from "../../../src/schema/verdict/Verdict.ts"
import { digest, model } from "./samples.ts"
import type { World } from "./world.ts"

/** Questions that a device's actor here can queue. */
export const DEVICE_MAILBOX = 8

const blank = (stream: string, device: string): DeviceRecord => ({
  stream,
  device,
  version: 0,
  incident: null,
  quarantine: null,
  override: null,
  label: null
})

const status = (stream: string, partition: number): CellStatus => ({
  stream,
  partition,
  owner: "runner-1",
  epoch: 3,
  offset: 10,
  endOffset: 12,
  lag: 2,
  oldestEventAgeSeconds: 0.1,
  paused: null,
  pauseDetail: null,
  watermark: null,
  eventsPerSecond: 5,
  devices: 1,
  model: null,
  path: "baseline",
  breaker: "none",
  counters: {
    scored: 10,
    secondStage: 0,
    alerts: 0,
    suppressed: 0,
    deadLetters: 0,
    duplicates: 0,
    late: 0,
    ahead: 0
  },
  checkpoint: null,
  drift: null,
  startedAt: 0,
  takeoverMillis: 12,
  stateBytes: 1_000
})

const cellDevice = (stream: string, partition: number, device: string): CellDevice => ({
  stream,
  device,
  partition,
  owner: "runner-1",
  epoch: 3,
  events: 7,
  lastEventAt: 1_700_000_000_000,
  baselines: [{ signal: "bytesIn", scale: "log", mean: 2, deviation: 0.5 }],
  windows: [],
  quietUntil: null,
  thresholdShift: 0,
  quarantined: false,
  recent: []
})

const verdict = (stream: string, partition: number, device: string): Verdict => ({
  stream,
  device,
  partition,
  offset: 0,
  anomalous: false,
  decision: "normal",
  rule: null,
  severity: null,
  fallback: false,
  path: "baseline",
  model: null,
  energy: 1.5,
  pvalue: 0.4,
  alertId: null,
  contributions: [],
  rejected: null
})

const cells = (world: World) =>
  CellProtocol.toLayer(
    Effect.gen(function* () {
      const away = (stream: string, partition: number) =>
        new CellUnavailable({ stream, partition, detail: "starting" })
      return CellProtocol.of({
        Inspect: ({ address }) => {
          const { stream, partition } = parseCellId(address.entityId)
          return Effect.succeed(status(stream, partition))
        },
        Device: ({ address, payload }) => {
          const { stream, partition } = parseCellId(address.entityId)
          if (world.cells === "away") return away(stream, partition)
          const known = world.devices.get(`${stream}/${partition}`)?.includes(payload.device) === true
          return Effect.succeed(known ? cellDevice(stream, partition, payload.device) : null)
        },
        Drift: () => Effect.succeed(null),
        Devices: ({ address, payload: { after, limit, prefix } }) => {
          const { stream, partition } = parseCellId(address.entityId)
          const list = world.devices.get(`${stream}/${partition}`) ?? []
          const rest = list
            .map((device, position) => ({ device, position }))
            .filter(({ device, position }) => position > after && device.startsWith(prefix))
          const page = rest.slice(0, limit)
          return Effect.succeed({
            devices: page.map(({ device }) => ({
              device,
              stream,
              partition,
              events: 1,
              lastEventAt: 0,
              quarantined: false
            })),
            next: rest.length > limit ? page[page.length - 1].position : null,
            total: list.length
          })
        },
        Judge: ({ address, payload }) => {
          const { stream, partition } = parseCellId(address.entityId)
          if (world.cells === "away") return away(stream, partition)
          if (world.cells === "silent") return Effect.never
          const asked = () =>
            world.topics
              .get(stream)
              ?.[partition].find((record) => record.headers?.[ASK_HEADER] === payload.askId)
          return Effect.suspend(() => {
            const record = asked()
            return record === undefined
              ? Effect.fail("not yet" as const)
              : Effect.succeed(verdict(stream, partition, Buffer.from(record.key as Uint8Array).toString()))
          }).pipe(Effect.retry({ times: 1_000, while: () => true }), Effect.orDie)
        },
        Command: () => Effect.succeed({ offset: 10, epoch: 3, fresh: true })
      })
    })
  )

const devices = (world: World) =>
  DeviceProtocol.toLayer(
    Effect.gen(function* () {
      const recordOf = (entityId: string) => {
        const slash = entityId.indexOf("/")
        return world.records.get(entityId) ?? blank(entityId.slice(0, slash), entityId.slice(slash + 1))
      }
      const change =
        (name: string, apply: (record: DeviceRecord, payload: never) => Partial<DeviceRecord>) =>
        ({
          address,
          payload
        }: {
          readonly address: { readonly entityId: string }
          readonly payload: { readonly command: string; readonly ifVersion: number | null }
        }) =>
          Effect.suspend(() => {
            const record = recordOf(address.entityId)
            if (payload.ifVersion !== null && payload.ifVersion !== record.version) {
              return new VersionMismatch({ expected: payload.ifVersion, actual: record.version })
            }
            world.commands.push({ name, command: payload.command })
            const next = { ...record, ...apply(record, payload as never), version: record.version + 1 }
            world.records.set(address.entityId, next)
            return Effect.succeed(next)
          })
      return DeviceProtocol.of({
        Describe: ({ address }) =>
          Effect.zipRight(
            Effect.promise(async () => world.held),
            Effect.sync(() => recordOf(address.entityId))
          ),
        Quarantine: change("Quarantine", (_, { reason, by }: { reason: string; by: string }) => ({
          quarantine: { reason, by, at: 1 }
        })),
        Release: change("Release", () => ({ quarantine: null })),
        Override: change("Override", (_, { mute, shift, until, reason, by }: never) => ({
          override: { mute, shift, until, reason, by, at: 1 }
        })),
        Label: change("Label", (_, { label, note, by }: never) => ({
          label: { label, note, by, at: 1, incident: null }
        }))
      })
    }),
    { mailboxCapacity: DEVICE_MAILBOX }
  )

const models = ModelProtocol.toLayer({
  Describe: ({ address }) =>
    address.entityId === digest ? Effect.succeed(model) : new ModelNotFound({ digest: address.entityId }),
  Activate: () => Effect.succeed(model),
  Retire: () => Effect.succeed({ ...model, state: "retired" as const })
})

const regions = RegionProtocol.toLayer({
  Report: ({ address }) =>
    Effect.succeed({
      region: address.entityId,
      role: "edge" as const,
      health: "healthy" as const,
      reasons: [],
      autonomy: "standalone" as const,
      runners: [{ name: "runner-1", startedAt: 0 }],
      totals: {
        streams: 1,
        cells: 4,
        devices: 1,
        eventsPerSecond: 5,
        lag: 0,
        openIncidents: 1,
        quarantined: 0
      }
    })
})

/** Cells, devices, models and regions. */
export const actorsOf = (world: World) => Layer.mergeAll(cells(world), devices(world), models, regions)
