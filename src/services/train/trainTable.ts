// Trains a model on a table: two passes over the file, one to learn what its columns hold, one to draw a sample.
import { basename } from "node:path"
import { Clock, Effect } from "effect"
import { TableRefused } from "../../schema/error/TrainError.ts"
import type { TableColumn } from "../../schema/model/Manifest.ts"
import type { StreamDefinition } from "../../schema/stream/StreamDefinition.ts"
import { PlaceTaken, writeBundle } from "./bundle.ts"
import {
  COLUMNS_MAX,
  type ColumnSurvey,
  decideColumn,
  declaredColumn,
  Faults,
  heavyTailed,
  inputsOf,
  makeRowWriter,
  misreadCell,
  newSurvey,
  rowAndLine,
  surveyCell
} from "./columns.ts"
import { NothingVaries } from "./prototypes.ts"
import { makeRandom } from "./random.ts"
import { type SchemaColumn, schemaOf } from "./schema.ts"
import type { Table } from "./session.ts"
import { openTable, type TableReader } from "./tableReader.ts"
import { type TrainOptions, type TrainPhase, trainDefaults, trainModel } from "./trainModel.ts"

export interface TrainTableOptions {
  /** CSV or JSON lines (`.jsonl`, `.ndjson`, `.json`); `.gz` of either. */
  readonly input: string
  /** Folder for the bundle. */
  readonly output: string
  /** Name in the manifest; the output's own by default. */
  readonly name?: string | undefined
  readonly seed?: number | undefined
  /** Column that is never trained on. */
  readonly label?: string | undefined
  /** Declares the columns; without it they are inferred. */
  readonly definition?: StreamDefinition | undefined
  readonly header?: boolean | "auto" | undefined
  /** Share of suspect rows to leave out, 0 to 0.5; 0.1 by default. */
  readonly trim?: number | undefined
  /** `fast`: the first stage alone; `full`, the default: the fusion as well. */
  readonly energy?: TrainOptions["energy"] | undefined
  /** Rows in the sample; 200,000 by default, fewer for very wide tables. */
  readonly sampleRowsMax?: number | undefined
  /** How a row (from 1) is told in notices; by row and line in the file without it. */
  readonly where?: ((row: number, line: number) => string) | undefined
  readonly progress?: ((phase: TrainPhase, done: number, total: number) => void) | undefined
}

export interface TrainSummary {
  readonly digest: string
  readonly output: string
  /** Rows read well, rows in the sample, rows that could not be read, rows left out as suspect. */
  readonly rows: number
  readonly sampled: number
  readonly skipped: number
  readonly trimmed: number
  readonly columns: ReadonlyArray<TableColumn>
  /** What was found in each column, in the same order. */
  readonly schema: ReadonlyArray<SchemaColumn>
  readonly prototypes: number
  readonly heldBack: number
  readonly seconds: number
  /** What a person should know: columns left out, broken rows by line, cells that could not be read. */
  readonly notices: ReadonlyArray<string>
}

const SAMPLE_ROWS_MAX = 200_000
/** 256 MiB of Float32. */
const SAMPLE_CELLS_MAX = 64 * 1024 * 1024
const ROWS_MIN = 20

const refuse = (input: string, reason: TableRefused["reason"], detail: string, advice: string) =>
  new TableRefused({ input, reason, detail, advice })

/** File and compression faults as something to act on; anything else stays what it is. */
export const asTableRefused = (input: string, cause: unknown): TableRefused => {
  if (cause instanceof TableRefused) return cause
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === "ENOENT") return refuse(input, "missing-file", "there is no such file", "check the path")
  if (cause instanceof NothingVaries) {
    return refuse(input, "only-constants", message, "give rows in which at least one column varies")
  }
  if (cause instanceof PlaceTaken) return refuse(input, "output", message, "name another output folder")
  return refuse(
    input,
    "unreadable",
    `it could not be read (${message})`,
    "check that it is a CSV or JSONL file"
  )
}

interface Survey {
  readonly reader: TableReader
  readonly columns: ReadonlyArray<ColumnSurvey>
  readonly rows: number
  readonly broken: Faults
}

