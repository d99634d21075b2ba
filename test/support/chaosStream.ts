// The stream of the chaos tests: forty devices, a rule, a window, repeats, conflicts, late events, and bad records.
import { Schema } from "effect"
import { StreamDefinition } from "../../src/schema/stream/StreamDefinition.ts"
import { planStream } from "../../src/schema/stream/StreamPlan.ts"
import { partitionOf } from "../../src/services/ingest/partition.ts"
import { seeded } from "./folding.ts"

export const PARTITIONS = 3
export const DEVICES = 40
export const T0 = 1_760_000_000_000

export const chaosStream = {
  stream: "flows",
  source: { topic: "flows", format: "json", partitions: PARTITIONS },
  identity: { device: "device", time: "ts", id: "id" },
  lateness: "20s",
  fields: {
    load: { type: "number" },
    bytes: { type: "number", scale: "log" },
    kind: { type: "category", size: 8 }
  },
  windows: [
    { name: "count10s", over: "10s", count: true },
    { name: "bytes1m", over: "1m", sum: "bytes" }
  ],
  baseline: { halfLife: "10m" },
  model: { name: "flows" },
  alerts: { budget: "1 in 500 events", quiet: "15s" },
  ladder: ["fast", "baseline", "rules"],
  rules: [
    { name: "tooHigh", when: "event.load > 500", then: "alert", severity: "high" },
    {
      name: "oddKind",
      when: 'event.kind == "odd" && window.count10s > 2',
      then: "escalate",
      severity: "critical"
    },
    { name: "service", when: 'event.kind == "service"', then: "allow" }
  ]
} as const

export const planOfChaos = (definition: unknown) =>
  planStream(Schema.decodeUnknownSync(StreamDefinition)(definition))
export const chaosPlan = planOfChaos(chaosStream)

export interface ChaosEvent {
  readonly id: string
  readonly partition: number
  readonly json: string
}

const utf8 = new TextEncoder()
export const partitionOfDevice = (device: string, partitions = PARTITIONS): number =>
  partitionOf(utf8.encode(device), partitions)

/** Records that no decoder may take, whatever the partition. */
export const badRecords: ReadonlyArray<Uint8Array> = [
  utf8.encode('{"device":"d1","ts":1760000000000,"load":'),
  utf8.encode('{"ts":1760000000000,"load":1}'),
  utf8.encode('{"device":"d1","ts":"yesterday"}'),
  utf8.encode("[1,2,3]"),
  Uint8Array.of(0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d),
  new Uint8Array(0)
]

/**
 * Events without end, the same for the same seed. Among a thousand about: 20 sent again as they were, 5 with the
 * id of another event, 10 late, 6 that break a rule or are far out of their device's normal.
 */
export const makeEvents = (
  seed: number,
  options: {
    readonly clean?: boolean
    readonly stepMillis?: number
    /** When event time begins, epoch ms. */
    readonly from?: number
    readonly devices?: number
    readonly partitions?: number
  } = {}
) => {
  const chance = seeded(seed)
  const { clean = false, devices = DEVICES, from = T0, partitions = PARTITIONS, stepMillis = 40 } = options
  const recent: Array<ChaosEvent> = []
  let n = 0
  const normal = () => Math.sqrt(-2 * Math.log(1 - chance())) * Math.cos(2 * Math.PI * chance())
  return (): ChaosEvent => {
    n++
    if (!clean && recent.length > 50 && chance() < 0.02) return recent[Math.floor(chance() * recent.length)]
    const d = Math.floor(chance() * devices)
    const device = `d${d}`
    const late = !clean && chance() < 0.01 ? 30_000 : Math.floor(chance() * 500)
    const kinds = ["idle", "run", "service"]
    const event = {
      device,
      ts: Math.floor(from + n * stepMillis) - late,
      id: `e-${seed}-${n}`,
      load: 10 + (d % DEVICES) + normal(),
      bytes: Math.round(1_000 * Math.exp(0.3 * normal())),
      kind: kinds[Math.floor(chance() * 2.05)]
    }
    const strange = clean ? 1 : chance()
    if (strange < 0.002) event.load += 30
    else if (strange < 0.004) event.load = 600
    else if (strange < 0.006) Object.assign(event, { kind: "odd", bytes: 90_000_000 })
    else if (strange < 0.011 && recent.length > 0) {
      // Another event of the same device, so that it meets the first in the same cell.
      const other = recent.find((one) => one.json.includes(`"device":"${device}"`))
      if (other !== undefined) event.id = other.id
    }
    const made = {
      id: event.id,
      partition: partitionOfDevice(device, partitions),
      json: JSON.stringify(event)
    }
    recent.push(made)
    if (recent.length > 400) recent.shift()
    return made
  }
}
