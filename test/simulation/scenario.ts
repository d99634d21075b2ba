// What is simulated: one partition of a small stream in which much happens, its events, commands and model.
import { Schema } from "effect"
import type { CellChange } from "../../src/schema/protocol/CellProtocol.ts"
import { StreamDefinition } from "../../src/schema/stream/StreamDefinition.ts"
import { planStream } from "../../src/schema/stream/StreamPlan.ts"
import { defaultConfig, type RunnerConfig } from "../../src/services/runtime/Settings.ts"
import type { ServedStream } from "../../src/services/runtime/Streams.ts"
import { loadModelOf } from "../support/loadModel.ts"
import type { LogEntry } from "./memoryLog.ts"

export const T0 = 1_760_000_000_000
export const TOPIC = "flows"
export const KEY = { stream: "flows", partition: 0 }

const definition = Schema.decodeUnknownSync(StreamDefinition)({
  stream: KEY.stream,
  source: { topic: TOPIC, format: "json", partitions: 1 },
  identity: { device: "device", time: "ts", id: "id" },
  lateness: "2s",
  fields: { load: { type: "number" }, kind: { type: "category", size: 24 } },
  windows: [{ name: "count1s", over: "1s", count: true }],
  baseline: { halfLife: "10m" },
  model: { name: "flows" },
  alerts: { budget: "1 in 20 events", quiet: "300ms", silence: true },
  ladder: ["fast", "baseline", "rules"],
  rules: [
    { name: "tooHigh", when: "event.load > 500", then: "alert", severity: "high" },
    {
      name: "crowded",
      when: 'event.kind == "odd" && window.count1s > 2',
      then: "escalate",
      severity: "critical"
    }
  ]
})

export const plan = planStream(definition)
export const served: ServedStream = { definition, plan, topic: TOPIC, partitions: 1 }

export const settings: RunnerConfig = {
  ...defaultConfig,
  cell: {
    ...defaultConfig.cell,
    batchEventsMax: 5,
    checkpointEvery: 60,
    checkpointEventsMax: 12,
    dedupeEventsMax: 16,
    idleWait: 20,
    restartDelayMin: 5,
    restartDelayMax: 40
  }
}

export const model = loadModelOf(plan)

const DEVICES = 5
const utf8 = new TextEncoder()

/** Entries of the log without end: events, repeats, conflicts, late ones, bad records, gaps, unreadable stretches. */
export const makeEntries = (chance: () => number) => {
  const sent: Array<string> = []
  let n = 0
  const below = (count: number) => Math.floor(chance() * count)
  const event = () => {
    n++
    // Ever new ones, so that what is learnt late matters, too.
    const kind = ["odd", "odd", "run", `new-${Math.floor(n / 6)}`][below(4)]
    const load = chance() < 0.1 ? 600 + below(9) : chance() < 0.1 ? 90 + below(40) : 20 + below(20)
    const id = chance() < 0.04 && n > 3 ? `e${n - 1 - below(3)}` : `e${n}`
    const late = chance() < 0.05 ? 5_000 : below(60)
    return JSON.stringify({ device: `d${below(DEVICES)}`, ts: T0 + n * 50 - late, id, load, kind })
  }
  const record = (text: string): LogEntry => ({
    value: utf8.encode(text),
    timestamp: T0 + n * 50,
    headers: chance() < 0.05 ? { note: `n${n}` } : undefined
  })
  /** At most `most` entries that belong together. */
  return (firstOffset: number): ReadonlyArray<LogEntry> => {
    const fate = below(100)
    if (fate < 3) return ["gap"]
    if (fate < 5) {
      const length = 1 + below(3)
      const stretch = {
        firstOffset,
        lastOffset: firstOffset + length - 1,
        reason: "undecodable-batch" as const,
        detail: "a codec that nobody knows",
        bytes: Uint8Array.of(n & 255)
      }
      return [stretch, ...Array.from({ length: length - 1 }, () => "gap" as const)]
    }
    if (fate < 9) return [record('{"device":"d1","ts":')]
    if (fate < 11) return [{ value: null, timestamp: T0, headers: undefined }]
    // A producer that heard no answer sends again.
    const text =
      fate < 18 && sent.length > 0 ? sent[sent.length - 1 - below(Math.min(6, sent.length))] : event()
    sent.push(text)
    return [record(text)]
  }
}

export const makeChanges = (chance: () => number) => {
  const below = (count: number) => Math.floor(chance() * count)
  return (): CellChange => {
    const device = `d${below(DEVICES)}`
    switch (below(6)) {
      case 0:
        return { _tag: "Quarantine", device }
      case 1:
        return { _tag: "Release", device }
      case 2:
        return { _tag: "Override", device, mute: true, shift: 0, until: T0 + 10_000_000 }
      case 3:
        return { _tag: "ClearOverride", device }
      default:
        return { _tag: "UseModel", digest: below(3) === 0 ? null : model.digest }
    }
  }
}
