// What does an event cost between decoding and the alert, and a device in memory? Fold, decide and interner in
// microseconds an event (beside a bare hand-written loop over the same numbers), bytes per device at a million.
import { cpus } from "node:os"
import { Schema } from "effect"
import { makeEventColumns } from "../src/schema/event/Batch.ts"
import type { FeatureSpec } from "../src/schema/model/FeatureSpec.ts"
import { StreamDefinition } from "../src/schema/stream/StreamDefinition.ts"
import { planStream, type StreamPlan } from "../src/schema/stream/StreamPlan.ts"
import { judgeBaseline } from "../src/services/decide/budget.ts"
import { makeDecide, makeDecisions } from "../src/services/decide/decide.ts"
import { makeFold } from "../src/services/feature/features.ts"
import { defaultFeatures } from "../src/services/feature/rowLayout.ts"
import { makeFolded } from "../src/services/feature/traces.ts"
import { makeBaselineEnergy } from "../src/services/score/energy.ts"
import { makeCellState } from "../src/services/state/cellState.ts"
import { columnsBytes, ensureDevice, grow, makeDeviceColumns } from "../src/services/state/columns.ts"
import { makeInterner } from "../src/services/state/interner.ts"

const BATCH = 1_024
const ROUNDS = 400

const plan = (numbers: number, windows: number, categories: number): StreamPlan =>
  planStream(
    Schema.decodeUnknownSync(StreamDefinition)({
      stream: "flows",
      source: { topic: "flows" },
      identity: { device: "device", time: "ts" },
      fields: Object.fromEntries([
        ...Array.from({ length: numbers }, (_, k) => [`n${k}`, { type: "number", scale: "log" }]),
        ...Array.from({ length: categories }, (_, k) => [`c${k}`, { type: "category" }])
      ]),
      windows: Array.from({ length: windows }, (_, k) => ({ name: `w${k}`, over: "1m", count: true }))
    })
  )

/** A stream of numbers in [0, 1) from a seed (mulberry32). */
const random = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

const quantile = (values: Array<number>, q: number) =>
  values.sort((a, b) => a - b)[Math.floor(values.length * q)]

interface Row {
  readonly what: string
  readonly unit: string
  readonly median: number
  readonly best: number
}
const report: Array<Row> = []
const add = (what: string, unit: string, times: Array<number>) =>
  report.push({ what, unit, median: quantile(times, 0.5), best: quantile(times, 0.05) })

const stages = (name: string, plan: StreamPlan, features: ReadonlyArray<FeatureSpec>, devices: number) => {
  const N = plan.numbers.length
  const C = plan.categories.length
  const energy = makeBaselineEnergy(plan)
  const fold = makeFold({ plan, features, resolve: () => -1, population: undefined, energy })
  const decide = makeDecide(plan)
  const columns = makeDeviceColumns(plan)
  ensureDevice(columns, devices - 1)
  const cell = makeCellState(plan)
  const folded = makeFolded(plan, fold.width, energy, BATCH)
  const events = makeEventColumns(BATCH, N, C)
  const decisions = makeDecisions(BATCH)
  const hits = new Int16Array(BATCH).fill(-1)
  const next = random(7)
  const folding: Array<number> = []
  const deciding: Array<number> = []
  const bare: Array<number> = []
  const mean = new Float32Array(devices * N)
  const variance = new Float32Array(devices * N).fill(1)
  const out = new Float32Array(BATCH * N * 2)
  let time = 1.76e12
  let n = 0
  for (let round = 0; round < ROUNDS; round++) {
    events.count = BATCH
    for (let i = 0; i < BATCH; i++) {
      events.device[i] = (n++ * 7_919) % devices
      events.time[i] = time
      events.flags[i] = 0
      time += 3
      for (let k = 0; k < N; k++) events.numbers[i * N + k] = Math.exp(5 + next() + next() + next())
      for (let k = 0; k < C; k++) events.categories[i * C + k] = 1 + Math.floor(next() * next() * 20)
    }
    const start = performance.now()
    for (let i = 0; i < BATCH; i++) {
      const base = events.device[i] * N
      for (let k = 0; k < N; k++) {
        const value = Math.log1p(events.numbers[i * N + k])
        const off = value - mean[base + k]
        out[i * N * 2 + k] = value
        out[i * N * 2 + N + k] = off / Math.sqrt(variance[base + k] + 1e-6)
        mean[base + k] += 0.01 * off
        variance[base + k] = 0.99 * (variance[base + k] + 0.01 * off * off)
      }
    }
    const afterBare = performance.now()
    fold.fold(columns, cell, events, 0, BATCH, folded)
    const afterFold = performance.now()
    decide.decide(judgeBaseline, folded.energy, columns, cell, events, folded, hits, 0, BATCH, decisions)
    const afterDecide = performance.now()
    if (round < ROUNDS / 2) continue
    bare.push(((afterBare - start) * 1e3) / BATCH)
    folding.push(((afterFold - afterBare) * 1e3) / BATCH)
    deciding.push(((afterDecide - afterFold) * 1e3) / BATCH)
  }
  add(`${name}: bare loop`, "us/event", bare)
  add(`${name}: fold`, "us/event", folding)
  add(`${name}: decide`, "us/event", deciding)
}

const memory = (devices: number) => {
  const wide = plan(8, 1, 0)
  const columns = makeDeviceColumns(wide)
  const interner = makeInterner()
  const id = new Uint8Array(12)
  const encoder = new TextEncoder()
  const texts = Array.from({ length: 4_096 }, (_, k) => `dev-${String(k).padStart(4, "0")}`)
  let longest = 0
  const start = performance.now()
  for (let d = 0; d < devices; d++) {
    encoder.encodeInto(`${texts[d & 4_095]}${String(d >> 12).padStart(4, "0")}`, id)
    const row = interner.intern(id, 0, 12)
    const before = columns.capacity
    const at = performance.now()
    ensureDevice(columns, row)
    if (columns.capacity !== before) longest = Math.max(longest, performance.now() - at)
  }
  const millis = performance.now() - start
  const bytes = columnsBytes(columns) + interner.memoryBytes()
  add(`${devices} devices, 8 numbers, 1 window`, "B/device", [bytes / devices])
  grow(columns, columns.capacity + 1)
  add(`${devices} devices, just after growing`, "B/device", [
    (columnsBytes(columns) + interner.memoryBytes()) / columns.capacity
  ])
  add(`${devices} devices: intern a new one`, "us", [(millis * 1e3) / devices])
  add(`${devices} devices: longest pause by growing`, "ms", [longest])
}

const small = plan(7, 0, 0)
const sixteen = defaultFeatures(small).slice(0, 16)
stages("7 numbers, 16 features, 1,000 devices", small, sixteen, 1_000)
stages("7 numbers, 16 features, 100,000 devices", small, sixteen, 100_000)
const rich = plan(7, 2, 3)
stages("7 numbers, 2 windows, 3 categories, all features, 1,000 devices", rich, defaultFeatures(rich), 1_000)
memory(1_000_000)

const lines = report.map(
  (row) =>
    `${row.what.padEnd(80)} ${row.median.toFixed(3).padStart(9)} ${row.best.toFixed(3).padStart(9)} ${row.unit}`
)
process.stdout.write(
  `${cpus()[0]?.model ?? "unknown machine"}, Node ${process.versions.node}; median, best twentieth\n`
)
process.stdout.write(`${lines.join("\n")}\n${JSON.stringify(report)}\n`)
