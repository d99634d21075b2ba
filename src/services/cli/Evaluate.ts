// `groundstate evaluate`: how well a model tells labelled anomalies from normal rows.
import { Effect, Runtime } from "effect"
import type { Evaluation } from "../train/scoreTable.ts"
import { formatCount, formatShare } from "./format.ts"
import { requiredFlag } from "./inputs.ts"
import { outputFlag, printAs } from "./Output.ts"
import { openModel, stepFlag, stepOf } from "./openModel.ts"
import { makeProgress } from "./progress.ts"
import { alertShareFlag, tellMisfits } from "./Score.ts"
import { subcommand } from "./subcommand.ts"
import { renderPairs } from "./table.ts"

/** The evaluation as text for people. */
export const renderEvaluation = (evaluation: Evaluation, digest: string): string => {
  const normals = evaluation.rows - evaluation.anomalies
  return renderPairs([
    [
      "Rows",
      `${formatCount(evaluation.rows)}: ${formatCount(evaluation.anomalies)} anomalies, ${formatCount(normals)} normal (labelled ${evaluation.normalLabels.join(", ")})`
    ],
    ...(evaluation.unlabelled === 0
      ? []
      : ([["Unlabelled", `${formatCount(evaluation.unlabelled)} rows, not measured`]] as const)),
    ["ROC-AUC", evaluation.rocAuc.toFixed(4)],
    ["Average precision", evaluation.averagePrecision.toFixed(4)],
    ["Caught where 1 % of normal rows alarm", formatShare(evaluation.truePositiveRateAt1Percent)],
    [
      `Detected at p ≤ ${evaluation.alertShare}`,
      `${formatShare(evaluation.detectionRate)} (${formatCount(evaluation.caught)} of ${formatCount(evaluation.anomalies)})`
    ],
    [
      `False alarms at p ≤ ${evaluation.alertShare}`,
      `${formatShare(evaluation.falseAlarmRate)} (${formatCount(evaluation.falseAlarms)} of ${formatCount(normals)})`
    ],
    ["Model", digest]
  ])
}

export const evaluate = subcommand({
  name: "evaluate",
  summary: "Measure a model against labelled rows",
  detail: [
    "Rows labelled 0, normal, false, no, benign or - are normal, every other label is an anomaly, rows without a label are not measured."
  ],
  examples: [
    ["evaluate --model models/flows --input test.csv --label attack -o json", "the figures as JSON"]
  ],
  inputs: {
    model: requiredFlag("model", { value: "DIR", about: "the model bundle" }),
    input: requiredFlag("input", { value: "FILE", about: "CSV or JSON lines, .gz of either" }),
    label: requiredFlag("label", { value: "COLUMN", about: "says which rows are anomalies" }),
    share: alertShareFlag,
    asked: stepFlag,
    output: outputFlag
  },
  run: ({ model: folder, input, label, share, asked, output }) =>
    Effect.scoped(
      Effect.gen(function* () {
        const model = yield* openModel(folder)
        const { evaluateTable } = yield* Effect.promise(() => import("../train/scoreTable.ts"))
        const progress = yield* makeProgress({ label: "evaluate", unit: "rows" })
        const run = Runtime.runFork(yield* Effect.runtime<never>())
        const step = yield* stepOf(model, asked)
        const evaluation = yield* evaluateTable({
          manifest: model.manifest,
          score: (rows, count, energies) => model.score(step, rows, count, energies),
          step,
          input,
          label,
          alertShare: share,
          progress: (rows) => {
            run(progress.update(rows))
          }
        })
        yield* tellMisfits(evaluation)
        yield* printAs(
          output,
          { ...evaluation, model: model.digest },
          Effect.sync(() => renderEvaluation(evaluation, model.digest))
        )
      })
    )
})
