// Why rows of a table alert: each feature's share of the energy, observed against expected, one JSON object a line.
import { open } from "node:fs/promises"
import { Effect } from "effect"
import { CommandFailed } from "../../schema/error/CliError.ts"
import { featureName } from "../../schema/model/FeatureSpec.ts"
import type { Contribution } from "../../schema/verdict/Alert.ts"
import type { LoadedModel, RowExplanation } from "../score/Scorer.ts"
import { unreadable } from "./EventFile.ts"
import type { TableJudge } from "./tableJudge.ts"

const LOT_ROWS = 1_024
const CONTRIBUTIONS_MAX = 16

/** A row's explanation with names: the largest shares first. `row` is the feature row that was explained. */
export const namedContributions = (
  model: LoadedModel,
  explained: RowExplanation,
  row: Float32Array
): ReadonlyArray<Contribution> => {
  const { features, vocabularies } = model.manifest
  const valueOf = (at: number, value: number): number | string | null => {
    if (!Number.isFinite(value)) return null
    const feature = features[at]
    if (feature.kind !== "category") return value
    // Positions in the vocabulary; −1 was never seen in training, −2 is missing.
    const place = Math.round(value)
    return place === -2 ? null : (vocabularies[feature.field]?.[place] ?? "(unseen)")
  }
  return features
    .map((feature, at) => ({
      feature: featureName(feature),
      energy: explained.contributions[at],
      observed: valueOf(at, row[at]),
      expected: valueOf(at, explained.expected[at])
    }))
    .sort((a, b) => b.energy - a.energy)
    .slice(0, CONTRIBUTIONS_MAX)
}

/** Writes a line for each row whose p-value is at most `share`; answers how many. */
export const explainTable = (options: {
  readonly model: LoadedModel
  readonly judge: TableJudge
  readonly input: string
  readonly label: string | undefined
  readonly share: number
  readonly output: string
}) =>
  Effect.gen(function* () {
    const { model, judge, input } = options
    const { pvalueOf } = yield* Effect.promise(() => import("../train/calibrate.ts"))
    const { makeRowWriter } = yield* Effect.promise(() => import("../train/columns.ts"))
    const { openTable } = yield* Effect.promise(() => import("../train/tableReader.ts"))
    if (model.manifest.input.kind !== "table" || !judge.explains) {
      return yield* new CommandFailed({
        problem: `Model ${model.digest} has no graph that explains rows of a table.`,
        next: "Train it again with `groundstate train`, or score without --explain."
      })
    }
    const { columns } = model.manifest.input
    const { calibration } = judge
    const attempt = <A>(run: () => Promise<A>) =>
      Effect.tryPromise({ try: run, catch: (cause) => unreadable(input, cause) })
    const table = yield* attempt(() =>
      openTable(input, { label: options.label, names: columns.map((column) => column.name) })
    )
    const writer = makeRowWriter(
      columns,
      model.manifest.vocabularies,
      columns.map((column) => table.names.indexOf(column.name))
    )
    const file = yield* Effect.acquireRelease(
      Effect.tryPromise({
        try: () => open(options.output, "w"),
        catch: (cause) =>
          new CommandFailed({
            problem: `${options.output} can't be written: ${(cause as Error).message}.`,
            next: "Name another file with --explain."
          })
      }),
      (handle) => Effect.promise(() => handle.close())
    )
    const { width } = model
    const rows = new Float32Array(LOT_ROWS * width)
    const energies = new Float32Array(LOT_ROWS)
    const lots = yield* Effect.acquireRelease(
      Effect.sync(() => table.lots()),
      (iterator) => Effect.promise(() => iterator.return())
    )
    let number = 0
    let written = 0
    for (;;) {
      const lot = yield* attempt(() => lots.next())
      if (lot.done === true) return written
      for (let from = 0; from < lot.value.length; from += LOT_ROWS) {
        const part = lot.value.slice(from, from + LOT_ROWS)
        part.forEach((row, at) => {
          if (row.cells === undefined) rows.fill(Number.NaN, at * width, (at + 1) * width)
          else writer.write(row.cells, rows, at * width)
        })
        yield* judge.score(rows, part.length, energies)
        const alerting = part.flatMap((row, at) =>
          row.cells !== undefined && pvalueOf(calibration, energies[at]) <= options.share ? [at] : []
        )
        const chosen = new Float32Array(alerting.length * width)
        alerting.forEach((at, place) => {
          chosen.set(rows.subarray(at * width, (at + 1) * width), place * width)
        })
        const explained = yield* judge.explain(chosen, alerting.length)
        const text = alerting
          .map((at, place) => {
            const one = explained[place]
            const row = chosen.subarray(place * width, (place + 1) * width)
            const line = {
              row: number + at + 1,
              energy: energies[at],
              pvalue: pvalueOf(calibration, energies[at]),
              prototype: one.prototype,
              contributions: namedContributions(model, one, row)
            }
            return `${JSON.stringify(line)}\n`
          })
          .join("")
        if (text !== "") yield* attempt(() => file.write(text))
        number += part.length
        written += alerting.length
      }
    }
  })
