// Scores a table with a model, row by row in order, and measures the scores where rows are labelled.
import { createWriteStream } from "node:fs"
import { rename, rm } from "node:fs/promises"
import { finished } from "node:stream/promises"
import { Effect } from "effect"
import type { ScorerUnavailable } from "../../schema/error/ModelError.ts"
import { TableRefused } from "../../schema/error/TrainError.ts"
import { type Calibration, deepestStep, type Manifest } from "../../schema/model/Manifest.ts"
import { makeScore, pvalueOf } from "./calibrate.ts"
import { Faults, makeRowWriter, misreadCell, rowAndLine } from "./columns.ts"
import { type Metrics, measure } from "./evaluate.ts"
import { type Gathered, makeGatherer } from "./report/gather.ts"
import { timeColumnOf } from "./report/timeline.ts"
import { isMissing, openTable, type TableReader, type TableRow } from "./tableReader.ts"
import { asTableRefused } from "./trainTable.ts"

export interface ScoreTableOptions {
  readonly manifest: Manifest
  /** Writes the energies of `count` rows; `LoadedModel.score` with the deepest step, or whatever `calibration` is of. */
  readonly score: (
    rows: Float32Array,
    count: number,
    energies: Float32Array
  ) => Effect.Effect<void, ScorerUnavailable>
  /** Of these energies; that of the model's deepest step by default. */
  readonly calibration?: Calibration | undefined
  readonly input: string
  readonly header?: boolean | "auto" | undefined
  /** Not read as a feature; needed to tell the header. */
  readonly label?: string | undefined
  /** Rows with a p-value of at most this alert; 0.01 by default. */
  readonly alertShare?: number | undefined
  readonly progress?: ((rows: number) => void) | undefined
}

export interface ScoreTableSummary {
  readonly rows: number
  readonly alerts: number
  /** Rows that could not be read. They are scored as a row with no values at all, and they alert. */
  readonly broken: number
  readonly brokenExamples: ReadonlyArray<string>
  /** Cells of numeric columns that are no numbers; scored as missing. */
  readonly unreadableCells: number
  readonly unreadableExamples: ReadonlyArray<string>
  /** Columns of the model that the table lacks; scored as missing. */
  readonly missingColumns: ReadonlyArray<string>
}

const LOT_ROWS = 4_096
const ALERT_SHARE = 0.01

interface Lot {
  readonly rows: ReadonlyArray<TableRow>
  readonly energies: Float32Array
  /** Row-major, `width` values a row. */
  readonly features: Float32Array
}

interface Opened {
  readonly reader: TableReader
  readonly writer: ReturnType<typeof makeRowWriter>
  readonly missingColumns: ReadonlyArray<string>
}

/** alsoRead: columns wanted beside the model's. */
const open = async (options: ScoreTableOptions, alsoRead: ReadonlyArray<string>): Promise<Opened> => {
  const { manifest, input } = options
  if (manifest.input.kind !== "table") {
    throw new TableRefused({
      input,
      reason: "wrong-columns",
      detail: `model ${manifest.name} was trained for stream ${manifest.input.stream}, whose rows need the stream's past`,
      advice: "score the stream with `run` or `replay`, or train a model on a table"
    })
  }
  const { columns } = manifest.input
  const reader = await openTable(input, {
    header: options.header,
    label: options.label,
    names: [...new Set([...columns.map((column) => column.name), ...alsoRead])]
  })
  const places = columns.map((column) => reader.names.indexOf(column.name))
  const used = columns.flatMap((column, at) =>
    column.type === "ignored" ? [] : [{ column, place: places[at] }]
  )
  const missingColumns = used.filter(({ place }) => place < 0).map(({ column }) => column.name)
  if (missingColumns.length === used.length && reader.names.length > 0) {
    const want = used
      .slice(0, 5)
      .map(({ column }) => column.name)
      .join(", ")
    throw new TableRefused({
      input,
      reason: "wrong-columns",
      detail: `it has none of the model's columns (${want}${used.length > 5 ? ", …" : ""})`,
      advice: "score a table with the columns that the model was trained on"
    })
  }
  return { reader, writer: makeRowWriter(columns, manifest.vocabularies, places), missingColumns }
}

/** Gives every row of the table with its energy to `take`, in order. */
const eachLot = (
  options: ScoreTableOptions,
  opened: Opened,
  take: (lot: Lot) => Promise<void>
): Effect.Effect<
  { readonly rows: number; readonly broken: Faults; readonly misread: Faults },
  TableRefused | ScorerUnavailable
