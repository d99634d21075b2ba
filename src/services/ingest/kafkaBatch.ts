// Reads Kafka's record batches (magic 2) straight into columns. No object per record is made. Format: Kafka
// protocol guide, "Record Batch".
import type { RecordBatch, UnreadableRecords } from "../../schema/event/Batch.ts"
import { crc32c } from "./crc32c.ts"
import { CodecFailure, decompress } from "./kafkaCodecs.ts"
import { type AbortedTransaction, type FetchedPartition, int64 } from "./kafkaFetch.ts"
import { clearRecords, type RecordColumns, reserveRecords, viewRecords } from "./recordBatch.ts"

/** Where reading stands in one partition's fetched records; `position` is the next offset wanted. */
export interface RecordsCursor {
  readonly records: Buffer
  at: number
  position: number
  readonly endOffset: number
  /** Sorted by first offset; those not yet reached. */
  readonly aborted: Array<AbortedTransaction>
  /** Producers whose transaction at this point was rolled back. */
  readonly aborting: Set<number>
}

export const openCursor = (fetched: FetchedPartition, position: number): RecordsCursor => ({
  records: fetched.records,
  at: 0,
  position,
  endOffset: fetched.lastStableOffset,
  aborted: [...fetched.aborted].sort((a, b) => a.firstOffset - b.firstOffset),
  aborting: new Set()
})

/** True when no whole batch is left in the response. */
export const isSpent = (cursor: RecordsCursor): boolean =>
  cursor.at + PREFIX > cursor.records.length ||
  cursor.at + PREFIX + cursor.records.readInt32BE(cursor.at + LENGTH) > cursor.records.length

export interface BatchLimits {
  /** Most bytes that one compressed batch may grow to; beyond it the batch is unreadable. */
  readonly inflatedBytesMax: number
  /** Compressed batches are gathered into one RecordBatch until they have grown to this. */
  readonly gatheredBytesMax: number
  /** Verify each batch's CRC-32C, about 0.3 CPU seconds a million events of 270 bytes. */
  readonly checksum: boolean
}

/** Most bytes kept of a stretch that no one could read. */
export const UNREADABLE_BYTES_MAX = 1_048_576

// A record batch's fields, as distances from its first byte.
const LENGTH = 8
const MAGIC = 16
const CRC = 17
const ATTRIBUTES = 21
const LAST_DELTA = 23
const FIRST_TIME = 27
const MAX_TIME = 35
const PRODUCER = 43
const COUNT = 57
const RECORDS = 61
/** Bytes of a batch before the part that its length counts. */
const PREFIX = 12

/** Position of the varint reader; a module variable, so that reading one number makes no object. */
let pos = 0

const varint = (bytes: Uint8Array): number => {
  let byte = bytes[pos++]
  if (byte < 128) return (byte >>> 1) ^ -(byte & 1)
  let value = byte & 127
  let shift = 7
  do {
    byte = bytes[pos++]
    value |= (byte & 127) << shift
    shift += 7
  } while (byte >= 128 && shift < 35)
  return (value >>> 1) ^ -(value & 1)
}

const varlong = (bytes: Uint8Array): number => {
  let byte = bytes[pos++]
  if (byte < 128) return (byte >>> 1) ^ -(byte & 1)
  let value = byte & 127
  let scale = 128
  for (let i = 1; i < 10 && byte >= 128; i++) {
    byte = bytes[pos++]
    value += (byte & 127) * scale
    scale *= 128
  }
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2
}

const readHeaders = (
  bytes: Buffer,
  count: number,
  end: number
): Readonly<Record<string, string>> | undefined => {
  const headers: Record<string, string> = Object.create(null)
  for (let i = 0; i < count; i++) {
    const nameLength = varint(bytes)
    if (nameLength < 0 || pos + nameLength > end) return undefined
    const name = bytes.toString("utf8", pos, pos + nameLength).toLowerCase()
    pos += nameLength
    const length = varint(bytes)
    if (pos + Math.max(0, length) > end) return undefined
    headers[name] = length <= 0 ? "" : bytes.toString("utf8", pos, pos + length)
    pos += Math.max(0, length)
  }
  return headers
}

