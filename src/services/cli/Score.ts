// `groundstate score`: a score for every row of a table, in order, and on demand why a row alerts.
import { Effect, Runtime } from "effect"
import { explainTable } from "./explainTable.ts"
import { formatCount, formatShare } from "./format.ts"
import { defaultFlag, numberBetween, optionalFlag, requiredFlag } from "./inputs.ts"
import { formatFlag, printAs } from "./Output.ts"
import { openModel } from "./openModel.ts"
import { printable } from "./paint.ts"
import { makeProgress } from "./progress.ts"
import { say } from "./Screen.ts"
import { subcommand } from "./subcommand.ts"
import { renderPairs } from "./table.ts"
import { stepFlag, tableJudge } from "./tableJudge.ts"

/** `--alert-share` of what judges tables. */
export const alertShareFlag = defaultFlag(
  "alert-share",
  {
    value: "P",
    about: "rows with a p-value of at most this alert: about the share of normal rows that do",
    fallback: "0.01"
  },
  numberBetween(0, 1)
)

/** What a person should know of a table that does not quite fit the model. */
export const tellMisfits = (misfits: {
  readonly broken: number
  readonly brokenExamples?: ReadonlyArray<string>
  readonly unreadableCells: number
  readonly unreadableExamples?: ReadonlyArray<string>
  readonly missingColumns: ReadonlyArray<string>
}) =>
  Effect.gen(function* () {
    const { broken, brokenExamples = [], unreadableCells, unreadableExamples = [], missingColumns } = misfits
    const told = (examples: ReadonlyArray<string>) =>
      examples.length === 0 ? "" : ` (${printable(examples.slice(0, 3).join("; "))})`
    if (broken > 0) {
      yield* say(
        `Note: ${formatCount(broken)} rows can't be read${told(brokenExamples)}; they are scored as rows without values.`
      )
    }
    if (unreadableCells > 0)
      yield* say(
        `Note: ${formatCount(unreadableCells)} cells of numeric columns are no numbers${told(unreadableExamples)}; they count as missing.`
      )
    if (missingColumns.length > 0) {
      yield* say(
        `Note: the table lacks ${printable(missingColumns.slice(0, 8).join(", "))}${missingColumns.length > 8 ? ", …" : ""}; they count as missing.`
      )
    }
  })

export const score = subcommand({
  name: "score",
  summary: "Score every row of a table with a model",
  detail: [
    "Writes CSV with one line per input row, in order: row,score,energy,pvalue,alert. A higher score is more anomalous; it depends on the row and the model alone. energy is in nats; pvalue says how often a normal row has an energy at least this high.",
    "--explain writes a second file: for every row that alerts a line of JSON with each feature's share of the energy, what was observed and what was expected."
  ],
  examples: [
    ["score --model models/flows --input new.csv --output scores.csv", "a score per row"],
    ["score --model models/flows --input new.csv --output scores.csv --explain why.jsonl", "and why"]
  ],
  inputs: {
    model: requiredFlag("model", { value: "DIR", about: "the model bundle" }),
    input: requiredFlag("input", { value: "FILE", about: "CSV or JSON lines, .gz of either" }),
    file: requiredFlag("output", { value: "FILE", about: "CSV for the scores; it appears when it is whole" }),
    explain: optionalFlag("explain", {
      value: "FILE.jsonl",
      about: "why each alerting row alerts, one JSON object a line"
    }),
    label: optionalFlag("label", { value: "COLUMN", about: "a label column of the table, not scored" }),
    share: alertShareFlag,
    asked: stepFlag,
    form: formatFlag
  },
  run: ({ model: folder, input, file, explain, label, share, asked, form }) =>
    Effect.scoped(
      Effect.gen(function* () {
        const model = yield* openModel(folder)
        const { scoreTable } = yield* Effect.promise(() => import("../train/scoreTable.ts"))
        const progress = yield* makeProgress({ label: "score", unit: "rows" })
        const run = Runtime.runFork(yield* Effect.runtime<never>())
        const judge = yield* tableJudge(model, asked)
        const options = {
          manifest: model.manifest,
          score: judge.score,
          calibration: judge.calibration,
          input,
          label,
          alertShare: share
        }
        const summary = yield* scoreTable({
          ...options,
          output: file,
          progress: (rows) => {
            run(progress.update(rows))
          }
        })
        const secondStage = judge.secondStage()
        const explained =
          explain === undefined
            ? 0
            : yield* explainTable({ model, judge, input, label, share, output: explain })
        yield* tellMisfits(summary)
        yield* printAs(
          form,
          { ...summary, model: model.digest, secondStage, output: file, explained },
          Effect.succeed(
            renderPairs([
              ["Rows", formatCount(summary.rows)],
              [
                "Alerts",
                `${formatCount(summary.alerts)} (${formatShare(summary.rows === 0 ? 0 : summary.alerts / summary.rows)})`
              ],
              ...(secondStage === null
                ? []
                : ([
                    ["Second stage", `${formatCount(secondStage)} rows went on to the deep energy`]
                  ] as const)),
              ["Scores in", printable(file)],
              ...(explain === undefined
                ? []
                : ([["Explained in", `${printable(explain)}, ${formatCount(explained)} rows`]] as const)),
              ["Model", model.digest]
            ])
          )
        )
      })
    )
})
