// What came of a cell's runs on the chaos stream: its alerts on the topic, its state; and a model for it.
import { Effect, Schema } from "effect"
import { expect } from "vitest"
import type { ScorerUnavailable } from "../../src/schema/error/ModelError.ts"
import { StreamDefinition } from "../../src/schema/stream/StreamDefinition.ts"
import { defaultFeatures } from "../../src/services/feature/rowLayout.ts"
import type { LoadedModel } from "../../src/services/score/Scorer.ts"
import { checkpointed, readEmbedded } from "./cellFiles.ts"
import { startWorld, type Tampering, worldSettings } from "./cellWorld.ts"
import { chaosPlan, chaosStream, makeEvents } from "./chaosStream.ts"
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

const features = defaultFeatures(chaosPlan)
/** Energy: how far the event's load lies from 30. Enough of a model to be told apart from the baseline. */
export const modelThat = (
  score: (energies: Float32Array, count: number) => Effect.Effect<void, ScorerUnavailable> = () => Effect.void
): LoadedModel => {
  const load = features.findIndex((feature) => feature.kind === "value" && feature.field === "load")
  return {
    digest: `sha256:${"0".repeat(64)}`,
    manifest: {
      name: "flows",
      input: { kind: "stream", stream: "flows" },
      features,
      vocabularies: {},
      population: {},
      graphs: [
        {
          step: "fast",
          calibration: {
            energies: Array.from({ length: 100 }, (_, i) => i / 4),
            tailFrom: 25,
            tailScale: 2,
            tailShape: 0
          }
        }
      ]
    } as unknown as LoadedModel["manifest"],
    width: features.length,
    placement: "inline",
    steps: ["fast"],
    score: (_, rows, count, energies) =>
      Effect.zipRight(
        score(energies, count),
        Effect.sync(() => {
          for (let i = 0; i < count; i++) energies[i] = Math.abs(rows[i * features.length + load] - 30) / 2
        })
      ),
    explain: () => Effect.succeed([])
  }
}
