// Question: what does a cell alone take per event (decode, take once, fold, score, decide), beside a hand-written
// single-thread loop around JSON.parse with the same events, features, model and batch size?

import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import * as ort from "onnxruntime-node"
import { makeAskers } from "../src/actors/cell/askers.ts"
import { processSlice } from "../src/actors/cell/CellSlice.ts"
import { makeCellCore } from "../src/actors/cell/cellCore.ts"
import type { Emitter } from "../src/actors/cell/Emitter.ts"
import { makeRecentScores } from "../src/actors/cell/recentScores.ts"
import type { SliceContext } from "../src/actors/cell/SliceContext.ts"
import type { RecordBatch } from "../src/schema/event/Batch.ts"
import { readBundle } from "../src/services/model/ModelStore.ts"
import { Metrics } from "../src/services/observe/Metrics.ts"
import { isDone } from "../src/services/runtime/atOnce.ts"
import { defaultConfig } from "../src/services/runtime/Settings.ts"
import { OnnxScorer } from "../src/services/score/OnnxScorer.ts"
import { type LoadedModel, Scorer } from "../src/services/score/Scorer.ts"
import type { Checkpoint } from "../src/services/state/Checkpoint.ts"
import { bareDefinition, flowBatch, numbers, planOf, WIDTH, writeFlowsModel } from "./flows.ts"
import { median, type Question, round } from "./report.ts"

const EVENTS = 300_000
const DEVICES = 100_000
const BATCH = defaultConfig.cell.batchEventsMax
/** Events that both take at first, unmeasured. */
const WARM_PASSES = 1

/** Answers events that alert, of one pass over the batch. */
type Pass = () => Promise<number>

const noEmitter: Emitter = {
  offer: () => undefined,
  room: () => Effect.void,
  flushed: Effect.void,
  broken: Effect.never,
  stuck: () => undefined
}

/** The real cell on slices of the batch, from its state at the end of the pass before; ids repeat in none. */
const cellPass = (loaded: LoadedModel, batches: ReadonlyArray<RecordBatch>, id: boolean) =>
  Effect.gen(function* () {
    const plan = planOf(bareDefinition(id))
    const core = makeCellCore(plan, {
      batchEventsMax: BATCH,
      eventBytesMax: defaultConfig.cell.eventBytesMax,
      depthMax: defaultConfig.cell.depthMax,
      dedupeEventsMax: defaultConfig.cell.dedupeEventsMax
    })
    core.useModel(loaded.manifest)
    core.modelDigest = loaded.digest
    const context: SliceContext = {
      key: { stream: "flows", partition: 0 },
      topic: "flows",
      epoch: 1,
      core,
      commands: [],
      replayUntil: 0,
      emitter: noEmitter,
      host: {
        counters: {
          scored: 0,
          secondStage: 0,
          alerts: 0,
          suppressed: 0,
          deadLetters: 0,
          duplicates: 0,
          late: 0,
          ahead: 0
        },
        askers: makeAskers(),
        recent: makeRecentScores()
      },
      model: { current: () => loaded, check: () => Effect.void, use: () => Effect.void },
      // Only a breaker that moves writes, and none does: a pass with a failure is refused below.
      store: {} as Checkpoint["Type"],
      metrics: yield* Metrics,
      settings: defaultConfig
    }
    let turn = 0
    const pass: Pass = () =>
      Effect.runPromise(
        Effect.gen(function* () {
          const batch = batches[turn++ % batches.length]
          const before = context.host.counters.scored
          let from = 0
          while (from < batch.count) {
            const sliced = processSlice(context, batch, from, Math.min(batch.count, from + BATCH))
            from = isDone(sliced) ? sliced.value : yield* sliced
          }
          const scored = context.host.counters.scored - before
          if (scored !== batch.count) throw new Error(`${batch.count - scored} events were not scored`)
          return context.host.counters.alerts
        })
      )
    return pass
  })

