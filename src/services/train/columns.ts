// Finds out what the columns of a table hold, and turns rows into feature rows.
import type { FeatureSpec } from "../../schema/model/FeatureSpec.ts"
import type { Manifest, TableColumn } from "../../schema/model/Manifest.ts"
import type { StreamDefinition } from "../../schema/stream/StreamDefinition.ts"
import type { InputColumn } from "./encoder.ts"
import type { Table } from "./session.ts"
import { type Cell, isMissing, numberIn, type TableRow } from "./tableReader.ts"

/** Most columns a table may have; each costs memory for every row of the sample. */
export const COLUMNS_MAX = 16_384
/** Values of a category that get a column of their own; the rest count as unseen. */
export const LEVELS_MAX = 100
/** A value must have come this often to count as one of its category's. */
const LEVEL_ROWS_MIN = 2
/** Share of a column's values that must be numbers for it to be numeric. */
const NUMERIC_SHARE = 0.95
const DISTINCT_MAX = 5_000
/** Share of a column's steps that must rise, where none falls, for it to run along with the rows. */
const RUNNING_SHARE = 0.5
/** Fewer values than this run along by chance. */
const RUNNING_ROWS_MIN = 10
/** How straight it must run: a clock or a counter does, a feature that the file is sorted by bends at its ends. */
const STRAIGHT = 0.98
/** Names of what runs along with the rows, however unevenly. */
const runningNames =
  /^(time|date|timestamp|datetime|ts|epoch|seq|sequence|row|index|offset)$|(_|\b)(time|timestamp|date|at|seq|index)$/i
const idNames = /(^|[_\-. ])(id|ids|uid|uuid|guid|key)$|^id[_\-. ]|[a-z]Id$/
/** A date or a time as text: 2024-01-31, 31/01/2024, 12:30:00 or both. */
const dateText =
  /^(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})([T ].*)?$|^\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?$/
/** Columns of texts that repeat less than this many times on average are names, not categories. */
const REPEATS_MIN = 2

/** What one pass has seen of a column. */
export interface ColumnSurvey {
  readonly name: string
  numbers: number
  missing: number
  texts: number
  /** Texts but true and false, and the first of them: what a numeric column can't read. */
  words: number
  readonly odd: Array<{ readonly row: number; readonly line: number; readonly cell: Cell }>
  /** Texts that read as a date or a time of day. */
  dates: number
  /** Steps from one number to the next that go up, and down. */
  rises: number
  falls: number
  first: number
  last: number
  /** Bounds of the finite numbers. */
  low: number
  high: number
  /** Sums over numbers i = 0, 1, … with v = value − first: of v, v², i·v. They tell how straight the numbers run. */
  sum: number
  squares: number
  product: number
  /** True while every number is a whole one. */
  whole: boolean
  /** Its name says that it identifies rows; then its numbers are counted in `values`, too. */
  readonly identifier: boolean
  /** Times each value came; no new values after `DISTINCT_MAX`. */
  readonly values: Map<string, number>
  /** Values seen when the map was full; 0 while it is not. */
  fullAt: number
}

export const newSurvey = (name: string): ColumnSurvey => ({
  name,
  numbers: 0,
  missing: 0,
  texts: 0,
  words: 0,
  odd: [],
  dates: 0,
  rises: 0,
  falls: 0,
  first: Number.NaN,
  last: Number.NaN,
  low: Number.POSITIVE_INFINITY,
  high: Number.NEGATIVE_INFINITY,
  sum: 0,
  squares: 0,
  product: 0,
  whole: true,
  identifier: idNames.test(name),
  values: new Map(),
  fullAt: 0
})

/** Takes one cell into account; `row` and `line` tell where it stands. */
export const surveyCell = (survey: ColumnSurvey, cell: Cell, row: number, line: number): void => {
  if (isMissing(cell)) {
    survey.missing++
    return
  }
  const value = typeof cell === "boolean" ? Number.NaN : numberIn(cell)
  if (Number.isNaN(value)) {
    const text = String(cell).trim()
    survey.texts++
    if (!isTruthWord(cell) && typeof cell !== "boolean") {
      survey.words++
      if (survey.odd.length < EXAMPLES_MAX) survey.odd.push({ row, line, cell })
    }
    if (dateText.test(text)) survey.dates++
    countValue(survey, text)
    return
  }
  // Numbers are counted as text only while the column may still turn out to be a category or an identifier.
  if (survey.texts > 0 || survey.identifier) countValue(survey, String(cell).trim())
  if (survey.numbers === 0) survey.first = value
  else if (value > survey.last) survey.rises++
  else if (value < survey.last) survey.falls++
  if (Number.isFinite(value)) {
    survey.low = Math.min(survey.low, value)
    survey.high = Math.max(survey.high, value)
  }
  const run = value - survey.first
  survey.sum += run
  survey.squares += run * run
  survey.product += survey.numbers * run
  survey.whole &&= Number.isInteger(value)
  survey.last = value
  survey.numbers++
}