/**
 * Appends `count` records in bytes[from, to) to the columns; their values are placed at their own positions
 * plus `shift`. False where the bytes are not records; rows appended until then are to be dropped.
 */
const readRecords = (
  bytes: Buffer,
  from: number,
  to: number,
  shift: number,
  count: number,
  baseOffset: number,
  lastOffset: number,
  firstTime: number,
  appendTime: number,
  position: number,
  columns: RecordColumns
): boolean => {
  // A record takes at least 7 bytes, so a count that lies cannot make us allocate much.
  if (count < 0 || count * 7 > to - from) return false
  reserveRecords(columns, count)
  const { offsets, timestamps, starts, ends } = columns
  let row = columns.count
  let before = baseOffset - 1
  pos = from
  for (let i = 0; i < count; i++) {
    const length = varint(bytes)
    const end = pos + length
    if (length < 6 || end > to) return false
    pos++
    const timeDelta = varlong(bytes)
    const offset = baseOffset + varint(bytes)
    if (offset <= before || offset > lastOffset) return false
    before = offset
    const keyLength = varint(bytes)
    if (keyLength > 0) pos += keyLength
    if (pos > end) return false
    const valueLength = varint(bytes)
    const start = pos
    if (valueLength > 0) pos += valueLength
    if (pos > end) return false
    const headerCount = varint(bytes)
    if (headerCount < 0 || pos > end) return false
    if (offset >= position) {
      if (headerCount > 0) {
        const headers = readHeaders(bytes, headerCount, end)
        if (headers === undefined) return false
        columns.headers ??= new Map()
        columns.headers.set(row, headers)
      }
      offsets[row] = offset
      timestamps[row] = appendTime >= 0 ? appendTime : firstTime + timeDelta
      starts[row] = valueLength < 0 ? -1 : start + shift
      ends[row] = valueLength < 0 ? -1 : start + valueLength + shift
      row++
    }
    pos = end
  }
  columns.count = row
  return true
}

const dropRows = (columns: RecordColumns, count: number): void => {
  columns.count = count
  if (columns.headers === undefined) return
  for (const row of columns.headers.keys()) if (row >= count) columns.headers.delete(row)
  if (columns.headers.size === 0) columns.headers = undefined
}

/** A control batch ends a transaction: type 0 rolls back, 1 commits (the second int16 of its key). */
const isAbortMarker = (bytes: Buffer, at: number, end: number): boolean => {
  pos = at + RECORDS
  varint(bytes)
  pos++
  varlong(bytes)
  varint(bytes)
  const keyLength = varint(bytes)
  return keyLength >= 4 && pos + 4 <= end && bytes.readInt16BE(pos + 2) === 0
}

/** True where the batch belongs to a transaction that was rolled back. */
const isAborted = (cursor: RecordsCursor, producerId: number, lastOffset: number): boolean => {
  while (cursor.aborted.length > 0 && cursor.aborted[0].firstOffset <= lastOffset) {
    cursor.aborting.add((cursor.aborted.shift() as AbortedTransaction).producerId)
  }
  return cursor.aborting.has(producerId)
}

/**
 * Offset of a batch's last record, or where it once was. A damaged batch must neither hide records nor carry
 * the reader away: the next batch tells where it ended; without one its own word counts within the partition.
 */
const lastOffsetOf = (
  cursor: RecordsCursor,
  end: number,
  base: number,
  told: number,
  isDamaged: boolean
): number => {
  const bytes = cursor.records
  const next = isDamaged && end + 8 <= bytes.length ? int64(bytes, end) : -1
  if (next > base) return next - 1
  return told >= base && (!isDamaged || told < cursor.endOffset) ? told : base
}

/**
 * The next records of a fetched partition, over the response's own bytes (or one arena, where they were
 * compressed); undefined when all were read. The batch shares `columns`: valid until the next call.
 * `nextOffset` lies past control batches, rolled-back transactions and gaps, so a batch may have no rows.
 * Throws a RangeError where the bytes are not framed as batches.
 */
