// A whole HTTP surface on a free port, over ports that live in memory: what the tests of inspect/ talk to.
import { TestRunner } from "@effect/cluster"
import { HttpServer } from "@effect/platform"
import { NodeContext, NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer, ManagedRuntime, Option, Schema } from "effect"
import { LogUnavailable } from "../../../src/schema/error/IngestError.ts"
import type { DeadLetter } from "../../../src/schema/event/DeadLetter.ts"
import type { CellDevice, CellStatus } from "../../../src/schema/protocol/CellProtocol.ts"
import { ASK_HEADER, CellProtocol, CellUnavailable } from "../../../src/schema/protocol/CellProtocol.ts"
import { DeviceProtocol, type DeviceRecord, VersionMismatch } from "../../../src/schema/protocol/DeviceProtocol.ts"
import { ModelNotFound, ModelProtocol, type ModelVersionRecord } from "../../../src/schema/protocol/ModelProtocol.ts"
import { RegionProtocol } from "../../../src/schema/protocol/RegionProtocol.ts"
import { StreamDefinition } from "../../../src/schema/stream/StreamDefinition.ts"
import { planStream } from "../../../src/schema/stream/StreamPlan.ts"
import { Alert } from "../../../src/schema/verdict/Alert.ts"
import type { Incident } from "../../../src/schema/verdict/Incident.ts"
import type { Verdict } from "../../../src/schema/verdict/Verdict.ts"
import { DeadLetters } from "../../../src/services/ingest/DeadLetters.ts"
import { type Appended, EventLog, type NewRecord } from "../../../src/services/ingest/EventLog.ts"
import { partitionOf } from "../../../src/services/ingest/partition.ts"
import * as Api from "../../../src/services/inspect/Api.ts"
import { FallbackRules } from "../../../src/services/inspect/FallbackRules.ts"
import * as Server from "../../../src/services/inspect/HttpServer.ts"
import { LiveFeed } from "../../../src/services/inspect/LiveFeed.ts"
import { AlertFeed } from "../../../src/services/observe/AlertFeed.ts"
import { Health } from "../../../src/services/observe/Health.ts"
import { Metrics } from "../../../src/services/observe/Metrics.ts"
import { Cells, parseCellId } from "../../../src/services/runtime/Cells.ts"
import { defaultConfig, type RunnerConfig, Settings } from "../../../src/services/runtime/Settings.ts"
import { Streams } from "../../../src/services/runtime/Streams.ts"
import { Projections } from "../../../src/services/state/Projections.ts"

export const flows = Schema.decodeUnknownSync(StreamDefinition)({
  stream: "flows",
  source: { topic: "flows", partitions: 4 },
  identity: { device: "device", time: "ts", id: "id" },
  fields: {
    bytesIn: { type: "number", scale: "log" },
    up: { type: "boolean" },
    proto: { type: "category" }
  },
  score: { timeout: "80ms" },
  rules: [{ name: "telnet", when: "event.bytesIn > 1000.0", then: "alert", severity: "high" }]
})

export const clouds = Schema.decodeUnknownSync(StreamDefinition)({
  stream: "clouds",
  source: { topic: "clouds", format: "cloudevents", partitions: 2 },
  identity: { device: "subject", time: "time", id: "id" },
  fields: { load: { type: "number" } }
})

export const digest = `sha256:${"ab".repeat(32)}`

export const alertOf = (n: number, device = "pump-1"): Alert =>
  Schema.decodeUnknownSync(Alert)({
    id: `flows.0.${n}.energy`,
    stream: "flows",
    partition: 0,
    offset: n,
    device,
    time: 1_700_000_000_000 + n,
    recordTime: 1_700_000_000_000 + n,
    severity: "high",
    rule: null,
    escalated: false,
    path: "baseline",
    model: null,
    energy: 12.5,
    pvalue: 0.00001,
    threshold: 9,
    contributions: [{ feature: "bytesIn", energy: 11, observed: 9, expected: 2 }],
    prototype: null,
    quarantined: false,
    summary: "bytesIn is 9, expected 2"
  })