const countValue = (survey: ColumnSurvey, text: string) => {
  const before = survey.values.get(text)
  if (before !== undefined) survey.values.set(text, before + 1)
  else if (survey.values.size < DISTINCT_MAX) survey.values.set(text, 1)
  else if (survey.fullAt === 0) survey.fullAt = survey.texts + survey.numbers
}

export interface Decided {
  readonly column: TableColumn
  /** Values of a category, the most frequent first. */
  readonly vocabulary: ReadonlyArray<string>
  /** Said to the person who trains: why a column is left out. */
  readonly notice: string | undefined
  /** The same without the column's name. */
  readonly why: string | undefined
}

const ignored = (name: string, why: string): Decided => ({
  column: { name, type: "ignored", log: false },
  vocabulary: [],
  notice: `column ${name} is left out: ${why}`,
  why
})

const vocabularyOf = (survey: ColumnSurvey): ReadonlyArray<string> =>
  [...survey.values]
    .filter(([, times]) => times >= LEVEL_ROWS_MIN)
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .slice(0, LEVELS_MAX)
    .map(([text]) => text)

/**
 * Does the column run along with the rows, as a clock or a counter does? Rows to come lie beyond all it has been, so
 * that a model with it would find every one of them strange.
 */
export const runsAlong = ({ name, numbers, rises, falls, sum, squares, product }: ColumnSurvey): boolean => {
  if (numbers < RUNNING_ROWS_MIN || Math.min(rises, falls) > 0) return false
  if (Math.max(rises, falls) < RUNNING_SHARE * (numbers - 1)) return false
  const middle = (numbers - 1) / 2
  const spread = Math.sqrt((squares - (sum * sum) / numbers) * ((numbers * (numbers * numbers - 1)) / 12))
  return runningNames.test(name) || Math.abs(product - middle * sum) >= STRAIGHT * spread
}

/** What a column holds, by what was seen of it. Logarithms are decided later, on the sample. */
export const decideColumn = (survey: ColumnSurvey): Decided => {
  const present = survey.numbers + survey.texts
  const { name } = survey
  if (present === 0) return ignored(name, "it has no values")
  if (survey.numbers >= NUMERIC_SHARE * present) {
    if (runsAlong(survey)) {
      return ignored(
        name,
        `it only ever ${survey.falls === 0 ? "grows" : "falls"} from row to row (a time or a counter)`
      )
    }
    if (survey.whole && survey.values.size > 20 && survey.values.size === Math.min(present, DISTINCT_MAX)) {
      return ignored(name, "every number in it is different and its name is an identifier's")
    }
    return { column: { name, type: "number", log: false }, vocabulary: [], notice: undefined, why: undefined }
  }
  if (survey.dates >= NUMERIC_SHARE * present) {
    return ignored(name, "it holds dates or times, of which later rows have others")
  }
  const seen = survey.fullAt > 0 ? survey.fullAt : present
  if (survey.values.size > LEVELS_MAX && seen < REPEATS_MIN * survey.values.size) {
    return ignored(name, "its texts hardly ever repeat (identifiers, times or free text)")
  }
  if (survey.values.size > 20 && survey.values.size === present) {
    return ignored(name, "every text in it is different (identifiers, times or free text)")
  }
  return {
    column: { name, type: "category", log: false },
    vocabulary: vocabularyOf(survey),
    notice: undefined,
    why: undefined
  }
}

/** Columns as a stream definition declares them; what it does not name is left out. */
export const declaredColumn = (survey: ColumnSurvey, definition: StreamDefinition): Decided => {
  const entry = Object.entries(definition.fields).find(
    ([name, field]) => (field.path ?? name) === survey.name
  )
  if (entry === undefined) return ignored(survey.name, "the stream definition does not name it")
  const field = entry[1]
  return {
    column: {
      name: survey.name,
      type: field.type === "category" ? "category" : "number",
      log: field.type === "number" && field.scale === "log"
    },
    vocabulary: field.type === "category" ? vocabularyOf(survey) : [],
    notice: undefined,
    why: undefined
  }
}

