// What each form of body means for a stream: the rows that go to its log.
import type { EventMediaType } from "../../schema/api/EventsApi.ts"
import type { SourceFormat } from "../../schema/stream/StreamDefinition.ts"
import { binaryProblem } from "../ingest/cloudEvents.ts"
import { envelopeData } from "./cloudEventRows.ts"
import type { RawRow, RowFault } from "./rowCheck.ts"
import { type SplitFault, splitJson, splitLines } from "./splitRows.ts"

export interface EventRows {
  readonly _tag: "Rows"
  readonly rows: ReadonlyArray<RawRow>
  /** What is wrong with the envelopes of CloudEvents, and in which rows. */
  readonly faults: ReadonlyArray<RowFault>
  readonly faulty: ReadonlySet<number>
}

export type RequestRows = EventRows | SplitFault

const arrayRule = {
  "application/json": "maybe",
  "application/cloudevents+json": "no",
  "application/cloudevents-batch+json": "must"
} as const

const envelopeFault = (row: number, detail: string): RowFault => ({
  row,
  reason: "bad-envelope",
  field: /^(?:attribute|header) ([^\s:]+):/.exec(detail)?.[1],
  detail
})

/**
 * Splits a body into rows.
 * - binary mode (`headers` there): the whole body is the data of one event; the record gets the attributes;
 * - a stream of CloudEvents takes envelopes as they are;
 * - a stream of plain JSON takes the `data` of envelopes, with its own bytes.
 */
export const eventRows = (
  format: SourceFormat,
  type: EventMediaType,
  headers: Readonly<Record<string, string>> | undefined,
  body: Uint8Array,
  options: { readonly rowsMax: number; readonly single: boolean }
): RequestRows => {
  const one = options.single || headers !== undefined
  const split =
    type === "application/x-ndjson"
      ? splitLines(body, options.rowsMax)
      : splitJson(body, one ? "no" : arrayRule[type], options.rowsMax)
  if ("_tag" in split) return split
  const faults: Array<RowFault> = []
  if (headers !== undefined) {
    const problem = binaryProblem(headers)
    if (problem !== undefined) faults.push(envelopeFault(0, problem.replace("header ce_", "header ce-")))
  }
  const unwrap = format === "json" && type.startsWith("application/cloudevents")
  const rows = split.starts.map((start, row): RawRow => {
    const whole = { bytes: split.bytes, start, end: split.ends[row], headers }
    if (!unwrap) return whole
    const data = envelopeData(split.bytes, start, split.ends[row])
    if (data._tag === "Data")
      return { bytes: data.bytes, start: data.start, end: data.end, headers: undefined }
    faults.push(envelopeFault(row, data.detail))
    return whole
  })
  return { _tag: "Rows", rows, faults, faulty: new Set(faults.map(({ row }) => row)) }
}