export const incident: Incident = {
  id: "inc-flows.0.1.energy",
  stream: "flows",
  device: "pump-1",
  status: "open",
  severity: "high",
  openedAt: 1_700_000_000_001,
  lastAlertAt: 1_700_000_000_002,
  resolvedAt: null,
  alerts: 2,
  firstAlert: "flows.0.1.energy",
  lastAlert: "flows.0.2.energy",
  peakEnergy: 12.5,
  summary: "2 alerts",
  label: null
}

/** What the ports hold, for tests to look into and to change. */
export interface World {
  readonly topics: Map<string, Array<Array<NewRecord>>>
  readonly letters: Array<DeadLetter>
  /** Devices by cell `<stream>/<partition>`, in order of arrival. */
  readonly devices: Map<string, Array<string>>
  readonly records: Map<string, DeviceRecord>
  readonly commands: Array<{ readonly name: string; readonly command: string }>
  log: "well" | "away" | "stuck"
  /** What a cell answers to an ask: at once, never, or that it can't. */
  cells: "well" | "silent" | "away"
}

const place = (world: World, stream: string, partitions: number, device: string) => {
  const key = `${stream}/${partitionOf(Buffer.from(device), partitions)}`
  const list = world.devices.get(key) ?? []
  world.devices.set(key, list)
  if (!list.includes(device)) list.push(device)
}

export const makeWorld = (devices: ReadonlyArray<string> = []): World => {
  const world: World = {
    topics: new Map([
      ["flows", [[], [], [], []]],
      ["clouds", [[], []]]
    ]),
    letters: [],
    devices: new Map(),
    records: new Map(),
    commands: [],
    log: "well",
    cells: "well"
  }
  for (const device of devices) place(world, "flows", 4, device)
  return world
}

const eventLog = (world: World) =>
  Layer.succeed(EventLog, {
    ensureTopic: (topic) => Effect.succeed(world.topics.get(topic)?.length ?? 1),
    partitions: (topic) => Effect.succeed(world.topics.get(topic)?.length ?? 1),
    append: (topic, records) =>
      Effect.suspend(() => {
        if (world.log === "stuck") return Effect.never
        if (world.log === "away") return new LogUnavailable({ topic, operation: "append", detail: "no broker" })
        const partitions = world.topics.get(topic) as Array<Array<NewRecord>>
        return Effect.succeed(
          records.map((record): Appended => {
            const partition = record.partition ?? partitionOf(record.key as Uint8Array, partitions.length)
            partitions[partition].push(record)
            return { partition, offset: partitions[partition].length - 1 }
          })
        )
      }),
    open: () => Effect.dieMessage("nobody reads the log here"),
    ping: Effect.void
  })

const deadLetters = (world: World) =>
  Layer.succeed(DeadLetters, {
    write: (letters) => Effect.sync(() => void world.letters.push(...letters)),
    partitions: Effect.succeed(1),
    page: ({ from, limit, stream }) =>
      Effect.sync(() => {
        const letters: Array<DeadLetter> = []
        let next = from
        while (next < world.letters.length && letters.length < limit) {
          const letter = world.letters[next++]
          if (stream === undefined || letter.stream === stream) letters.push(letter)
        }
        return { letters, next, end: world.letters.length }
      }),
    get: (id) => Effect.sync(() => Option.fromNullable(world.letters.find((letter) => letter.id === id)))
  })

const blank = (stream: string, device: string): DeviceRecord => ({
  stream,
  device,
  version: 0,
  incident: null,
  quarantine: null,
  override: null,
  label: null
})

const projections = (world: World) =>
  Layer.succeed(Projections, {
    incidents: () => Effect.succeed({ items: [incident], next: null }),
    incident: (id) => Effect.succeed(id === incident.id ? incident : undefined),
    alerts: ({ limit }) => Effect.succeed({ items: [alertOf(2), alertOf(1)].slice(0, limit), next: null }),
    alert: (id) => Effect.succeed([alertOf(1), alertOf(2)].find((alert) => alert.id === id)),
    devices: () =>
      Effect.sync(() => ({ items: [...world.records.values()].filter((one) => one.quarantine !== null), next: null })),
    models: Effect.succeed([model]),
    counts: Effect.succeed({ openIncidents: 1, quarantined: 0, alerts: 2 })
  })

