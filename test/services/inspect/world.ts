// The ports that a surface needs, in memory: what they hold can be looked into, and made to fail.
import { Effect, Layer, Option } from "effect"
import { LogUnavailable } from "../../../src/schema/error/IngestError.ts"
import type { DeadLetter } from "../../../src/schema/event/DeadLetter.ts"
import type { DeviceRecord } from "../../../src/schema/protocol/DeviceProtocol.ts"
import { DeadLetters } from "../../../src/services/ingest/DeadLetters.ts"
import { type Appended, EventLog, type NewRecord } from "../../../src/services/ingest/EventLog.ts"
import { partitionOf } from "../../../src/services/ingest/partition.ts"
import { Projections } from "../../../src/services/state/Projections.ts"
import { alertOf, incident, model } from "./samples.ts"

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
  /** What device actors wait for before they answer. */
  held: Promise<void> | undefined
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
    cells: "well",
    held: undefined
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
        if (world.log === "away")
          return new LogUnavailable({ topic, operation: "append", detail: "no broker" })
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

const projections = (world: World) =>
  Layer.succeed(Projections, {
    incidents: () => Effect.succeed({ items: [incident], next: null }),
    incident: (id) => Effect.succeed(id === incident.id ? incident : undefined),
    alerts: ({ limit }) => Effect.succeed({ items: [alertOf(2), alertOf(1)].slice(0, limit), next: null }),
    alert: (id) => Effect.succeed([alertOf(1), alertOf(2)].find((alert) => alert.id === id)),
    devices: () =>
      Effect.sync(() => ({
        items: [...world.records.values()].filter((one) => one.quarantine !== null),
        next: null
      })),
    models: Effect.succeed([model]),
    counts: Effect.succeed({ openIncidents: 1, quarantined: 0, alerts: 2 })
  })

/** All of them. */
export const portsOf = (world: World) =>
  Layer.mergeAll(eventLog(world), deadLetters(world), projections(world))
