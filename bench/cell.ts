// Question: what does a cell alone take per event (decode, take once, fold, score, decide), beside hand-written
// single-thread loops around JSON.parse with the same events, model and batch size? One keeps mean and variance of each
// number by device and makes rows of the same shape. The other makes the cell's very rows and decisions; how far they
// differ is in the detail. The cell does more than either: it checks types, times and the whole grammar, tells a
// repeated event from another one with its id, lists what a checkpoint has to store and keeps scores for inspection.

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
import { judgeModel } from "../src/services/decide/budget.ts"
import { readBundle } from "../src/services/model/ModelStore.ts"
import { Metrics } from "../src/services/observe/Metrics.ts"
import { isDone } from "../src/services/runtime/atOnce.ts"
import { defaultConfig } from "../src/services/runtime/Settings.ts"
import { OnnxScorer } from "../src/services/score/OnnxScorer.ts"
import { type LoadedModel, Scorer } from "../src/services/score/Scorer.ts"
import type { Checkpoint } from "../src/services/state/Checkpoint.ts"
import { makeCellState } from "../src/services/state/cellState.ts"
import { BATCH, type Pass, plainLoop, sameLoop } from "./cellByHand.ts"
import { bareDefinition, flowBatch, planOf, writeFlowsModel } from "./flows.ts"
import { median, type Question, round } from "./report.ts"

const EVENTS = 300_000
const DEVICES = 100_000
/** Events that both take at first, unmeasured. */
const WARM_PASSES = 1

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
      model: { current: () => loaded, check: () => Effect.void, use: () => Effect.void, leave: Effect.void },
      // Only a breaker that moves writes, and none does: a pass with a failure is refused below.
      store: {} as Checkpoint["Type"],
      metrics: yield* Metrics,
      settings: defaultConfig,
      over: undefined,
      wanted: undefined,
      moves: 0,
      doing: "scoring"
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
    return { pass, rows: () => core.rows }
  })

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

/** Largest difference of the rows, in units of their size but at least 1. */
const largestDifference = (a: Float32Array, b: Float32Array): number =>
  a
    .subarray(0, b.length)
    .reduce((most, value, at) => Math.max(most, Math.abs(value - b[at]) / Math.max(1, Math.abs(b[at]))), 0)

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
    const { budget } = planOf(bareDefinition(true))
    const threshold = judgeModel(bundle.manifest.graphs[0].calibration, budget).threshold(
      makeCellState(planOf(bareDefinition(false))).energies
    )
    const cells = {
      once: yield* cellPass(loaded, batches, true),
      any: yield* cellPass(loaded, batches, false)
    }
    const same = {
      once: sameLoop(session, batches, true, threshold),
      any: sameLoop(session, batches, false, threshold)
    }
    const passes: Readonly<Record<string, Pass>> = {
      cell: cells.once.pass,
      plain: plainLoop(session, batches, true).pass,
      same: same.once.pass,
      cellWithoutIds: cells.any.pass,
      plainWithoutIds: plainLoop(session, batches, false).pass,
      sameWithoutIds: same.any.pass
    }
    const times: Record<string, Array<Taken>> = {}
    for (const name of Object.keys(passes)) times[name] = []
    for (let turn = -WARM_PASSES; turn < rounds; turn++) {
      for (const [name, pass] of Object.entries(passes)) {
        const taken = yield* Effect.promise(() => measurePass(pass, whole))
        if (turn >= 0) times[name].push(taken)
      }
    }
    return { times, apart: largestDifference(cells.any.rows(), same.any.rows) }
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
  const { times, apart } = await Effect.runPromise(measure(rounds))
  const row = (what: string, limitIs: string, ownName: string, handName: string, rowsDiffer?: number) => {
    const own = times[ownName]
    const hand = times[handName]
    // Neighbours in time share whatever else the machine was doing: ratios of the rounds, then their median.
    const ratio = median(own.map((taken, turn) => hand[turn].wall / taken.wall))
    return {
      question: "cell",
      what,
      figure: round(median(own.map((taken) => taken.wall))),
      unit: "µs/event",
      limit: round(median(hand.map((taken) => taken.wall))),
      limitIs,
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
        batch: BATCH,
        ...(rowsDiffer === undefined ? {} : { rowsDiffer })
      }
    }
  }
  const plain = "JSON.parse, mean and variance"
  const same = "JSON.parse, the same decisions"
  return [
    row("cell alone, each event once by id", plain, "cell", "plain"),
    row("cell alone, no ids declared", plain, "cellWithoutIds", "plainWithoutIds"),
    row("cell alone, each event once by id", same, "cell", "same", apart),
    row("cell alone, no ids declared", same, "cellWithoutIds", "sameWithoutIds", apart)
  ]
}