const survey = async (options: TrainTableOptions, signal: AbortSignal): Promise<Survey> => {
  const { input, label, where = rowAndLine } = options
  const reader = await openTable(input, { header: options.header, label })
  const columns: Array<ColumnSurvey> = []
  const broken = new Faults()
  let rows = 0
  for await (const lot of reader.lots()) {
    signal.throwIfAborted()
    if (reader.names.length > COLUMNS_MAX) {
      const detail = `it has ${reader.names.length} columns, more than the ${COLUMNS_MAX} a model can have`
      throw refuse(
        input,
        "too-many-columns",
        detail,
        "leave out columns, or name those that matter in a stream definition"
      )
    }
    for (const row of lot) {
      if (row.cells === undefined) {
        broken.addRow(where(rows + broken.count + 1, row.line), row)
        continue
      }
      const number = rows + broken.count + 1
      while (columns.length < reader.names.length) {
        const late = newSurvey(reader.names[columns.length])
        late.missing = rows
        columns.push(late)
      }
      for (let at = 0; at < columns.length; at++) surveyCell(columns[at], row.cells[at], number, row.line)
      rows++
    }
    options.progress?.("read", rows, 0)
  }
  return { reader, columns, rows, broken }
}

const sample = async (
  reader: TableReader,
  writer: ReturnType<typeof makeRowWriter>,
  rowsMax: number,
  total: number,
  options: TrainTableOptions,
  signal: AbortSignal
): Promise<Table> => {
  const { width } = writer
  const size = Math.min(total, rowsMax, Math.max(1, Math.floor(SAMPLE_CELLS_MAX / width)))
  const rows = new Float32Array(size * width)
  const random = makeRandom(options.seed ?? trainDefaults.seed, 10)
  let seen = 0
  for await (const lot of reader.lots()) {
    signal.throwIfAborted()
    for (const row of lot) {
      if (row.cells === undefined || seen >= total) continue
      // Reservoir (Vitter 1985, algorithm R): every row has the same chance to be in the sample.
      const place = seen < size ? seen : random.below(seen + 1)
      seen++
      if (place < size) writer.write(row.cells, rows, place * width)
    }
    options.progress?.("read", total + seen, 2 * total)
  }
  return { rows, count: Math.min(size, seen), width }
}

const check = ({ columns, rows, broken, reader }: Survey, { input, label }: TrainTableOptions) => {
  if (label !== undefined && !columns.some((column) => column.name === label)) {
    const names = reader.names.slice(0, 8).join(", ")
    const detail = `it has no column ${label}; it has ${names === "" ? "none" : names}${reader.names.length > 8 ? ", …" : ""}`
    throw refuse(input, "no-label-column", detail, "name one of its columns as the label, or none")
  }
  if (rows === 0) {
    const detail =
      broken.count === 0
        ? "it has no rows"
        : `none of its ${broken.count} rows can be read (${broken.examples[0]})`
    throw refuse(input, "no-rows", detail, "give a table with a row per line")
  }
  if (rows < ROWS_MIN) {
    const detail = `it has ${rows === 1 ? "a single row" : `${rows} rows`}, and a model of normal needs at least ${ROWS_MIN}`
    throw refuse(input, "too-few-rows", detail, "give more rows; 500 or more make a useful model")
  }
  const trained = columns.filter((column) => column.name !== label)
  if (trained.every((column) => column.numbers + column.texts === 0)) {
    throw refuse(input, "all-missing", "every cell is missing", "give rows with values")
  }
}

