// Builds RecordBatch values: growable columns for readers, and whole batches out of plain records.
import type { RecordBatch, UnreadableRecords } from "../../schema/event/Batch.ts"

/** Columns of a batch under construction; arrays grow, so read them from this object each time. */
export interface RecordColumns {
  count: number
  offsets: Float64Array
  timestamps: Float64Array
  starts: Int32Array
  ends: Int32Array
  headers: Map<number, Readonly<Record<string, string>>> | undefined
}

export const makeRecordColumns = (capacity: number): RecordColumns => ({
  count: 0,
  offsets: new Float64Array(capacity),
  timestamps: new Float64Array(capacity),
  starts: new Int32Array(capacity),
  ends: new Int32Array(capacity),
  headers: undefined
})

/** Makes room for `extra` more rows; keeps the `count` rows that are there. */
export const reserveRecords = (columns: RecordColumns, extra: number): void => {
  const needed = columns.count + extra
  if (needed <= columns.offsets.length) return
  const capacity = Math.max(needed, columns.offsets.length * 2)
  const { offsets, timestamps, starts, ends } = columns
  columns.offsets = new Float64Array(capacity)
  columns.timestamps = new Float64Array(capacity)
  columns.starts = new Int32Array(capacity)
  columns.ends = new Int32Array(capacity)
  columns.offsets.set(offsets)
  columns.timestamps.set(timestamps)
  columns.starts.set(starts)
  columns.ends.set(ends)
}

/** Empties the columns for the next batch; the arrays stay. */
export const clearRecords = (columns: RecordColumns): void => {
  columns.count = 0
  columns.headers = undefined
}

const none: ReadonlyArray<UnreadableRecords> = []

/** The first `count` rows as a RecordBatch over `bytes`; shares the arrays, so it is valid until they change. */
export const viewRecords = (
  columns: RecordColumns,
  bytes: Uint8Array,
  nextOffset: number,
  endOffset: number,
  unreadable: ReadonlyArray<UnreadableRecords> = none
): RecordBatch => ({
  count: columns.count,
  offsets: columns.offsets.subarray(0, columns.count),
  timestamps: columns.timestamps.subarray(0, columns.count),
  bytes,
  starts: columns.starts.subarray(0, columns.count),
  ends: columns.ends.subarray(0, columns.count),
  headers: columns.headers,
  unreadable,
  nextOffset,
  endOffset
})

/** A record as an object: for tests, and for sources where events are few. */
export interface PlainRecord {
  readonly offset: number
  /** Epoch ms. */
  readonly timestamp: number
  /** null is a tombstone. */
  readonly value: Uint8Array | null
  /** Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Copies the values of `records` (ascending offsets) into one arena. */
export const batchOf = (
  records: ReadonlyArray<PlainRecord>,
  nextOffset: number,
  endOffset: number,
  unreadable: ReadonlyArray<UnreadableRecords> = none
): RecordBatch => {
  let size = 0
  for (const record of records) size += record.value === null ? 0 : record.value.length
  const bytes = new Uint8Array(size)
  const columns = makeRecordColumns(records.length)
  let at = 0
  for (const record of records) {
    const row = columns.count++
    columns.offsets[row] = record.offset
    columns.timestamps[row] = record.timestamp
    if (record.value === null) columns.starts[row] = columns.ends[row] = -1
    else {
      bytes.set(record.value, at)
      columns.starts[row] = at
      at += record.value.length
      columns.ends[row] = at
    }
    if (record.headers !== undefined) {
      columns.headers ??= new Map()
      columns.headers.set(row, record.headers)
    }
  }
  return viewRecords(columns, bytes, nextOffset, endOffset, unreadable)
}

/** Headers with their names in lower case; undefined where there are none. No prototype, so any name is safe. */
export const lowerHeaders = (
  headers: Readonly<Record<string, string>> | undefined
): Readonly<Record<string, string>> | undefined => {
  if (headers === undefined) return undefined
  const names = Object.keys(headers)
  if (names.length === 0) return undefined
  const lower: Record<string, string> = Object.create(null)
  for (const name of names) lower[name.toLowerCase()] = headers[name]
  return lower
}
