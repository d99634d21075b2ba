// Finds out what the columns of a table hold, and turns rows into feature rows.
import type { FeatureSpec } from "../../schema/model/FeatureSpec.ts"
import type { Manifest, TableColumn } from "../../schema/model/Manifest.ts"
import type { StreamDefinition } from "../../schema/stream/StreamDefinition.ts"
import type { InputColumn } from "./encoder.ts"
import type { Table } from "./session.ts"
import { type Cell, isMissing, numberIn, type TableRow } from "./tableReader.ts"

/** Most columns a table may have; each costs memory for every row of the sample. */
export const COLUMNS_MAX = 4_096
/** Values of a category that get a column of their own; the rest count as unseen. */
export const LEVELS_MAX = 100
/** A value must have come this often to count as one of its category's. */
const LEVEL_ROWS_MIN = 2
/** Share of a column's values that must be numbers for it to be numeric. */
const NUMERIC_SHARE = 0.95
const DISTINCT_MAX = 5_000
/** Share of a growing column's steps that must be equal for it to count rows; broken rows leave gaps. */
const EVEN_SHARE = 0.95
/** Columns of texts that repeat less than this many times on average are names, not categories. */
const REPEATS_MIN = 2

/** What one pass has seen of a column. */
export interface ColumnSurvey {
  readonly name: string
  numbers: number
  missing: number
  texts: number
  /** First difference of two values, and how many have been equal to it: a row counter, or a clock. */
  step: number | undefined
  evenSteps: number
  /** True while every value is a number above the one before. */
  counting: boolean
  last: number
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
  step: undefined,
  evenSteps: 0,
  counting: true,
  last: Number.NaN,
  values: new Map(),
  fullAt: 0
})

/** Takes one cell into account. */
export const surveyCell = (survey: ColumnSurvey, cell: Cell): void => {
  if (isMissing(cell)) {
    survey.missing++
    survey.counting = false
    return
  }
  const value = typeof cell === "boolean" ? Number.NaN : numberIn(cell)
  if (Number.isNaN(value)) {
    survey.texts++
    survey.counting = false
    countValue(survey, String(cell).trim())
    return
  }
  survey.numbers++
  // Numbers are counted as text only while the column may still turn out to be a category.
  if (survey.texts > 0) countValue(survey, String(cell).trim())
  if (survey.counting && !Number.isNaN(survey.last)) {
    survey.step ??= value - survey.last
    if (value - survey.last === survey.step) survey.evenSteps++
    survey.counting = value > survey.last
  }
  survey.last = value
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
}

const ignored = (name: string, notice: string): Decided => ({
  column: { name, type: "ignored", log: false },
  vocabulary: [],
  notice: `column ${name} is left out: ${notice}`
})

const vocabularyOf = (survey: ColumnSurvey): ReadonlyArray<string> =>
  [...survey.values]
    .filter(([, times]) => times >= LEVEL_ROWS_MIN)
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .slice(0, LEVELS_MAX)
    .map(([text]) => text)

/** What a column holds, by what was seen of it. Logarithms are decided later, on the sample. */
export const decideColumn = (survey: ColumnSurvey): Decided => {
  const present = survey.numbers + survey.texts
  const { name } = survey
  if (present === 0) return ignored(name, "it has no values")
  if (survey.numbers >= NUMERIC_SHARE * present) {
    if (survey.counting && survey.numbers > 2 && survey.evenSteps >= EVEN_SHARE * (survey.numbers - 1)) {
      return ignored(name, `it counts the rows in steps of ${survey.step}`)
    }
    return { column: { name, type: "number", log: false }, vocabulary: [], notice: undefined }
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
    notice: undefined
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
    notice: undefined
  }
}

/** Turns rows into feature rows: one value for each column that is not ignored, in order. */
export interface RowWriter {
  readonly width: number
  readonly features: ReadonlyArray<FeatureSpec>
  /** Writes one row; counts cells that a numeric column could not read, and takes them as missing. */
  readonly write: (cells: ReadonlyArray<Cell>, rows: Float32Array, at: number) => number
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
    write: (cells, rows, at) => {
      let unreadable = 0
      for (let index = 0; index < used.length; index++) {
        const { column, place, levels } = used[index]
        const cell = place < 0 ? null : cells[place]
        if (column.type === "category") {
          rows[at + index] = isMissing(cell) ? -2 : (levels.get(String(cell).trim()) ?? -1)
          continue
        }
        let value = numberIn(cell)
        if (Number.isNaN(value) && typeof cell === "string" && /^(true|false)$/i.test(cell.trim())) {
          value = cell.trim().toLowerCase() === "true" ? 1 : 0
        }
        if (Number.isNaN(value) && !isMissing(cell)) unreadable++
        rows[at + index] = value
      }
      return unreadable
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

/** Takes broken rows into account: how many, and the first few by line. */
export class BrokenRows {
  count = 0
  readonly examples: Array<string> = []

  add(row: TableRow): void {
    this.count++
    if (this.examples.length < 10) this.examples.push(`line ${row.line}: ${row.fault}`)
  }
}
