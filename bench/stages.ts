// Question: what do two stages lose in quality and gain in speed, beside the deep energy on every row and the fast one
// on every row? Labelled tables through `train` and `evaluate`; flow events through the cell.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { makeCellCore } from "../src/actors/cell/cellCore.ts"
import { scoreByStep } from "../src/actors/cell/Stages.ts"
import type { RecordBatch } from "../src/schema/event/Batch.ts"
import { defaultFeatures } from "../src/services/feature/rowLayout.ts"
import { readBundle } from "../src/services/model/ModelStore.ts"
import { defaultConfig } from "../src/services/runtime/Settings.ts"
import { OnnxScorer } from "../src/services/score/OnnxScorer.ts"
import { type LoadedModel, Scorer } from "../src/services/score/Scorer.ts"
import { trainStream } from "../src/services/train/trainStream.ts"
import { adbenchFiles, adbenchSet, LABEL, type LabelledSet, nslSet } from "./detectionSets.ts"
import { bareDefinition, drawnFlowText, flowBatch, planOf } from "./flows.ts"
import { type Evaluated, groundstate, say } from "./program.ts"
import { median, type Question, type Row, round } from "./report.ts"

/** Files of the collection that differ in size, width and kind; all seventeen are `npm run bench:detection`'s. */
const SETS = ["annthyroid", "fault", "mnist", "pendigits", "PageBlocks", "satellite", "SpamBase", "Waveform"]
const SEED = 11
const STEPS = ["fast", "two", "deep"] as const
type Way = (typeof STEPS)[number]

function* sets(): Generator<LabelledSet> {
  for (const file of adbenchFiles() ?? []) {
    if (SETS.some((name) => file.includes(name))) yield adbenchSet(file, SEED, { shuffled: false, dirty: 0 })
  }
  const nsl = nslSet()
  if (nsl !== undefined) yield nsl
}

type Judged = Readonly<
  Record<Way, Evaluated & { readonly secondStage: number | null; readonly rows: number }>
>

const judgeSet = async (set: LabelledSet, folder: string): Promise<Judged> => {
  const [train, test, model] = ["train.csv", "test.csv", "model"].map((name) => join(folder, name))
  writeFileSync(train, set.train)
  writeFileSync(test, set.test)
  await groundstate("train", "--input", train, "--output", model, "--seed", String(SEED), "-o", "json")
  const found: Partial<Record<Way, Judged[Way]>> = {}
  for (const step of STEPS) {
    found[step] = await groundstate<Judged[Way]>(
      ...["evaluate", "--model", model, "--input", test, "--label", LABEL, "--step", step, "-o", "json"]
    )
  }
  return found as Judged
}

const mean = (values: ReadonlyArray<number>) => values.reduce((sum, value) => sum + value, 0) / values.length

const quality = async (folder: string): Promise<ReadonlyArray<Row>> => {
  const all: Array<readonly [string, Judged]> = []
  for (const set of sets()) {
    const judged = await judgeSet(set, folder)
    say(
      `${set.name.padEnd(14)}${STEPS.map((step) => {
        const { rocAuc, averagePrecision, truePositiveRateAt1Percent, falseAlarmRate } = judged[step]
        return `  ${step} ${[rocAuc, averagePrecision, truePositiveRateAt1Percent, falseAlarmRate].map((value) => (100 * value).toFixed(1)).join(" ")}`
      }).join("")}`
    )
    all.push([set.name, judged])
  }
  if (all.length === 0) {
    say("quality skipped: ../shared/data is absent")
    return []
  }
  const figures = {
    "ROC-AUC": "rocAuc",
    "average precision": "averagePrecision",
    "caught at 1 % of normal rows": "truePositiveRateAt1Percent",
    "normal rows at p ≤ 0.01": "falseAlarmRate"
  } as const
  return Object.entries(figures).map(([what, key]) => {
    const of = (step: Way) => 100 * mean(all.map(([, judged]) => judged[step][key]))
    return {
      question: "stages",
      what: `tables in two stages, ${what}`,
      figure: round(of("two")),
      unit: "%",
      limit: round(of("deep")),
      limitIs: "deep on every row",
      ratio: round(of("two") / of("deep")),
      detail: {
        fast: round(of("fast")),
        passed: round(100 * mean(all.map(([, { two }]) => (two.secondStage ?? 0) / two.rows))),
        sets: Object.fromEntries(
          all.map(([name, judged]) => [name, STEPS.map((step) => round(100 * judged[step][key]))])
        )
      }
    }
  })
}

const EVENTS = 80_000
const DEVICES = 200
/** Events that make the rows to train on, and of those the last half. */
const TRAINING_EVENTS = 80_000
const BATCH = defaultConfig.cell.batchEventsMax