/** Trains on a file of rows and writes a bundle. Same file, same seed, same graphs. */
export const trainTable = (options: TrainTableOptions): Effect.Effect<TrainSummary, TableRefused> =>
  Effect.gen(function* () {
    const startedAt = yield* Clock.currentTimeMillis
    const fitted = yield* Effect.tryPromise({
      try: (signal) => fitTable(options, signal),
      catch: (cause) => asTableRefused(options.input, cause)
    })
    const endedAt = yield* Clock.currentTimeMillis
    const seconds = (endedAt - startedAt) / 1000
    options.progress?.("write", 0, 1)
    const digest = yield* Effect.tryPromise({
      try: () =>
        writeBundle(options.output, {
          name: options.name ?? basename(options.output),
          createdAt: new Date(endedAt).toISOString(),
          seconds,
          seed: options.seed ?? trainDefaults.seed,
          input: { kind: "table", columns: fitted.columns },
          features: fitted.features,
          vocabularies: fitted.vocabularies,
          population: {},
          rows: fitted.rows,
          skipped: fitted.broken.count,
          trained: fitted.trained
        }),
      catch: (cause) =>
        cause instanceof PlaceTaken
          ? refuse(options.output, "output", cause.message, "name another output folder")
          : refuse(
              options.output,
              "output",
              `it cannot be written (${(cause as Error).message})`,
              "name another output folder"
            )
    })
    options.progress?.("write", 1, 1)
    return {
      digest,
      output: options.output,
      rows: fitted.rows,
      sampled: fitted.sampled,
      skipped: fitted.broken.count,
      trimmed: fitted.trained.trimmed,
      columns: fitted.columns,
      schema: fitted.schema,
      prototypes: fitted.trained.prototypes,
      heldBack: fitted.trained.heldBack,
      seconds,
      notices: fitted.notices
    }
  }).pipe(Effect.withSpan("train.table"))

/** What numeric columns could not read of all rows. */
const misreadCells = (
  surveys: ReadonlyArray<ColumnSurvey>,
  columns: ReadonlyArray<TableColumn>,
  where: typeof rowAndLine
): Faults => {
  const faults = new Faults()
  const numeric = surveys.filter((_, at) => columns[at].type === "number")
  numeric
    .flatMap(({ name, odd }) => odd.map((cell) => ({ ...cell, name })))
    .sort((a, b) => a.row - b.row)
    .forEach(({ row, line, name, cell }) => {
      faults.add(misreadCell(where(row, line), name, cell))
    })
  faults.count = numeric.reduce((sum, { words }) => sum + words, 0)
  return faults
}

const fitTable = async (options: TrainTableOptions, signal: AbortSignal) => {
  const found = await survey(options, signal)
  check(found, options)
  const { definition, label, input } = options
  const decided = found.columns.map((column) =>
    column.name === label
      ? {
          column: { name: column.name, type: "ignored" as const, log: false },
          vocabulary: [],
          why: undefined,
          notice: undefined
        }
      : definition === undefined
        ? decideColumn(column)
        : declaredColumn(column, definition)
  )
  const notices = decided.flatMap(({ notice }) => (notice === undefined ? [] : [notice]))
  if (decided.every(({ column }) => column.type === "ignored")) {
    throw refuse(
      input,
      "only-constants",
      `no column can be used: ${notices.slice(0, 4).join("; ")}`,
      "give numbers or categories that repeat"
    )
  }
  const vocabularies = Object.fromEntries(
    decided
      .filter(({ column }) => column.type === "category")
      .map(({ column, vocabulary }) => [column.name, vocabulary])
  )
  const inferred = decided.map(({ column }) => column)
  const writer = makeRowWriter(
    inferred,
    vocabularies,
    inferred.map((_, at) => at)
  )
  const rowsMax = options.sampleRowsMax ?? SAMPLE_ROWS_MAX
  const table = await sample(found.reader, writer, rowsMax, found.rows, options, signal)
  let feature = 0
  const columns = inferred.map((column) => {
    if (column.type === "ignored") return column
    const at = feature++
    const log = definition === undefined ? column.type === "number" && heavyTailed(table, at) : column.log
    return { ...column, log }
  })
  const trained = await trainModel(table, inputsOf(columns), {
    ...trainDefaults,
    seed: options.seed ?? trainDefaults.seed,
    trim: options.trim ?? trainDefaults.trim,
    energy: options.energy ?? trainDefaults.energy,
    signal,
    progress: options.progress
  })
  if (found.broken.count > 0) {
    notices.push(`${found.broken.count} rows could not be read: ${found.broken.told}`)
  }
  const misread = misreadCells(found.columns, columns, options.where ?? rowAndLine)
  if (misread.count > 0) {
    notices.push(
      `${misread.count} cells of numeric columns are no numbers and count as missing: ${misread.told}`
    )
  }
  return {
    trained,
    columns,
    schema: schemaOf(
      found.columns,
      columns,
      decided.map(({ why }) => why),
      found.rows,
      label
    ),
    vocabularies,
    features: writer.features,
    rows: found.rows,
    sampled: table.count,
    broken: found.broken,
    notices
  }
}
