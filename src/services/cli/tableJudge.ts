// What judges the rows of a table: one of the model's energies, or both in two stages.
import { Effect } from "effect"
import { CommandFailed } from "../../schema/error/CliError.ts"
import type { ScorerUnavailable } from "../../schema/error/ModelError.ts"
import type { DriftReport } from "../../schema/model/Drift.ts"
import { type Calibration, deepestStep, type EnergyGraph } from "../../schema/model/Manifest.ts"
import { SUSPICIOUS_SHARE } from "../../schema/stream/StreamPlan.ts"
import { unknownDrift } from "../rollout/drift.ts"
import { makeDriftScale } from "../rollout/driftScale.ts"
import { makeTableDrift, type TableDrift } from "../rollout/tableDrift.ts"
import type { LoadedModel, RowExplanation } from "../score/Scorer.ts"
import { gatherSuspects, makeStages, makeSuspects, type Stages, scatterSuspects } from "../score/stages.ts"
import { optionalChoiceFlag } from "./inputs.ts"

/** `--step` of what judges tables. */
export const stepFlag = optionalChoiceFlag("step", {
  about:
    "which energy judges: the fusion, the first stage, or two stages, where the fusion judges only the 1 row in 20 that is suspicious by the first; the deepest that the model has without it",
  choices: ["deep", "fast", "two"]
})

export interface TableJudge {
  readonly step: EnergyGraph["step"] | "two"
  readonly calibration: Calibration
  /** Rows that went on to the second of two stages so far; null where there is one. */
  readonly secondStage: () => number | null
  /** Counts a row that does not alert for the drift; undefined where the model has no reference. */
  readonly observe: TableDrift["count"] | undefined
  /** Of the rows counted so far, against those that the model was trained on. */
  readonly drift: () => DriftReport
  /** Is there a graph for every explanation? */
  readonly explains: boolean
  /** rows: count × width. Writes `count` energies, each by its row alone. */
  readonly score: (
    rows: Float32Array,
    count: number,
    energies: Float32Array
  ) => Effect.Effect<void, ScorerUnavailable>
  /** One explanation per row, each by the energy that judges the row. */
  readonly explain: (
    rows: Float32Array,
    count: number
  ) => Effect.Effect<ReadonlyArray<RowExplanation>, ScorerUnavailable>
}

const explainable = (model: LoadedModel, step: EnergyGraph["step"]): boolean =>
  model.manifest.graphs.some((graph) => graph.step === step && graph.explain !== undefined)

type Scoring = Omit<TableJudge, "observe" | "drift">

const withDrift = (model: LoadedModel, scoring: Scoring): TableJudge => {
  const scale = makeDriftScale(model.manifest, scoring.calibration)
  const drift = scale === undefined ? undefined : makeTableDrift(scale)
  return { ...scoring, observe: drift?.count, drift: drift?.report ?? (() => unknownDrift) }
}

const inOneStage = (model: LoadedModel, graph: EnergyGraph): Scoring => ({
  step: graph.step,
  calibration: graph.calibration,
  secondStage: () => null,
  explains: explainable(model, graph.step),
  score: (rows, count, energies) => model.score(graph.step, rows, count, energies),
  explain: (rows, count) => model.explain(graph.step, rows, count)
})

const inTwoStages = (model: LoadedModel, stages: Stages): Scoring => {
  const { width } = model
  const suspects = makeSuspects()
  let passed = 0
  const first = (rows: Float32Array, count: number, energies: Float32Array) =>
    Effect.map(model.score("fast", rows, count, energies), () =>
      gatherSuspects(stages, rows, count, width, energies, undefined, suspects)
    )
  return {
    step: "two",
    calibration: stages.calibration,
    secondStage: () => passed,
    explains: explainable(model, "fast") && explainable(model, "deep"),
    score: (rows, count, energies) =>
      Effect.flatMap(first(rows, count, energies), (found) => {
        passed += found
        if (found === 0) return Effect.void
        return Effect.map(model.score("deep", suspects.rows, found, suspects.energies), () =>
          scatterSuspects(suspects, energies)
        )
      }),
    explain: (rows, count) =>
      Effect.gen(function* () {
        const found = yield* first(rows, count, new Float32Array(count))
        const goes = suspects.deep.slice(0, count)
        const deep = yield* model.explain("deep", suspects.rows.slice(0, found * width), found)
        const others = Array.from(goes.keys()).filter((row) => goes[row] === 0)
        const kept = new Float32Array(others.length * width)
        others.forEach((row, at) => {
          kept.set(rows.subarray(row * width, (row + 1) * width), at * width)
        })
        const fast = yield* model.explain("fast", kept, others.length)
        let atDeep = 0
        let atFast = 0
        return Array.from(goes, (one) => (one === 1 ? deep[atDeep++] : fast[atFast++]))
      })
  }
}

/** The judge asked for, or the model's deepest energy. */
export const tableJudge = (
  model: LoadedModel,
  asked: TableJudge["step"] | undefined
): Effect.Effect<TableJudge, CommandFailed> => {
  const { graphs } = model.manifest
  const step = asked ?? deepestStep(model.manifest)
  const stages = step === "two" ? makeStages(graphs, SUSPICIOUS_SHARE) : undefined
  if (stages !== undefined) return Effect.succeed(withDrift(model, inTwoStages(model, stages)))
  const graph = graphs.find((item) => item.step === step)
  if (graph !== undefined) return Effect.succeed(withDrift(model, inOneStage(model, graph)))
  return Effect.fail(
    new CommandFailed({
      problem:
        step === "two"
          ? `Model ${model.digest} does not have the two energies that two stages need.`
          : `Model ${model.digest} has no ${step} energy.`,
      next: "Leave out --step, or train the model again with `groundstate train`."
    })
  )
}
