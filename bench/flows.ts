// The stream that benches score: flow events of about 270 bytes with seven numbers, and a model of 16 features,
// an MLP 16-64-64-1 with random weights, calibrated on the stream's own rows.
import { Schema } from "effect"
import * as ort from "onnxruntime-node"
import { makeCellCore } from "../src/actors/cell/cellCore.ts"
import type { RecordBatch } from "../src/schema/event/Batch.ts"
import type { FeatureSpec } from "../src/schema/model/FeatureSpec.ts"
import { StreamDefinition } from "../src/schema/stream/StreamDefinition.ts"
import { planStream } from "../src/schema/stream/StreamPlan.ts"
import { writeBundle } from "../src/services/train/bundle.ts"
import { fitTail } from "../src/services/train/calibrate.ts"
import { GraphBuilder } from "../src/services/train/graph.ts"
import { makeRandom } from "../src/services/train/random.ts"

/** Numeric fields, in the order of the model's columns. */
export const numbers = [
  "bytesIn",
  "bytesOut",
  "packetsIn",
  "packetsOut",
  "duration",
  "failed",
  "temp"
] as const

export const WIDTH = 16
const HIDDEN = 64

/** The stream's definition as it is written in YAML (JSON is YAML). One event in 500 of FlowProducer breaks the rule. */
export const flowsDefinition = (topic: string, partitions: number) => ({
  stream: "flows",
  source: { topic, format: "json", partitions },
  identity: { device: "device", time: "ts", id: "id" },
  fields: Object.fromEntries([
    ...numbers.map((name) => [name, { type: "number", scale: "log" }]),
    ["port", { type: "number" }]
  ]),
  model: { name: "flows" },
  alerts: { budget: "1 in 1000000 events", quiet: "10m" },
  rules: [{ name: "telnet", when: "event.port == 23", then: "alert", severity: "high" }]
})

/** As above with the seven numbers alone and no rule: what the hand-written loop does too. */
export const bareDefinition = (id: boolean) => ({
  stream: "flows",
  source: { topic: "flows", format: "json" },
  identity: { device: "device", time: "ts", ...(id ? { id: "id" } : {}) },
  fields: Object.fromEntries(numbers.map((name) => [name, { type: "number", scale: "log" }])),
  alerts: { budget: "1 in 1000000 events" }
})

export const planOf = (definition: unknown) =>
  planStream(Schema.decodeUnknownSync(StreamDefinition)(definition))

export const features: ReadonlyArray<FeatureSpec> = [
  ...numbers.map((field) => ({ kind: "value" as const, field })),
  ...numbers.map((signal) => ({ kind: "residual" as const, signal })),
  { kind: "gap" },
  { kind: "count" }
]

