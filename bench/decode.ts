// How long decoding one event takes, beside JSON.parse and a map look-up of the same bytes in the same run.
// Prints microseconds per event, the best of several passes over 400,000 events in one buffer.
import os from "node:os"
import { makeEventColumns, type RecordBatch } from "../src/schema/event/Batch.ts"
import { makeRejects } from "../src/schema/event/DeadLetter.ts"
import type { StreamPlan } from "../src/schema/stream/StreamPlan.ts"
import { makeDecoder } from "../src/services/ingest/decode.ts"
import { defaultDecodeLimits } from "../src/services/ingest/limits.ts"
import { makeInterner } from "../src/services/state/interner.ts"

const EVENTS = 400_000
const DEVICES = 100_000
const CAPACITY = 1_024
const PASSES = 7

const names = ["bytesIn", "bytesOut", "packetsIn", "packetsOut", "duration", "failed", "temp"]

const plan: StreamPlan = {
  stream: "flows",
  format: "json",
  device: ["device"],
  time: ["ts"],
  timeScale: 1,
  id: process.argv.includes("--no-id") ? undefined : ["id"],
  latenessMillis: 60_000,
  aheadMillis: 300_000,
  numbers: names.map((name) => ({ name, path: [name], log: true, boolean: false, required: false })),
  categories: [],
  windows: [],
  signals: [...names, "gap"],
  halfLifeMillis: 86_400_000,
  halfLifeEvents: 1,
  lasting: false,
  lags: 0,
  gap: true,
  silence: false,
  memoryWidth: 0,
  budget: 1e-4,
  quietMillis: 600_000,
  ladder: ["rules"],
  rules: []
}

/** Event `i`: about 270 bytes, seven numbers, five keys that no stream declares. */
const eventText = (i: number): string =>
  JSON.stringify({
    id: `e${1_000_000 + i}-${(i * 2_654_435_761) >>> 0}`,
    device: `dev-${(i * 7_919) % DEVICES}`,
    region: "eu-west-1",
    ts: 1_760_000_000_000 + i,
    user: `user-${i % 5_000}`,
    proto: "tcp",
    service: "checkout-gateway",
    port: 443,
    bytesIn: (i * 7_919) % 65_536,
    bytesOut: (i * 104_729) % 65_536,
    packetsIn: i % 100,
    packetsOut: i % 77,
    duration: (i % 1_000) / 8,
    failed: i % 3,
    temp: 20 + (i % 100) / 10
  })

const makeBatch = (): RecordBatch => {
  const starts = new Int32Array(EVENTS)
  const ends = new Int32Array(EVENTS)
  const bytes = Buffer.allocUnsafe(EVENTS * 320)
  let size = 0
  for (let i = 0; i < EVENTS; i++) {
    starts[i] = size
    size += bytes.write(eventText(i), size, "utf8")
    ends[i] = size
  }
  return {
    count: EVENTS,
    offsets: Float64Array.from(starts, (_, i) => i),
    timestamps: new Float64Array(EVENTS).fill(1_760_000_500_000),
    bytes: new Uint8Array(bytes.buffer, bytes.byteOffset, size),
    starts,
    ends,
    headers: undefined,
    unreadable: [],
    nextOffset: EVENTS,
    endOffset: EVENTS
  }
}

const batch = makeBatch()
const columns = makeEventColumns(CAPACITY, plan.numbers.length, 0)
const rejects = makeRejects()

/** Best time of a pass, microseconds per event. */
const best = (pass: () => void): number => {
  let lowest = Number.POSITIVE_INFINITY
  for (let i = 0; i < PASSES; i++) {
    const from = performance.now()
    pass()
    lowest = Math.min(lowest, performance.now() - from)
  }
  return (lowest * 1_000) / EVENTS
}

const decodeAll = (strictOnly: boolean) => {
  const interners = { devices: makeInterner(), categories: [] }
  const decoder = makeDecoder(plan, interners, defaultDecodeLimits, strictOnly)
  return () => {
    for (let at = 0; at < EVENTS; ) {
      columns.count = 0
      at = decoder.decode(batch, at, EVENTS, columns, rejects)
    }
    if (rejects.count > 0) throw new Error(`refused: ${rejects.detail[0]}`)
  }
}

const parseAll = () => {
  const text = Buffer.from(batch.bytes.buffer, batch.bytes.byteOffset, batch.bytes.length)
  const devices = new Map<string, number>()
  return () => {
    for (let i = 0; i < EVENTS; i++) {
      const row = i % CAPACITY
      const event = JSON.parse(text.toString("utf8", batch.starts[i], batch.ends[i]))
      let device = devices.get(event.device)
      if (device === undefined) {
        device = devices.size
        devices.set(event.device, device)
      }
      columns.device[row] = device
      columns.time[row] = event.ts
      for (let f = 0; f < names.length; f++) columns.numbers[row * names.length + f] = event[names[f]]
    }
  }
}

const figures = {
  node: process.version,
  machine: `${os.cpus().length} × ${os.cpus()[0]?.model ?? "unknown"}`,
  events: EVENTS,
  bytesPerEvent: Math.round(batch.bytes.length / EVENTS),
  scannerMicros: best(decodeAll(false)),
  strictMicros: best(decodeAll(true)),
  jsonParseMicros: best(parseAll())
}

process.stdout.write(
  [
    `decode, ${figures.bytesPerEvent}-byte events, 7 numbers, device, time${plan.id ? ", id" : ""}; ${figures.machine}, ${figures.node}`,
    `  scanner     ${figures.scannerMicros.toFixed(3)} us/event`,
    `  strict      ${figures.strictMicros.toFixed(3)} us/event`,
    `  JSON.parse  ${figures.jsonParseMicros.toFixed(3)} us/event (${(figures.jsonParseMicros / figures.scannerMicros).toFixed(2)} × the scanner)`,
    JSON.stringify(figures),
    ""
  ].join("\n")
)