const isTruthWord = (cell: Cell): cell is string =>
  typeof cell === "string" && /^(true|false)$/i.test(cell.trim())

/** Turns rows into feature rows: one value for each column that is not ignored, in order. */
export interface RowWriter {
  readonly width: number
  readonly features: ReadonlyArray<FeatureSpec>
  /** Writes one row. A cell that a numeric column can't read is told to `misread`, and taken as missing. */
  readonly write: (
    cells: ReadonlyArray<Cell>,
    rows: Float32Array,
    at: number,
    misread?: (column: string, cell: Cell) => void
  ) => void
}

export const makeRowWriter = (
  columns: ReadonlyArray<TableColumn>,
  vocabularies: Manifest["vocabularies"],
  /** Where each column stands in the rows given; −1 where the table lacks it. */
  places: ReadonlyArray<number>
): RowWriter => {
  const used = columns
    .map((column, at) => ({
      column,
      place: places[at],
      levels: new Map((vocabularies[column.name] ?? []).map((text, level) => [text, level]))
    }))
    .filter(({ column }) => column.type !== "ignored")
  return {
    width: used.length,
    features: used.map(({ column }) => ({
      kind: column.type === "number" ? ("value" as const) : ("category" as const),
      field: column.name
    })),
    write: (cells, rows, at, misread) => {
      for (let index = 0; index < used.length; index++) {
        const { column, place, levels } = used[index]
        const cell = place < 0 ? null : cells[place]
        if (column.type === "category") {
          rows[at + index] = isMissing(cell) ? -2 : (levels.get(String(cell).trim()) ?? -1)
          continue
        }
        let value = numberIn(cell)
        if (Number.isNaN(value) && isTruthWord(cell)) value = cell.trim().toLowerCase() === "true" ? 1 : 0
        if (misread !== undefined && Number.isNaN(value) && !isMissing(cell)) misread(column.name, cell)
        rows[at + index] = value
      }
    }
  }
}

/**
 * Should a numeric column be taken by its logarithm? Non-negative, reaching into the hundreds, with its
 * highest thousandth far beyond its middle: counts, sizes and durations.
 */
export const heavyTailed = (table: Table, column: number): boolean => {
  const { rows, count, width } = table
  const values = new Float32Array(count)
  let size = 0
  for (let row = 0; row < count; row++) {
    const value = rows[row * width + column]
    if (Number.isFinite(value)) values[size++] = value
  }
  if (size === 0) return false
  const ascending = values.subarray(0, size).sort()
  const at = (share: number) => ascending[Math.floor(share * (size - 1))]
  return ascending[0] >= 0 && at(1) >= 100 && at(0.999) > 20 * (at(0.5) + 1)
}

/** Inputs of the graph for table columns in use. */
export const inputsOf = (columns: ReadonlyArray<TableColumn>): ReadonlyArray<InputColumn> =>
  columns
    .filter((column) => column.type !== "ignored")
    .map((column) => ({ kind: column.type === "number" ? "number" : "category", log: column.log }))

/** Faults listed by example; the rest are counted. */
const EXAMPLES_MAX = 10
const CELL_SHOWN = 40

const shown = (cell: Cell) => {
  const text = String(cell).trim()
  return JSON.stringify(text.length > CELL_SHOWN ? `${text.slice(0, CELL_SHOWN)}…` : text)
}

/** Where a row (from 1) of a file stands. */
export const rowAndLine = (row: number, line: number): string => `row ${row} (line ${line})`

/** A cell of a numeric column that holds no number. */
export const misreadCell = (where: string, column: string, cell: Cell): string =>
  `${where}, column ${column}: ${shown(cell)} is no number`

/** Takes faults of a table into account: how many, and the first few by where they are. */
export class Faults {
  count = 0
  readonly examples: Array<string> = []

  add(example: string): void {
    this.count++
    if (this.examples.length < EXAMPLES_MAX) this.examples.push(example)
  }

  /** A row that can't be read. */
  addRow(where: string, { fault }: TableRow): void {
    this.add(`${where}: ${fault}`)
  }

  /** The examples as one text, with `…` where there are more. */
  get told(): string {
    return `${this.examples.join("; ")}${this.count > this.examples.length ? "; …" : ""}`
  }
}
