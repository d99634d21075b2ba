// Checks events before they go to the log, with the very decoder that their cell will use.

import { type Interner, makeEventColumns, type RecordBatch } from "../../schema/event/Batch.ts"
import { type DeadLetterReason, makeRejects } from "../../schema/event/DeadLetter.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { makeDecoder } from "../ingest/decode.ts"
import type { DecodeLimits } from "../ingest/limits.ts"
import { internEach } from "../state/interner.ts"

/** An event as it would be appended: its own bytes, and headers where it has any. */
export interface RawRow {
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
  readonly headers: Readonly<Record<string, string>> | undefined
}

export interface RowFault {
  readonly row: number
  readonly reason: DeadLetterReason
  /** The field, where the reason is about one. */
  readonly field: string | undefined
  readonly detail: string
}

export interface CheckedRows {
  /** UTF-8 of each row's device; undefined where the row is refused. */
  readonly devices: ReadonlyArray<Uint8Array | undefined>
  readonly faults: ReadonlyArray<RowFault>
}

export interface RowCheck {
  /** recordTime: the log's time that the events would have, epoch ms. */
  readonly check: (rows: ReadonlyArray<RawRow>, recordTime: number) => CheckedRows
}

const CHUNK_ROWS = 256

/** Refuses every value: a full dictionary. Categories are not needed here, and must not be kept. */
const fullInterner: Interner = {
  count: 0,
  intern: () => -1,
  internMany: internEach(() => -1),
  find: () => -1,
  text: () => ""
}

const fieldOf = (detail: string): string | undefined =>
  /^(?:field|device|time|id|attribute|header) ([^\s:]+):/.exec(detail)?.[1]

/** Compiles a plan. The check is one synchronous call; nothing of a row is kept after it. */
export const makeRowCheck = (plan: StreamPlan, limits: DecodeLimits): RowCheck => {
  let arrived: Array<Uint8Array> = []
  // Gives each taken event its own number, so that the decoder's device column points to the row's own device.
  // A copy: the decoder may hand over scratch space, and `slice` of a Buffer is a view.
  const arrive: Interner["intern"] = (bytes, start, end) =>
    arrived.push(new Uint8Array(bytes.subarray(start, end))) - 1
  const devices: Interner = {
    get count() {
      return arrived.length
    },
    intern: arrive,
    internMany: internEach(arrive),
    find: () => -1,
    text: (id) => Buffer.from(arrived[id]).toString("utf8")
  }
  const decoder = makeDecoder(plan, { devices, categories: plan.categories.map(() => fullInterner) }, limits)
  const columns = makeEventColumns(CHUNK_ROWS, plan.numbers.length, plan.categories.length)

  const checkChunk = (batch: RecordBatch, first: number, owners: Array<Uint8Array | undefined>) => {
    const rejects = makeRejects()
    columns.count = 0
    arrived = []
    decoder.decode(batch, 0, batch.count, columns, rejects)
    for (let i = 0; i < columns.count; i++) owners[first + columns.record[i]] = arrived[columns.device[i]]
    return rejects
  }

  return {
    check: (rows, recordTime) => {
      const owners: Array<Uint8Array | undefined> = new Array(rows.length).fill(undefined)
      const faults: Array<RowFault> = []
      for (let first = 0; first < rows.length; ) {
        // Rows of one chunk lie over the same bytes; a row with bytes of its own is a chunk by itself.
        const bytes = rows[first].bytes
        let last = first + 1
        while (last < rows.length && last - first < CHUNK_ROWS && rows[last].bytes === bytes) last++
        const chunk = rows.slice(first, last)
        const headers = new Map<number, Readonly<Record<string, string>>>()
        chunk.forEach((row, r) => {
          if (row.headers !== undefined) headers.set(r, row.headers)
        })
        const batch: RecordBatch = {
          count: chunk.length,
          offsets: Float64Array.from(chunk, (_, r) => r),
          timestamps: new Float64Array(chunk.length).fill(recordTime),
          bytes,
          starts: Int32Array.from(chunk, (row) => row.start),
          ends: Int32Array.from(chunk, (row) => row.end),
          headers: headers.size === 0 ? undefined : headers,
          unreadable: [],
          nextOffset: chunk.length,
          endOffset: chunk.length
        }
        const rejects = checkChunk(batch, first, owners)
        for (let k = 0; k < rejects.count; k++) {
          const detail = rejects.detail[k]
          faults.push({
            row: first + rejects.record[k],
            reason: rejects.reason[k],
            field: fieldOf(detail),
            detail
          })
        }
        first = last
      }
      return { devices: owners, faults }
    }
  }
}
