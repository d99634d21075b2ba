// Turns rows of a CSV file into event JSON, for `replay` and `produce`: one row, one object.
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"

/** How a column's cells are read; `auto` decides cell by cell. */
export type CsvKind = "auto" | "text" | "number" | "boolean" | "time"

export interface CsvColumn {
  /** One key per level of nesting. */
  readonly path: ReadonlyArray<string>
  readonly kind: CsvKind
}

/**
 * Columns of a file with this header. A plan tells which cells stay text (device, id, categories) although
 * they look like numbers; a header such as `a.b` nests where the plan declares that path.
 */
export const csvColumns = (header: ReadonlyArray<string>, plan?: StreamPlan): ReadonlyArray<CsvColumn> => {
  const kinds = new Map<string, CsvColumn>()
  if (plan !== undefined) {
    const declare = (path: ReadonlyArray<string>, kind: CsvKind) => kinds.set(path.join("."), { path, kind })
    for (const column of plan.numbers) declare(column.path, column.boolean ? "boolean" : "number")
    for (const column of plan.categories) declare(column.path, "text")
    if (plan.id !== undefined) declare(plan.id, "text")
    if (plan.time !== undefined) declare(plan.time, "time")
    declare(plan.device, "text")
  }
  return header.map((name) => kinds.get(name.trim()) ?? { path: [name.trim()], kind: "auto" })
}

/** No leading zeros, so that `007` stays a text; `.5`, `5.` and `+5` count, as tools write them. */
const numeric = /^[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/
/** A date and a time of day without a zone. */
const zoneless = /^(\d{4}-\d{2}-\d{2})[ Tt](\d{2}:\d{2}:\d{2}(?:\.\d+)?)$/

/** undefined where the cell is empty or NaN: the field is missing. */
const cellValue = (text: string, kind: CsvKind): string | number | boolean | undefined => {
  const cell = text.trim()
  if (cell === "") return undefined
  if (kind === "text") return cell
  if (cell === "NaN" || cell === "nan") return undefined
  if (kind === "boolean" && (cell === "0" || cell === "1")) return cell === "1"
  if (kind === "boolean" || kind === "auto") {
    if (cell === "true" || cell === "True") return true
    if (cell === "false" || cell === "False") return false
  }
  if (numeric.test(cell)) {
    const value = Number(cell)
    // An integer that a number cannot hold stays as it is written.
    if (Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))) return value
  }
  // Files without a zone are taken as UTC; an event's time must have one.
  if (kind === "time" && zoneless.test(cell)) return cell.replace(zoneless, "$1T$2Z")
  return cell
}

/** The event of one row. Cells beyond the header are dropped; missing ones are missing fields. */
export const csvEvent = (
  columns: ReadonlyArray<CsvColumn>,
  row: ReadonlyArray<string>
): Readonly<Record<string, unknown>> => {
  const event: Record<string, unknown> = Object.create(null)
  for (let i = 0; i < columns.length && i < row.length; i++) {
    const { kind, path } = columns[i]
    const value = cellValue(row[i], kind)
    if (value === undefined) continue
    let level = event
    for (let depth = 0; depth < path.length - 1; depth++) {
      const below = level[path[depth]]
      const next: Record<string, unknown> =
        typeof below === "object" && below !== null ? (below as Record<string, unknown>) : Object.create(null)
      level[path[depth]] = next
      level = next
    }
    level[path[path.length - 1]] = value
  }
  return event
}

/** The event of one row as JSON text. */
export const csvEventJson = (columns: ReadonlyArray<CsvColumn>, row: ReadonlyArray<string>): string =>
  JSON.stringify(csvEvent(columns, row))