/** A model with both energies of the flow events that the bench of the cell has. */
const trainFlows = (folder: string) =>
  Effect.gen(function* () {
    const plan = planOf(bareDefinition(false))
    const core = makeCellCore(plan, { ...defaultConfig.cell, batchEventsMax: BATCH, dedupeEventsMax: 0 })
    const features = defaultFeatures(plan)
    core.useFeatures(features, undefined)
    const batch = flowBatch(TRAINING_EVENTS, DEVICES, 0, drawnFlowText)
    const rows = new Float32Array(20_000 * features.length)
    let count = 0
    for (let from = 0; from < batch.count; ) {
      from = core.take(batch, from, Math.min(batch.count, from + BATCH))
      for (let i = 0; i < core.count; i++) {
        if (from > batch.count / 2 && count < 20_000) rows.set(core.featureRow(i), count++ * features.length)
      }
    }
    yield* trainStream({
      stream: "flows",
      output: folder,
      rows,
      count,
      features,
      vocabularies: {},
      population: {},
      energy: "full",
      prototypesMax: 128
    })
    const bundle = yield* readBundle(folder)
    return yield* Effect.flatMap(Scorer, (scorer) => scorer.load(bundle))
  }).pipe(
    Effect.provide(
      OnnxScorer.layerWith({
        inlineCostMax: Number.POSITIVE_INFINITY,
        batchRowsMax: BATCH,
        workerTimeoutMillis: 10_000
      })
    )
  )

interface Pass {
  readonly run: () => Promise<number>
  readonly passed: () => number
}

const passOf = (way: Way, loaded: LoadedModel, batches: ReadonlyArray<RecordBatch>): Pass => {
  const score = { stages: way === "two" ? "two" : "one" }
  const plan = planOf({ ...bareDefinition(false), score })
  const core = makeCellCore(plan, { ...defaultConfig.cell, batchEventsMax: BATCH, dedupeEventsMax: 0 })
  core.useModel(loaded.manifest)
  const step = way === "fast" ? "fast" : "deep"
  let passed = 0
  let scored = 0
  let turn = 0
  const run = () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const batch = batches[turn++]
        const from = performance.now()
        passed = 0
        scored = 0
        for (let at = 0; at < batch.count; ) {
          at = core.take(batch, at, Math.min(batch.count, at + BATCH))
          yield* scoreByStep(core, loaded, step)
          core.decide(step)
          passed += core.staging.suspected
          scored += core.scored
        }
        return ((performance.now() - from) * 1_000) / batch.count
      })
    )
  return { run, passed: () => passed / scored }
}

const speed = (rounds: number, folder: string): Promise<ReadonlyArray<Row>> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const loaded = yield* trainFlows(join(folder, "flows"))
        // What the model was trained on comes first, so that devices are as warm as there; then fresh events, in turn.
        const warm = flowBatch(TRAINING_EVENTS, DEVICES, 0, drawnFlowText)
        const batches = Array.from({ length: rounds + 1 }, (_, turn) =>
          flowBatch(EVENTS, DEVICES, TRAINING_EVENTS + turn * EVENTS, drawnFlowText)
        )
        const passes = STEPS.map((way) => passOf(way, loaded, [warm, ...batches]))
        const times: Record<Way, Array<number>> = { fast: [], two: [], deep: [] }
        for (let turn = -2; turn < rounds; turn++) {
          for (const [at, way] of STEPS.entries()) {
            const micros = yield* Effect.promise(passes[at].run)
            if (turn >= 0) times[way].push(micros)
          }
        }
        const row = (way: "two" | "fast"): Row => ({
          question: "stages",
          what: `cell, flow events, ${way === "two" ? "two stages" : "the fast energy alone"}`,
          figure: round(median(times[way])),
          unit: "µs/event",
          limit: round(median(times.deep)),
          limitIs: "deep on every event",
          ratio: round(median(times[way].map((micros, turn) => times.deep[turn] / micros))),
          detail: {
            rounds: times[way].map(round),
            limitRounds: times.deep.map(round),
            passed: round(passes[STEPS.indexOf(way)].passed())
          }
        })
        return [row("two"), row("fast")]
      })
    )
  )

const inScratch = async <A>(work: (folder: string) => Promise<A>): Promise<A> => {
  const folder = mkdtempSync(join(tmpdir(), "groundstate-bench-"))
  try {
    return await work(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export const stages: Question = () => inScratch(quality)
export const stagesSpeed: Question = ({ rounds }) => inScratch((folder) => speed(rounds, folder))
