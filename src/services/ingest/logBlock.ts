// The embedded log's blocks: the records of one append to one partition as one compact piece of bytes.
// Layout, little-endian: u32 count, u32 flags (1: has headers); then for each record f64 timestamp, i32 key
// length, i32 value length (−1: none), i32 header length (with flag 1); then keys, headers (JSON), values.
import type { RecordColumns } from "./recordBatch.ts"
import { reserveRecords } from "./recordBatch.ts"

const HEAD = 8
const HAS_HEADERS = 1

/** What a block keeps of a record. */
export interface BlockRecord {
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>> | undefined
  /** Epoch ms. */
  readonly timestamp: number
}

const text = new TextEncoder()
const untext = new TextDecoder()

/** One block of these records, in order. */
export const encodeBlock = (records: ReadonlyArray<BlockRecord>): Uint8Array => {
  const hasHeaders = records.some((record) => record.headers !== undefined)
  const stride = hasHeaders ? 20 : 16
  const headers: Array<Uint8Array | undefined> = []
  let size = HEAD + records.length * stride
  records.forEach((record, i) => {
    const encoded = record.headers === undefined ? undefined : text.encode(JSON.stringify(record.headers))
    if (hasHeaders) headers[i] = encoded
    size += (record.key?.length ?? 0) + (record.value?.length ?? 0) + (encoded?.length ?? 0)
  })
  const block = new Uint8Array(size)
  const view = new DataView(block.buffer)
  view.setUint32(0, records.length, true)
  view.setUint32(4, hasHeaders ? HAS_HEADERS : 0, true)
  let at = HEAD
  let tail = HEAD + records.length * stride
  for (let i = 0; i < records.length; i++) {
    const { key, timestamp, value } = records[i]
    view.setFloat64(at, timestamp, true)
    view.setInt32(at + 8, key === null ? -1 : key.length, true)
    view.setInt32(at + 12, value === null ? -1 : value.length, true)
    if (hasHeaders) view.setInt32(at + 16, headers[i]?.length ?? -1, true)
    at += stride
    if (key !== null) {
      block.set(key, tail)
      tail += key.length
    }
  }
  for (const encoded of headers) {
    if (encoded === undefined) continue
    block.set(encoded, tail)
    tail += encoded.length
  }
  for (const { value } of records) {
    if (value === null) continue
    block.set(value, tail)
    tail += value.length
  }
  return block
}

/**
 * Appends the records of `block` from offset `from` on to the columns. The block starts at `baseOffset` and
 * lies at position `shift` of the batch's bytes. Throws a RangeError where the block is cut off.
 */
export const decodeBlock = (
  block: Uint8Array,
  baseOffset: number,
  from: number,
  shift: number,
  columns: RecordColumns
): void => {
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength)
  const count = view.getUint32(0, true)
  const hasHeaders = (view.getUint32(4, true) & HAS_HEADERS) !== 0
  const stride = hasHeaders ? 20 : 16
  if (HEAD + count * stride > block.length) throw new RangeError("a block of the log is cut off")
  let headerAt = HEAD + count * stride
  for (let i = 0; i < count; i++) headerAt += Math.max(0, view.getInt32(HEAD + i * stride + 8, true))
  let valueAt = headerAt
  if (hasHeaders) {
    for (let i = 0; i < count; i++) valueAt += Math.max(0, view.getInt32(HEAD + i * stride + 16, true))
  }
  reserveRecords(columns, count)
  const { ends, offsets, starts, timestamps } = columns
  let row = columns.count
  for (let i = 0; i < count; i++) {
    const at = HEAD + i * stride
    const valueLength = view.getInt32(at + 12, true)
    const headerLength = hasHeaders ? view.getInt32(at + 16, true) : -1
    const offset = baseOffset + i
    if (offset >= from) {
      offsets[row] = offset
      timestamps[row] = view.getFloat64(at, true)
      starts[row] = valueLength < 0 ? -1 : valueAt + shift
      ends[row] = valueLength < 0 ? -1 : valueAt + valueLength + shift
      if (headerLength >= 0) {
        columns.headers ??= new Map()
        columns.headers.set(row, JSON.parse(untext.decode(block.subarray(headerAt, headerAt + headerLength))))
      }
      row++
    }
    valueAt += Math.max(0, valueLength)
    headerAt += Math.max(0, headerLength)
  }
  if (valueAt > block.length) throw new RangeError("a block of the log is cut off")
  columns.count = row
}