> =>
  Effect.gen(function* () {
    const { writer, reader } = opened
    const { width } = writer
    const table = new Float32Array(LOT_ROWS * width)
    const energies = new Float32Array(LOT_ROWS)
    const broken = new Faults()
    const misread = new Faults()
    let rows = 0
    const lots = yield* Effect.acquireRelease(
      Effect.sync(() => reader.lots()),
      (iterator) => Effect.promise(() => iterator.return())
    )
    const attempt = <A>(run: () => Promise<A>) =>
      Effect.tryPromise({ try: run, catch: (cause) => asTableRefused(options.input, cause) })
    for (;;) {
      const next = yield* attempt(() => lots.next())
      if (next.done === true) break
      for (let from = 0; from < next.value.length; from += LOT_ROWS) {
        const part = next.value.slice(from, from + LOT_ROWS)
        part.forEach((row, at) => {
          const number = rows + at + 1
          if (row.cells !== undefined) {
            writer.write(row.cells, table, at * width, (column, cell) => {
              misread.add(misreadCell(rowAndLine(number, row.line), column, cell))
            })
          } else {
            broken.addRow(rowAndLine(number, row.line), row)
            table.fill(Number.NaN, at * width, (at + 1) * width)
          }
        })
        yield* options.score(table, part.length, energies)
        yield* attempt(() => take({ rows: part, energies, features: table }))
        rows += part.length
        options.progress?.(rows)
      }
    }
    return { rows, broken, misread }
  }).pipe(Effect.scoped)

const calibrationOf = ({ manifest, calibration }: ScoreTableOptions): Calibration => {
  const deepest = deepestStep(manifest)
  return (
    calibration ?? (manifest.graphs.find(({ step }) => step === deepest) ?? manifest.graphs[0]).calibration
  )
}

const judge = (options: ScoreTableOptions) => {
  const calibration = calibrationOf(options)
  const score = makeScore(calibration)
  const share = options.alertShare ?? ALERT_SHARE
  return (energy: number, broken: boolean) => {
    const pvalue = pvalueOf(calibration, energy)
    return { score: score(energy), pvalue, alert: broken || pvalue <= share ? 1 : 0 }
  }
}

const opened = (options: ScoreTableOptions, alsoRead: ReadonlyArray<string> = []) =>
  Effect.tryPromise({
    try: () => open(options, alsoRead),
    catch: (cause) => asTableRefused(options.input, cause)
  })

/**
 * Writes `row,score,energy,pvalue,alert`, one line for each row of the table, in order, from row 1. `score`
 * rises strictly with the energy and depends on the row and the model alone. The file appears when it is whole.
 */
export const scoreTable = (
  options: ScoreTableOptions & { readonly output: string }
): Effect.Effect<ScoreTableSummary, TableRefused | ScorerUnavailable> =>
  Effect.gen(function* () {
    const table = yield* opened(options)
    const judged = judge(options)
    const beside = `${options.output}.partial`
    const unwritable = (cause: unknown) =>
      new TableRefused({
        input: options.output,
        reason: "output",
        detail: `it cannot be written (${(cause as Error).message})`,
        advice: "name another output file"
      })
    const file = createWriteStream(beside)
    const ended = finished(file)
    // Told again where the file is awaited; unheard, it would end the process.
    ended.catch(() => {})
    let alerts = 0
    let row = 0
    const writeText = async (text: string): Promise<void> => {
      if (!file.write(text))
        await Promise.race([new Promise<void>((resolve) => file.once("drain", () => resolve())), ended])
      if (file.errored) throw unwritable(file.errored)
    }
    yield* Effect.tryPromise({ try: () => writeText("row,score,energy,pvalue,alert\n"), catch: unwritable })
    const read = yield* eachLot(options, table, async ({ rows, energies }) => {
      let text = ""
      for (let at = 0; at < rows.length; at++) {
        const { score, pvalue, alert } = judged(energies[at], rows[at].cells === undefined)
        alerts += alert
        text += `${++row},${score},${energies[at]},${pvalue},${alert}\n`
      }
      await writeText(text)
    }).pipe(
      Effect.onError(() =>
        Effect.promise(async () => {
          file.destroy()
          await rm(beside, { force: true })
        })
      )
    )
    yield* Effect.tryPromise({
      try: async () => {
        file.end()
        await ended
        await rename(beside, options.output)
      },
      catch: unwritable
    })
    return {
      rows: read.rows,
      alerts,
      broken: read.broken.count,
      brokenExamples: read.broken.examples,
      unreadableCells: read.misread.count,
      unreadableExamples: read.misread.examples,
      missingColumns: table.missingColumns
    }
  }).pipe(Effect.withSpan("score.table"))

export interface Evaluation extends Metrics {
  readonly alertShare: number
  readonly broken: number
  readonly unreadableCells: number
  readonly missingColumns: ReadonlyArray<string>
  /** Rows whose label is missing; they are not measured. */
  readonly unlabelled: number
  /** Values of the label that count as normal; every other value is an anomaly. */
  readonly normalLabels: ReadonlyArray<string>
}

/** Labels that mean normal, in lower case; a trailing dot is cut off (the KDD 1999 files have one). */
const normalWords = new Set(["0", "normal", "false", "no", "benign", "-"])

const labelWord = (cell: unknown) => {
  const word = String(cell).trim().toLowerCase().replace(/\.$/, "")
  const number = Number(word)
  return word !== "" && number === 0 ? "0" : word
}