/** What one writes by hand: an object per event, a map of devices, the same rows to the same model. */
const handPass = (
  session: ort.InferenceSession,
  batches: ReadonlyArray<RecordBatch>,
  once: boolean,
  threshold: number
) => {
  const ALPHA = 0.01
  const IDS = defaultConfig.cell.dedupeEventsMax
  const devices = new Map<
    string,
    { n: number; last: number; readonly mean: Float64Array; readonly variance: Float64Array }
  >()
  const seen = new Set<string>()
  const ring = new Array<string>(IDS)
  let written = 0
  const rows = new Float32Array(BATCH * WIDTH)
  let turn = 0
  const pass: Pass = async () => {
    const batch = batches[turn++ % batches.length]
    const bytes = Buffer.from(batch.bytes.buffer, batch.bytes.byteOffset, batch.bytes.length)
    let fill = 0
    let alerts = 0
    for (let r = 0; r < batch.count; r++) {
      const event = JSON.parse(bytes.toString("utf8", batch.starts[r], batch.ends[r]))
      if (once) {
        if (seen.has(event.id)) continue
        seen.add(event.id)
        const place = written++ % IDS
        if (ring[place] !== undefined) seen.delete(ring[place])
        ring[place] = event.id
      }
      let device = devices.get(event.device)
      if (device === undefined) {
        device = {
          n: 0,
          last: event.ts,
          mean: new Float64Array(numbers.length),
          variance: new Float64Array(numbers.length)
        }
        devices.set(event.device, device)
      }
      const at = fill * WIDTH
      for (let k = 0; k < numbers.length; k++) {
        const value = Math.log1p(Math.abs(event[numbers[k]]))
        const off = value - device.mean[k]
        const residual = off / Math.sqrt(device.variance[k] + 1e-6)
        rows[at + k] = value
        rows[at + numbers.length + k] = residual > 20 ? 20 : residual < -20 ? -20 : residual
        device.mean[k] += ALPHA * off
        device.variance[k] = (1 - ALPHA) * (device.variance[k] + ALPHA * off * off)
      }
      rows[at + 14] = Math.log1p(Math.max(0, event.ts - device.last) / 1_000)
      rows[at + 15] = device.n < 1_000 ? device.n : 1_000
      device.last = event.ts
      device.n++
      if (++fill === BATCH) {
        const answer = await session.run({ rows: new ort.Tensor("float32", rows, [BATCH, WIDTH]) })
        const energies = answer["energy"].data as Float32Array
        for (let i = 0; i < BATCH; i++) if (energies[i] > threshold) alerts++
        fill = 0
      }
    }
    return alerts
  }
  return pass
}

interface Taken {
  /** Microseconds per event. */
  readonly wall: number
  /** CPU time of all threads, the collector's too; hardly moved by what else runs on the machine. */
  readonly cpu: number
}

const measurePass = async (pass: Pass, events: number): Promise<Taken> => {
  const cpu = process.cpuUsage()
  const from = performance.now()
  await pass()
  const wall = ((performance.now() - from) * 1_000) / events
  const used = process.cpuUsage(cpu)
  return { wall, cpu: (used.user + used.system) / events }
}

const measure = (rounds: number) =>
  Effect.gen(function* () {
    const folder = mkdtempSync(join(tmpdir(), "groundstate-bench-"))
    yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
    yield* Effect.promise(() => writeFlowsModel(join(folder, "flows")))
    const bundle = yield* readBundle(join(folder, "flows"))
    const scorer = yield* Scorer
    const loaded = yield* scorer.load(bundle)
    const graph = bundle.files.get(bundle.manifest.graphs[0].score) as Uint8Array
    const session = yield* Effect.promise(() =>
      ort.InferenceSession.create(graph, { intraOpNumThreads: 1, interOpNumThreads: 1 })
    )
    // Three stretches of the stream in turn: ids differ within the memory of ids.
    const whole = Math.floor(EVENTS / BATCH) * BATCH
    const batches = [0, 1, 2].map((n) => flowBatch(whole, DEVICES, n * whole))
    const passes: Readonly<Record<string, Pass>> = {
      cell: yield* cellPass(loaded, batches, true),
      cellWithoutIds: yield* cellPass(loaded, batches, false),
      hand: handPass(session, batches, true, 1e9),
      handWithoutIds: handPass(session, batches, false, 1e9)
    }
    const times: Record<string, Array<Taken>> = {}
    for (const name of Object.keys(passes)) times[name] = []
    for (let turn = -WARM_PASSES; turn < rounds; turn++) {
      for (const [name, pass] of Object.entries(passes)) {
        const taken = yield* Effect.promise(() => measurePass(pass, whole))
        if (turn >= 0) times[name].push(taken)
      }
    }
    return times
  }).pipe(
    Effect.scoped,
    Effect.provide([
      OnnxScorer.layerWith({
        inlineCostMax: defaultConfig.score.inlineCostMax,
        batchRowsMax: BATCH,
        workerTimeoutMillis: 10_000
      }),
      Metrics.layer
    ])
  )

const GOAL = 3

export const cell: Question = async ({ rounds }) => {
  const times = await Effect.runPromise(measure(rounds))
  const row = (what: string, own: ReadonlyArray<Taken>, hand: ReadonlyArray<Taken>) => {
    // Neighbours in time share whatever else the machine was doing: ratios of the rounds, then their median.
    const ratio = median(own.map((taken, turn) => hand[turn].wall / taken.wall))
    return {
      question: "cell",
      what,
      figure: round(median(own.map((taken) => taken.wall))),
      unit: "µs/event",
      limit: round(median(hand.map((taken) => taken.wall))),
      limitIs: "JSON.parse loop",
      ratio: round(ratio),
      goal: `≥ ${GOAL} × as fast`,
      met: ratio >= GOAL,
      detail: {
        cpuMicros: round(median(own.map((taken) => taken.cpu))),
        limitCpuMicros: round(median(hand.map((taken) => taken.cpu))),
        cpuRatio: round(median(own.map((taken, turn) => hand[turn].cpu / taken.cpu))),
        wallRounds: own.map((taken) => round(taken.wall)),
        limitWallRounds: hand.map((taken) => round(taken.wall)),
        devices: DEVICES,
        batch: BATCH
      }
    }
  }
  return [
    row("cell alone, each event once by id", times.cell, times.hand),
    row("cell alone, no ids declared", times.cellWithoutIds, times.handWithoutIds)
  ]
}
