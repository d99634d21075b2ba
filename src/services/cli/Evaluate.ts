// `groundstate evaluate`: how well a model tells labelled anomalies from normal rows.
import { Effect, Runtime } from "effect"
import { UsageInvalid } from "../../schema/error/CliError.ts"
import type { DriftReport } from "../../schema/model/Drift.ts"
import type { Evaluation } from "../train/scoreTable.ts"
import { driftPairs } from "./driftText.ts"
import { formatCount, formatShare } from "./format.ts"
import { optionalFlag, requiredFlag } from "./inputs.ts"
import { outputFlag, printAs } from "./Output.ts"
import { openModel } from "./openModel.ts"
import { printable } from "./paint.ts"
import { makeProgress } from "./progress.ts"
import { writeReport } from "./reportFile.ts"
import { alertShareFlag, tellMisfits } from "./Score.ts"
import { say } from "./Screen.ts"
import { subcommand } from "./subcommand.ts"
import { renderPairs } from "./table.ts"
import { stepFlag, tableJudge } from "./tableJudge.ts"

/** The evaluation as text for people. */
export const renderEvaluation = (
  evaluation: Evaluation,
  digest: string,
  report: string | undefined,
  secondStage: number | null = null,
  drift?: DriftReport
): string => {
  const normals = evaluation.rows - evaluation.anomalies
  return renderPairs([
    [
      "Rows",
      `${formatCount(evaluation.rows)}: ${formatCount(evaluation.anomalies)} anomalies, ${formatCount(normals)} normal (labelled ${evaluation.normalLabels.join(", ")})`
    ],
    ...(evaluation.unlabelled === 0
      ? []
      : ([["Unlabelled", `${formatCount(evaluation.unlabelled)} rows, not measured`]] as const)),
    ...(secondStage === null
      ? []
      : ([["Second stage", `${formatCount(secondStage)} rows went on to the deep energy`]] as const)),
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
    ...(drift === undefined ? [] : driftPairs(drift)),
    ["Model", digest],
    ...(report === undefined ? [] : ([["Report in", printable(report)]] as const))
  ])
}

export const evaluate = subcommand({
  name: "evaluate",
  summary: "Measure a model against labelled rows",
  detail: [
    "Rows labelled 0, normal, false, no, benign or - are normal, every other label is an anomaly, rows without a label are not measured.",
    "--report writes a page to look at, report.html: energies, curves, calibration, the worst misses and false alarms with what their energies are made of, and over time where the rows have a time. It needs no network and no other file."
  ],
  examples: [
    ["evaluate --model models/flows --input test.csv --label attack -o json", "the figures as JSON"],
    ["evaluate --model models/flows --input test.csv --label attack --report report/", "a page to look at"]
  ],
  inputs: {
    model: requiredFlag("model", { value: "DIR", about: "the model bundle" }),
    input: requiredFlag("input", { value: "FILE", about: "CSV or JSON lines, .gz of either" }),
    label: requiredFlag("label", { value: "COLUMN", about: "says which rows are anomalies" }),
    share: alertShareFlag,
    asked: stepFlag,
    report: optionalFlag("report", { value: "DIR", about: "folder for a page of drawings, report.html" }),
    time: optionalFlag("time", {
      value: "COLUMN",
      about: "the report's time column; one named time, timestamp, ts, date or datetime without it"
    }),
    output: outputFlag
  },
  run: ({ model: folder, input, label, share, asked, report, time, output }) =>
    Effect.scoped(
      Effect.gen(function* () {
        if (time !== undefined && report === undefined) {
          return yield* new UsageInvalid({
            problem: "--time names the column of a report's timeline, and no report is asked for.",
            next: "Add --report DIR, or leave out --time."
          })
        }
        const model = yield* openModel(folder)
        const { evaluateAndGather } = yield* Effect.promise(() => import("../train/scoreTable.ts"))
        const progress = yield* makeProgress({ label: "evaluate", unit: "rows" })
        const run = Runtime.runFork(yield* Effect.runtime<never>())
        const judge = yield* tableJudge(model, asked)
        const { evaluation, gathered } = yield* evaluateAndGather(
          {
            manifest: model.manifest,
            score: judge.score,
            calibration: judge.calibration,
            observe: judge.observe,
            input,
            label,
            alertShare: share,
            progress: (rows) => {
              run(progress.update(rows))
            }
          },
          report === undefined ? undefined : { timeColumn: time }
        )
        const page =
          report === undefined || gathered === undefined
            ? undefined
            : yield* writeReport({ model, judge, evaluation, gathered, input, label, folder: report })
        yield* tellMisfits(evaluation)
        if (time !== undefined && gathered?.timeline === undefined) {
          yield* say(
            `Note: the report has no timeline: column ${printable(time)} has no times, or too few, or a single one.`
          )
        }
        const secondStage = judge.secondStage()
        const drift = judge.drift()
        yield* printAs(
          output,
          {
            ...evaluation,
            model: model.digest,
            secondStage,
            drift,
            ...(page === undefined ? {} : { report: page })
          },
          Effect.sync(() => renderEvaluation(evaluation, model.digest, page, secondStage, drift))
        )
      })
    )
})
