// A record of a log as a line of JSON, for whoever reads events from a file.
import type { RecordBatch } from "../../schema/event/Batch.ts"
import type { SourceFormat } from "../../schema/stream/StreamDefinition.ts"
import { decodeBase64, isBinaryMode } from "./cloudEvents.ts"

export interface EventForm {
  /** Undefined: told from each record. */
  readonly format: SourceFormat | undefined
  /** `event`: what the fields lie in; `record`: with the envelope of a CloudEvent, as a cell reads it. */
  readonly as: "event" | "record"
}

const utf8 = new TextDecoder()
const text = new TextEncoder()
const NEWLINE = 10
const RETURN = 13
const SPACE = 32

/** The event inside a structured CloudEvent; undefined where this is none. */
const inner = (value: Uint8Array): Uint8Array | undefined => {
  const written = utf8.decode(value)
  if (!written.includes('"specversion"')) return undefined
  try {
    const envelope = JSON.parse(written) as Readonly<Record<string, unknown>>
    if (typeof envelope["data_base64"] === "string") return decodeBase64(envelope["data_base64"])
    return envelope["data"] === undefined ? undefined : text.encode(JSON.stringify(envelope["data"]))
  } catch {
    return undefined
  }
}

/** A binary CloudEvent as a structured one; undefined where the value is no JSON. */
const enveloped = (value: Uint8Array, headers: Readonly<Record<string, string>>): Uint8Array | undefined => {
  try {
    const attributes = Object.entries(headers).flatMap(([name, attribute]) =>
      name.startsWith("ce_") ? [[name.slice(3), attribute] as const] : []
    )
    return text.encode(
      JSON.stringify({ ...Object.fromEntries(attributes), data: JSON.parse(utf8.decode(value)) })
    )
  } catch {
    return undefined
  }
}

const valueOf = (
  value: Uint8Array,
  headers: Readonly<Record<string, string>> | undefined,
  form: EventForm
) => {
  if (form.format === "json") return value
  if (isBinaryMode(headers)) return form.as === "event" ? value : (enveloped(value, headers) ?? value)
  return form.as === "event" ? (inner(value) ?? value) : value
}

/**
 * The record's event on one line, with the line break, undefined for a tombstone. Bytes that are no JSON stay as they
 * are but for line breaks, which JSON has between its parts only.
 */
export const eventLine = (batch: RecordBatch, row: number, form: EventForm): Uint8Array | undefined => {
  const from = batch.starts[row]
  if (from < 0) return undefined
  const value = valueOf(batch.bytes.subarray(from, batch.ends[row]), batch.headers?.get(row), form)
  const line = new Uint8Array(value.length + 1)
  line.set(value)
  for (let at = 0; at < value.length; at++) {
    if (line[at] === NEWLINE || line[at] === RETURN) line[at] = SPACE
  }
  line[value.length] = NEWLINE
  return line
}