/** Event `i`, as FlowProducer writes it. */
export const flowText = (i: number, devices: number, time: number): string =>
  JSON.stringify({
    id: `e${1_000_000 + i}-${(i * 2_654_435_761) >>> 0}`,
    device: `dev-${(i * 7_919) % devices}`,
    region: "eu-west-1",
    ts: time,
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

/** Event `i` of a fleet whose devices have habits, and numbers that go together: drawn, so that fresh ones are like known ones. */
export const drawnFlowText = (i: number, devices: number, time: number): string => {
  const device = (i * 7_919) % devices
  const habit = makeRandom(device, 41)
  const random = makeRandom(i, 42)
  const size = 8 + habit.normal()
  const volume = size + random.normal()
  const count = (log: number) => Math.max(0, Math.round(Math.exp(log)))
  return JSON.stringify({
    id: `e${1_000_000 + i}-${(i * 2_654_435_761) >>> 0}`,
    device: `dev-${device}`,
    region: "eu-west-1",
    ts: time,
    user: `user-${i % 5_000}`,
    proto: "tcp",
    service: "checkout-gateway",
    port: 443,
    bytesIn: count(volume),
    bytesOut: count(0.7 * volume + habit.normal() + 0.5 * random.normal()),
    packetsIn: count(volume - 5 + 0.2 * random.normal()),
    packetsOut: count(0.7 * volume - 4 + 0.3 * random.normal()),
    duration: count(3 + 0.3 * volume + random.normal()) / 8,
    failed: random.uniform() < 0.02 ? 1 : 0,
    temp: Math.round(10 * (30 + 5 * habit.normal() + 2 * random.normal())) / 10
  })
}

/** `count` events as one batch of one partition, from offset `first` on. */
export const flowBatch = (
  count: number,
  devices: number,
  first = 0,
  textOf: typeof flowText = flowText
): RecordBatch => {
  const starts = new Int32Array(count)
  const ends = new Int32Array(count)
  const bytes = Buffer.allocUnsafe(count * 320)
  let size = 0
  for (let i = 0; i < count; i++) {
    starts[i] = size
    size += bytes.write(textOf(first + i, devices, 1_760_000_000_000 + first + i), size, "utf8")
    ends[i] = size
  }
  return {
    count,
    offsets: Float64Array.from(starts, (_, i) => first + i),
    timestamps: Float64Array.from(starts, (_, i) => 1_760_000_000_000 + first + i),
    bytes: new Uint8Array(bytes.buffer, bytes.byteOffset, size),
    starts,
    ends,
    headers: undefined,
    unreadable: [],
    nextOffset: first + count,
    endOffset: first + count
  }
}

/** The serving graph. Inputs are scaled in the first layer's weights, so that no feature drowns the others. */
const mlp = (): Uint8Array => {
  const random = makeRandom(16)
  const graph = new GraphBuilder()
  const scale = features.map((feature) =>
    feature.kind === "count" ? 1e-3 : feature.kind === "residual" ? 0.2 : 0.1
  )
  const weights = (rows: number, columns: number, of: (row: number) => number) =>
    Float32Array.from(
      { length: rows * columns },
      (_, at) => (random.normal() / Math.sqrt(rows)) * of(Math.floor(at / columns))
    )
  const zero = graph.constant([0], [1])
  let value = graph.input("rows", ["n", WIDTH])
  for (const [inputs, outputs] of [
    [WIDTH, HIDDEN],
    [HIDDEN, HIDDEN],
    [HIDDEN, 1]
  ]) {
    const first = inputs === WIDTH
    const matrix = graph.constant(
      weights(inputs, outputs, (row) => (first ? scale[row] : 1)),
      [inputs, outputs]
    )
    const bias = graph.constant(
      weights(1, outputs, () => 0.1),
      [outputs]
    )
    const linear = graph.binary("Add", graph.matMul(value, matrix), bias)
    value = outputs === 1 ? linear : graph.binary("Max", linear, zero)
  }
  const energy = graph.output("energy", graph.reshape(value, [-1], ["n"]))
  return graph.serialize("flows", [energy])
}

/** Trains nothing: writes the bundle with the graph above, calibrated on 40,000 events; answers its digest. */
export const writeFlowsModel = async (folder: string): Promise<string> => {
  const scoreGraph = mlp()
  const session = await ort.InferenceSession.create(scoreGraph, { intraOpNumThreads: 1 })
  const batch = flowBatch(40_000, 1_000)
  const core = makeCellCore(planOf(bareDefinition(false)), {
    batchEventsMax: 1_000,
    eventBytesMax: 65_536,
    depthMax: 32,
    dedupeEventsMax: 0
  })
  core.useFeatures(features, undefined)
  const energies: Array<number> = []
  let golden: { rows: Array<Array<number>>; energies: Array<number> } = { rows: [], energies: [] }
  for (let from = 0; from < batch.count; ) {
    from = core.take(batch, from, batch.count)
    const answer = await session.run({
      rows: new ort.Tensor("float32", core.rows.slice(0, core.count * WIDTH), [core.count, WIDTH])
    })
    const found = answer["energy"].data as Float32Array
    if (from > batch.count / 2) energies.push(...found)
    golden = {
      rows: Array.from({ length: 4 }, (_, row) => [...core.featureRow(row)]),
      energies: [...found.subarray(0, 4)]
    }
  }
  await session.release()
  return writeBundle(folder, {
    name: "flows",
    createdAt: "2026-01-01T00:00:00Z",
    seconds: 0,
    seed: 16,
    input: { kind: "stream", stream: "flows" },
    features,
    vocabularies: {},
    population: {},
    rows: batch.count,
    skipped: 0,
    trained: {
      graphs: [
        {
          step: "fast",
          score: scoreGraph,
          explain: undefined,
          calibration: fitTail(Float64Array.from(energies)),
          costPerRow: WIDTH * HIDDEN + HIDDEN * HIDDEN + HIDDEN
        }
      ],
      golden,
      heldBack: energies.length,
      trimmed: 0,
      prototypes: 0
    }
  })
}