export const readBatch = (
  cursor: RecordsCursor,
  columns: RecordColumns,
  limits: BatchLimits
): RecordBatch | undefined => {
  clearRecords(columns)
  const bytes = cursor.records
  const from = cursor.position
  const parts: Array<Uint8Array> = []
  let partsSize = 0
  const unreadable: Array<UnreadableRecords> = []
  while (cursor.at + PREFIX <= bytes.length) {
    const at = cursor.at
    const length = bytes.readInt32BE(at + LENGTH)
    const end = at + PREFIX + length
    if (length < 5) throw new RangeError("a record batch has no length")
    if (end > bytes.length) break
    const baseOffset = int64(bytes, at)
    const isBatch = bytes[at + MAGIC] === 2 && length >= RECORDS - PREFIX
    const isDamaged =
      !isBatch || (limits.checksum && crc32c(bytes, at + ATTRIBUTES, end) !== bytes.readInt32BE(at + CRC))
    const told = isBatch ? baseOffset + bytes.readInt32BE(at + LAST_DELTA) : baseOffset
    const lastOffset = lastOffsetOf(cursor, end, baseOffset, told, isDamaged)
    if (lastOffset < cursor.position) {
      cursor.at = end
      continue
    }
    const attributes = isBatch ? bytes.readInt16BE(at + ATTRIBUTES) : 0
    const producerId = isBatch ? int64(bytes, at + PRODUCER) : -1
    const codec = attributes & 7
    let failure: CodecFailure | undefined
    if (!isBatch) {
      failure = new CodecFailure(
        "undecodable-batch",
        `message format ${bytes[at + MAGIC]} is too old to be read`
      )
    } else if (isDamaged) {
      failure = new CodecFailure("undecodable-batch", "a batch's checksum does not match its bytes")
    } else if ((attributes & 32) !== 0) {
      if (isAbortMarker(bytes, at, end)) {
        isAborted(cursor, producerId, lastOffset)
        cursor.aborting.delete(producerId)
      }
    } else if ((attributes & 16) === 0 || !isAborted(cursor, producerId, lastOffset)) {
      const rows = columns.count
      // Plain and compressed batches have their values in different places: one kind a RecordBatch.
      if (
        codec === 0
          ? parts.length > 0
          : rows > 0 && (parts.length === 0 || partsSize >= limits.gatheredBytesMax)
      ) {
        break
      }
      const count = bytes.readInt32BE(at + COUNT)
      const firstTime = int64(bytes, at + FIRST_TIME)
      const appendTime = (attributes & 8) !== 0 ? int64(bytes, at + MAX_TIME) : -1
      try {
        const inflated =
          codec === 0
            ? undefined
            : decompress(codec, bytes.subarray(at + RECORDS, end), limits.inflatedBytesMax)
        const source =
          inflated === undefined
            ? bytes
            : Buffer.from(inflated.buffer, inflated.byteOffset, inflated.byteLength)
        const start = inflated === undefined ? at + RECORDS : 0
        const stop = inflated === undefined ? end : source.length
        if (
          !readRecords(
            source,
            start,
            stop,
            inflated === undefined ? 0 : partsSize,
            count,
            baseOffset,
            lastOffset,
            firstTime,
            appendTime,
            cursor.position,
            columns
          )
        ) {
          dropRows(columns, rows)
          failure = new CodecFailure("undecodable-batch", "a batch's records do not fit its bytes")
        } else if (inflated !== undefined) {
          parts.push(inflated)
          partsSize += inflated.length
        }
      } catch (cause) {
        if (!(cause instanceof CodecFailure)) throw cause
        failure = cause
      }
    }
    if (failure !== undefined) {
      unreadable.push({
        firstOffset: Math.max(baseOffset, cursor.position),
        lastOffset,
        reason: failure.reason,
        detail: failure.message,
        bytes: Uint8Array.prototype.slice.call(bytes, at, Math.min(end, at + UNREADABLE_BYTES_MAX))
      })
    }
    cursor.position = lastOffset + 1
    cursor.at = end
  }
  if (columns.count === 0 && unreadable.length === 0 && cursor.position === from) return undefined
  // A plain view: where a Buffer's `slice` shares its memory, what is to outlive the batch would not be a copy.
  const arena =
    parts.length === 0
      ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
      : parts.length === 1
        ? parts[0]
        : Buffer.concat(parts, partsSize)
  return viewRecords(columns, arena, cursor.position, Math.max(cursor.endOffset, cursor.position), unreadable)
}
