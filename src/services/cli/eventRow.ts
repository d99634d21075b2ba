// Rows of a table as events: what a CSV cell becomes in JSON, and which text keys an event.
import type { Field, StreamDefinition } from "../../schema/stream/StreamDefinition.ts"

type Kind = "number" | "boolean" | "text" | "time" | "auto"

/** How a column is written into the event: where it lies, and as what. */
export interface EventColumn {
  readonly path: ReadonlyArray<string>
  readonly kind: Kind
}

const missing = new Set(["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"])

const kindOf = (field: Field): Kind =>
  field.type === "number" ? "number" : field.type === "boolean" ? "boolean" : "text"

/**
 * The columns of a CSV header as places of an event. With a definition the declared fields have their types
 * and paths; what it does not name is taken as it looks, as is everything without a definition.
 */
export const eventColumns = (
  names: ReadonlyArray<string>,
  definition: StreamDefinition | undefined
): ReadonlyArray<EventColumn> => {
  const declared = new Map<string, EventColumn>()
  if (definition !== undefined) {
    for (const [name, field] of Object.entries(definition.fields)) {
      const column: EventColumn = { path: (field.path ?? name).split("."), kind: kindOf(field) }
      declared.set(name, column)
      declared.set(field.path ?? name, column)
    }
    const { device, id, time } = definition.identity
    if (time !== undefined) declared.set(time, { path: time.split("."), kind: "time" })
    declared.set(device, { path: device.split("."), kind: "text" })
    if (id !== undefined) declared.set(id, { path: id.split("."), kind: "text" })
  }
  return names.map(
    (name) =>
      declared.get(name) ?? { path: definition === undefined ? [name] : name.split("."), kind: "auto" }
  )
}

// JSON's own number syntax: `007` and `+1` stay texts, as they would not come back the same.
const isNumber = (text: string): boolean =>
  /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text) && Number.isFinite(Number(text))

/** A date and a time of day without a zone. */
const zoneless = /^(\d{4}-\d{2}-\d{2})[ Tt](\d{2}:\d{2}:\d{2}(?:\.\d+)?)$/

const valueOf = (kind: Kind, cell: string): string | number | boolean => {
  if (kind === "text") return cell
  const text = cell.trim()
  if (kind !== "boolean" && isNumber(text)) return Number(text)
  // Files without a zone are taken as UTC, as `replay` takes them; an event's time must have one.
  if (kind === "time") return text.replace(zoneless, "$1T$2Z")
  if (kind !== "number") {
    if (/^(true|false)$/i.test(text)) return text.toLowerCase() === "true"
    if (kind === "boolean" && (text === "1" || text === "0")) return text === "1"
  }
  // Left as it was written: the stream's own check says what is wrong with it.
  return cell
}

/** One row as JSON; missing cells are left out. */
export const eventJson = (columns: ReadonlyArray<EventColumn>, cells: ReadonlyArray<unknown>): string => {
  const event: Record<string, unknown> = {}
  for (let at = 0; at < columns.length; at++) {
    const cell = cells[at]
    if (cell === null || cell === undefined) continue
    const text = String(cell)
    if (missing.has(text.trim())) continue
    const { path, kind } = columns[at]
    let place = event
    for (const key of path.slice(0, -1)) {
      const inner = Object.hasOwn(place, key) ? place[key] : undefined
      if (typeof inner === "object" && inner !== null) place = inner as Record<string, unknown>
      else {
        const made: Record<string, unknown> = {}
        Object.defineProperty(place, key, {
          value: made,
          enumerable: true,
          writable: true,
          configurable: true
        })
        place = made
      }
    }
    Object.defineProperty(place, path[path.length - 1], {
      value: valueOf(kind, text),
      enumerable: true,
      writable: true,
      configurable: true
    })
  }
  return JSON.stringify(event)
}

/** The text or number at a dotted path of an event's JSON; undefined where there is none, or no JSON. */
export const keyOf = (json: string, path: string): string | undefined => {
  let at: unknown
  try {
    at = JSON.parse(json)
  } catch {
    return undefined
  }
  for (const key of path.split(".")) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return undefined
    at = (at as Record<string, unknown>)[key]
  }
  return typeof at === "string" ? at : typeof at === "number" ? String(at) : undefined
}