export const model: ModelVersionRecord = {
  digest,
  name: "flows",
  state: "active",
  stream: "flows",
  createdAt: "2026-01-01T00:00:00Z",
  activatedAt: 1,
  retiredAt: null,
  features: 3,
  prototypes: 2,
  trainingRows: 100,
  cells: [{ partition: 0, offset: 0, epoch: 1 }],
  version: 1
}

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
  counters: { scored: 10, alerts: 0, suppressed: 0, deadLetters: 0, duplicates: 0, late: 0, ahead: 0 },
  checkpoint: null,
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
        Alerts: () => Effect.succeed({ fresh: 0 }),
        Describe: ({ address }) => Effect.sync(() => recordOf(address.entityId)),
        Quarantine: change("Quarantine", (_, { reason, by }: { reason: string; by: string }) => ({
          quarantine: { reason, by, at: 1 }
        })),
        Release: change("Release", () => ({ quarantine: null })),
        Override: change("Override", (_, { mute, shift, until, reason, by }: never) => ({
          override: { mute, shift, until, reason, by, at: 1 }
        })),
        Label: change("Label", (_, { label, note, by }: never) => ({
          label: { label, note, by, at: 1, incident: null }
        })),
        Tick: ({ address }) => Effect.sync(() => recordOf(address.entityId))
      })
    })
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
      totals: { streams: 1, cells: 4, devices: 1, eventsPerSecond: 5, lag: 0, openIncidents: 1, quarantined: 0 }
    })
})

const served = [flows, clouds].map((definition) => ({
  definition,
  plan: planStream(definition),
  topic: definition.source.topic,
  partitions: definition.source.partitions
}))

export interface SurfaceOptions {
  readonly world?: World
  readonly http?: Partial<RunnerConfig["http"]>
  readonly cell?: Partial<RunnerConfig["cell"]>
  /** Names of the streams served; both by default. */
  readonly streams?: ReadonlyArray<string>
}

/** Everything running, and the ways in. `stop` closes it as a runner would. */
export const startSurface = async (options: SurfaceOptions = {}) => {
  const world = options.world ?? makeWorld()
  const all = served.filter(({ plan }) => options.streams?.includes(plan.stream) ?? true)
  const settings = {
    ...defaultConfig,
    http: { ...defaultConfig.http, port: 0, ...options.http },
    cell: { ...defaultConfig.cell, ...options.cell }
  }
  const cluster = Layer.mergeAll(cells(world), devices(world), models, regions, Cells.layer).pipe(
    Layer.provideMerge(TestRunner.layer)
  )
  const base = Layer.mergeAll(
    Layer.succeed(Settings, settings),
    Layer.succeed(Streams, { all, get: (name) => all.find(({ plan }) => plan.stream === name) }),
    AlertFeed.layer,
    Health.layer,
    Metrics.layer,
    eventLog(world),
    deadLetters(world),
    projections(world),
    Layer.succeed(FallbackRules, {
      judge: (_, event) =>
        /"bytesIn":\s*\d{4,}/.test(Buffer.from(event).toString())
          ? { decision: "alert", rule: "telnet", severity: "high" }
          : { decision: "normal", rule: null, severity: null }
    })
  )
  const layer = Api.layer.pipe(
    Layer.provideMerge(Server.layer),
    Layer.provideMerge(LiveFeed.layer),
    Layer.provideMerge(NodeHttpServer.layerContext),
    Layer.provideMerge(cluster),
    Layer.provideMerge(base),
    Layer.provideMerge(NodeContext.layer)
  )
  const runtime = ManagedRuntime.make(layer)
  const address = await runtime.runPromise(Effect.map(HttpServer.HttpServer, (server) => server.address))
  const port = address._tag === "TcpAddress" ? address.port : 0
  return {
    world,
    runtime,
    port,
    url: `http://127.0.0.1:${port}`,
    stop: () => runtime.dispose()
  }
}

export type Surface = Awaited<ReturnType<typeof startSurface>>
