// What came of a cell's runs on the chaos stream: its alerts on the topic, its state; and a model for it.
import { type Effect, Schema } from "effect"
import { expect } from "vitest"
import type { ScorerUnavailable } from "../../src/schema/error/ModelError.ts"
import { StreamDefinition } from "../../src/schema/stream/StreamDefinition.ts"
import { checkpointed, readEmbedded } from "./cellFiles.ts"
import { startWorld, type Tampering, worldSettings } from "./cellWorld.ts"
import { chaosPlan, chaosStream, makeEvents } from "./chaosStream.ts"
import { loadModelOf } from "./loadModel.ts"
import { type Told, until } from "./runner.ts"

export const definition = Schema.decodeUnknownSync(StreamDefinition)(chaosStream)
const utf8 = new TextEncoder()
export const eventsOf = (seed: number, count: number): ReadonlyArray<Uint8Array> => {
  const next = makeEvents(seed)
  return Array.from({ length: count }, () => utf8.encode(next().json))
}

const text = new TextDecoder()
export const topicOf = async (folder: string, topic: string): Promise<ReadonlyArray<Told>> => {
  const { records } = await readEmbedded(folder, topic)
  return records.map((record) => JSON.parse(text.decode(record.value ?? new Uint8Array(0))))
}
/** Alerts by id; a copy of one says the same. */
export const alertsOf = async (folder: string) => {
  const alerts = new Map<string, unknown>()
  for (const event of await topicOf(folder, "groundstate.alerts")) {
    if (alerts.has(event.id)) expect(event).toEqual(alerts.get(event.id))
    alerts.set(event.id, event)
  }
  return [...alerts.values()]
}
export const stateIn = async (folder: string, settings = worldSettings()) =>
  (await checkpointed(folder, chaosPlan, 1, settings))[0]

/** A run to the end of its log without anything in its way. */
export const calm = async (folder: string, end: number, tampering: Tampering = {}) => {
  const world = await startWorld(folder, definition, tampering)
  await until("the end of the log", async () => ((await world.inspect()).offset >= end ? true : undefined))
  await world.stop()
}

/** A model of the chaos stream. */
export const modelThat = (
  before?: (energies: Float32Array, count: number) => Effect.Effect<void, ScorerUnavailable>
) => loadModelOf(chaosPlan, before)
