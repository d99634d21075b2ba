// The report of an evaluation: explains its worst rows with the model and writes the page.
import { mkdir, rename, writeFile } from "node:fs/promises"
import { basename, join } from "node:path"
import { Effect } from "effect"
import { CommandFailed } from "../../schema/error/CliError.ts"
import type { LoadedModel } from "../score/Scorer.ts"
import type { Gathered } from "../train/report/gather.ts"
import type { WorstRow } from "../train/report/worst.ts"
import type { Evaluation } from "../train/scoreTable.ts"
import { namedContributions } from "./explainTable.ts"
import type { TableJudge } from "./tableJudge.ts"

/** The page's name in its folder. */
const PAGE = "report.html"

const explainRows = (model: LoadedModel, judge: TableJudge, rows: ReadonlyArray<WorstRow>) =>
  Effect.gen(function* () {
    if (!judge.explains || rows.length === 0) return rows.map((row) => ({ ...row, contributions: undefined }))
    const features = new Float32Array(rows.length * model.width)
    rows.forEach((row, at) => {
      features.set(row.features, at * model.width)
    })
    const explained = yield* judge.explain(features, rows.length)
    return rows.map((row, at) => ({
      ...row,
      contributions: namedContributions(model, explained[at], row.features)
    }))
  })

/** Writes the page into a folder, which is made where it is missing; answers the page's path. */
export const writeReport = (options: {
  readonly model: LoadedModel
  readonly judge: TableJudge
  readonly evaluation: Evaluation
  readonly gathered: Gathered
  readonly input: string
  readonly label: string
  readonly folder: string
}) =>
  Effect.gen(function* () {
    const { model, judge, evaluation, gathered, folder } = options
    const { renderReport } = yield* Effect.promise(() => import("../train/report/page.ts"))
    const page = renderReport({
      ...evaluation,
      model: {
        name: model.manifest.name,
        digest: model.digest,
        step: judge.step,
        trainedRows: model.manifest.training.rows
      },
      input: basename(options.input),
      label: options.label,
      gathered,
      misses: yield* explainRows(model, judge, gathered.misses),
      falseAlarmRows: yield* explainRows(model, judge, gathered.falseAlarms)
    })
    const file = join(folder, PAGE)
    yield* Effect.tryPromise({
      try: async () => {
        await mkdir(folder, { recursive: true })
        await writeFile(`${file}.partial`, page)
        await rename(`${file}.partial`, file)
      },
      catch: (cause) =>
        new CommandFailed({
          problem: `${file} can't be written: ${(cause as Error).message}.`,
          next: "Name another folder with --report."
        })
    })
    return file
  })