/** Does this label mean normal? Zero, normal, false, no, benign and -, however written. */
export const isNormalLabel = (cell: unknown): boolean => normalWords.has(labelWord(cell))

/** What a report shows beyond the figures. */
export interface GatherOptions {
  /** The column of the timeline; by default one that is named as times mostly are. */
  readonly timeColumn?: string | undefined
}

const gathererOf = (options: ScoreTableOptions, table: Opened, { timeColumn }: GatherOptions) => {
  const { names } = table.reader
  return makeGatherer({
    calibration: calibrationOf(options),
    share: options.alertShare ?? ALERT_SHARE,
    timeColumn: timeColumn ?? timeColumnOf(names.filter((name) => name !== options.label))
  })
}

const evaluating = (
  options: ScoreTableOptions & { readonly label: string },
  gather: GatherOptions | undefined
) =>
  Effect.gen(function* () {
    const table = yield* opened(options, gather?.timeColumn === undefined ? [] : [gather.timeColumn])
    const { names, format } = table.reader
    const refuse = (reason: TableRefused["reason"], detail: string, advice: string) =>
      new TableRefused({ input: options.input, reason, detail, advice })
    const listed = `it has ${names.slice(0, 8).join(", ")}${names.length > 8 ? ", …" : ""}`
    if (format === "csv" && !names.includes(options.label)) {
      return yield* refuse(
        "no-label-column",
        `it has no column ${options.label}; ${listed}`,
        "name one of its columns as the label"
      )
    }
    if (gather?.timeColumn !== undefined && !names.includes(gather.timeColumn)) {
      return yield* refuse(
        "wrong-columns",
        `it has no column ${gather.timeColumn}; ${listed}`,
        "name one of its columns as the time"
      )
    }
    const judged = judge(options)
    const gatherer = gather === undefined ? undefined : gathererOf(options, table, gather)
    const timePlace = gatherer?.timeColumn === undefined ? -1 : names.indexOf(gatherer.timeColumn)
    const { width } = table.writer
    const scores: Array<number> = []
    const labels: Array<number> = []
    const alerts: Array<number> = []
    const normalLabels = new Set<string>()
    let unlabelled = 0
    let number = 0
    const read = yield* eachLot(options, table, async ({ rows, energies, features }) => {
      const place = names.indexOf(options.label)
      for (let at = 0; at < rows.length; at++) {
        number++
        const { cells } = rows[at]
        const cell = cells?.[place]
        // A dash is a word for normal in some logs, and no value in none.
        if (isMissing(cell)) {
          unlabelled++
          continue
        }
        const word = labelWord(cell)
        const normal = normalWords.has(word)
        if (normal) normalLabels.add(word)
        const { score, pvalue, alert } = judged(energies[at], false)
        scores.push(score)
        labels.push(normal ? 0 : 1)
        alerts.push(alert)
        gatherer?.observe({
          row: number,
          label: cell,
          anomaly: !normal,
          energy: energies[at],
          pvalue,
          alert: alert === 1,
          features: features.subarray(at * width, (at + 1) * width),
          time: cells?.[timePlace]
        })
      }
    })
    if (scores.length === 0) {
      return yield* refuse(
        "no-labels",
        `none of its ${read.rows} rows has a value in ${options.label}`,
        "give labelled rows"
      )
    }
    const metrics = measure(scores, labels, alerts)
    if (metrics.anomalies === 0 || metrics.anomalies === metrics.rows) {
      const only = metrics.anomalies === 0 ? "normal" : "an anomaly"
      return yield* refuse(
        "no-labels",
        `every labelled row is ${only}, so there is nothing to tell apart`,
        `give rows of both kinds; normal rows are labelled ${[...normalWords].join(", ")}`
      )
    }
    const evaluation: Evaluation = {
      ...metrics,
      alertShare: options.alertShare ?? ALERT_SHARE,
      broken: read.broken.count,
      unreadableCells: read.misread.count,
      missingColumns: table.missingColumns,
      unlabelled,
      normalLabels: [...normalLabels]
    }
    return { evaluation, gatherer }
  }).pipe(Effect.withSpan("evaluate.table"))

/** Scores a table and compares with its label column: 0, normal, false, no, benign and - are normal. */
export const evaluateTable = (
  options: ScoreTableOptions & { readonly label: string }
): Effect.Effect<Evaluation, TableRefused | ScorerUnavailable> =>
  Effect.map(evaluating(options, undefined), ({ evaluation }) => evaluation)

/** The same, with what a report shows; `undefined` gathers nothing. */
export const evaluateAndGather = (
  options: ScoreTableOptions & { readonly label: string },
  gather: GatherOptions | undefined
): Effect.Effect<
  { readonly evaluation: Evaluation; readonly gathered: Gathered | undefined },
  TableRefused | ScorerUnavailable
> =>
  Effect.map(evaluating(options, gather), ({ evaluation, gatherer }) => ({
    evaluation,
    gathered: gatherer?.finish()
  }))
