// Device rows as bytes: rows touched since a checkpoint, or a whole page of the base. Absolute values, so
// that applying a row twice does no harm. Little-endian, column after column, widest first:
//   header  magic, version, shape (S, N, W, buckets), rows, bytes of ids, length, checksum: 32 bytes
//   8 bytes lastTime · 4 bytes row, events, mean, variance, window, threshold, anchor, quietUntil
//   1 byte  drift, valueHash, run, runMax, flags · ids as u16 length and bytes · padding to 4
import { type DeviceColumns, DeviceFlag } from "../../schema/event/DeviceColumns.ts"
import { WINDOW_BUCKETS } from "../../schema/stream/StreamPlan.ts"
import { aligned, BadDelta, checksum } from "./badDelta.ts"
import { addRows } from "./columns.ts"
import type { ArenaInterner } from "./interner.ts"

export { BadDelta }

const MAGIC = 0x52445347 // "GSDR"
const VERSION = 1
const HEADER = 32
const CHECKSUM_WORD = 7

interface Sections {
  readonly lastTime: Float64Array
  readonly rows: Int32Array
  readonly events: Uint32Array
  readonly mean: Float32Array
  readonly variance: Float32Array
  readonly window: Float32Array
  readonly threshold: Float32Array
  readonly anchor: Float32Array
  readonly quietUntil: Uint32Array
  readonly drift: Int8Array
  readonly valueHash: Uint8Array
  readonly run: Uint8Array
  readonly runMax: Uint8Array
  readonly flags: Uint8Array
  readonly ids: Uint8Array
}

/** Bytes of the sections before the ids, for one row. */
const rowBytes = (columns: DeviceColumns): number =>
  8 +
  4 * (5 + 2 * columns.signalCount + columns.windowCount * WINDOW_BUCKETS) +
  columns.signalCount +
  3 * columns.numberCount +
  1

const sectionsOf = (
  buffer: ArrayBuffer,
  columns: DeviceColumns,
  count: number,
  idBytes: number
): Sections => {
  const { signalCount: S, numberCount: N, windowCount: W } = columns
  let at = HEADER
  const next = (bytes: number): number => {
    const start = at
    at += bytes
    return start
  }
  return {
    lastTime: new Float64Array(buffer, next(8 * count), count),
    rows: new Int32Array(buffer, next(4 * count), count),
    events: new Uint32Array(buffer, next(4 * count), count),
    mean: new Float32Array(buffer, next(4 * count * S), count * S),
    variance: new Float32Array(buffer, next(4 * count * S), count * S),
    window: new Float32Array(buffer, next(4 * count * W * WINDOW_BUCKETS), count * W * WINDOW_BUCKETS),
    threshold: new Float32Array(buffer, next(4 * count), count),
    anchor: new Float32Array(buffer, next(4 * count), count),
    quietUntil: new Uint32Array(buffer, next(4 * count), count),
    drift: new Int8Array(buffer, next(count * S), count * S),
    valueHash: new Uint8Array(buffer, next(count * N), count * N),
    run: new Uint8Array(buffer, next(count * N), count * N),
    runMax: new Uint8Array(buffer, next(count * N), count * N),
    flags: new Uint8Array(buffer, next(count), count),
    ids: new Uint8Array(buffer, next(idBytes), idBytes)
  }
}

interface Slice<T> {
  readonly length: number
  [index: number]: T
}

const copyRow = (
  from: Slice<number>,
  fromRow: number,
  to: Slice<number>,
  toRow: number,
  width: number
): void => {
  const source = fromRow * width
  const target = toRow * width
  for (let k = 0; k < width; k++) to[target + k] = from[source + k]
}

const encode = (
  columns: DeviceColumns,
  interner: ArenaInterner,
  rowAt: (i: number) => number,
  count: number
): Uint8Array => {
  let idBytes = 0
  for (let i = 0; i < count; i++) idBytes += 2 + interner.bytesOf(rowAt(i)).length
  const used = HEADER + count * rowBytes(columns) + idBytes
  const buffer = new ArrayBuffer((used + 3) & ~3)
  const head = new Int32Array(buffer, 0, HEADER / 4)
  const shape = new Uint16Array(buffer, 0, HEADER / 2)
  head[0] = MAGIC
  shape[2] = VERSION
  shape[3] = WINDOW_BUCKETS
  shape[4] = columns.signalCount
  shape[5] = columns.numberCount
  shape[6] = columns.windowCount
  head[4] = count
  head[5] = idBytes
  head[6] = buffer.byteLength
  const to = sectionsOf(buffer, columns, count, idBytes)
  const { signalCount: S, numberCount: N } = columns
  const R = columns.windowCount * WINDOW_BUCKETS
  let at = 0
  for (let i = 0; i < count; i++) {
    const row = rowAt(i)
    to.rows[i] = row
    to.lastTime[i] = columns.lastTime[row]
    to.events[i] = columns.events[row]
    to.threshold[i] = columns.threshold[row]
    to.anchor[i] = columns.anchor[row]
    to.quietUntil[i] = columns.quietUntil[row]
    to.flags[i] = columns.flags[row] & ~DeviceFlag.dirty
    copyRow(columns.mean, row, to.mean, i, S)
    copyRow(columns.variance, row, to.variance, i, S)
    copyRow(columns.drift, row, to.drift, i, S)
    copyRow(columns.valueHash, row, to.valueHash, i, N)
    copyRow(columns.run, row, to.run, i, N)
    copyRow(columns.runMax, row, to.runMax, i, N)
    copyRow(columns.window, row, to.window, i, R)
    const id = interner.bytesOf(row)
    to.ids[at] = id.length & 0xff
    to.ids[at + 1] = id.length >>> 8
    to.ids.set(id, at + 2)
    at += 2 + id.length
  }
  head[CHECKSUM_WORD] = checksum(buffer, CHECKSUM_WORD)
  return new Uint8Array(buffer)
}

/** The first `count` of `rows` (ascending, each < interner.count) with their device ids. */
export const encodeRows = (
  columns: DeviceColumns,
  interner: ArenaInterner,
  rows: Int32Array,
  count: number
): Uint8Array => encode(columns, interner, (i) => rows[i], count)

/** Rows [from, to) that exist: a page of the base. */
export const encodePage = (
  columns: DeviceColumns,
  interner: ArenaInterner,
  from: number,
  to: number
): Uint8Array => {
  const last = Math.min(to, columns.count, interner.count)
  return encode(columns, interner, (i) => from + i, Math.max(0, last - from))
}

const readHeader = (
  buffer: ArrayBuffer,
  columns: DeviceColumns
): readonly [count: number, idBytes: number] => {
  if (buffer.byteLength < HEADER || (buffer.byteLength & 3) !== 0) {
    throw new BadDelta(`device rows are ${buffer.byteLength} bytes long: cut, or not device rows`)
  }
  const head = new Uint32Array(buffer, 0, HEADER / 4)
  const shape = new Uint16Array(buffer, 0, HEADER / 2)
  if (head[0] !== MAGIC) throw new BadDelta("these bytes are not device rows: they start otherwise")
  if (shape[2] !== VERSION) {
    throw new BadDelta(`device rows have version ${shape[2]}, this program reads version ${VERSION}`)
  }
  if (head[6] !== buffer.byteLength) {
    throw new BadDelta(
      `device rows are ${buffer.byteLength} bytes long and should be ${head[6]}: cut, or glued together`
    )
  }
  if (head[CHECKSUM_WORD] !== checksum(buffer, CHECKSUM_WORD)) {
    throw new BadDelta("device rows are damaged: their checksum differs")
  }
  const { signalCount: S, numberCount: N, windowCount: W } = columns
  if (shape[4] !== S || shape[5] !== N || shape[6] !== W || shape[3] !== WINDOW_BUCKETS) {
    throw new BadDelta(
      `device rows hold ${shape[4]} signals, ${shape[5]} numbers and ${shape[6]} windows of ${shape[3]} buckets; ` +
        `the stream now has ${S}, ${N} and ${W} of ${WINDOW_BUCKETS}`
    )
  }
  const used = HEADER + head[4] * rowBytes(columns) + head[5]
  if (used > buffer.byteLength || buffer.byteLength - used > 3) {
    throw new BadDelta(`device rows say ${head[4]} rows, which does not fit their ${buffer.byteLength} bytes`)
  }
  return [head[4], head[5]]
}

const sameBytes = (a: Uint8Array, b: Uint8Array, start: number, end: number): boolean => {
  if (a.length !== end - start) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[start + i]) return false
  return true
}

/** Checks every row against the ids already known, before anything is written. */
const checkRows = (from: Sections, interner: ArenaInterner): void => {
  const { rows, ids } = from
  let at = 0
  let known = interner.count
  let before = -1
  for (let i = 0; i < rows.length; i++) {
    const end = at + 2 + (ids[at] | (ids[at + 1] << 8))
    if (at + 2 > ids.length || end > ids.length) throw new BadDelta(`the id of device row ${rows[i]} is cut`)
    const row = rows[i]
    if (row <= before) throw new BadDelta(`device row ${row} comes after row ${before}`)
    if (row > known)
      throw new BadDelta(`device row ${row} comes before row ${known} is known: a piece is missing`)
    if (row === known) {
      if (interner.find(ids, at + 2, end) >= 0)
        throw new BadDelta(`the device of row ${row} is known under another row`)
      known++
    } else if (row < interner.count && !sameBytes(interner.bytesOf(row), ids, at + 2, end)) {
      throw new BadDelta(`device row ${row} belongs to another device here`)
    }
    before = row
    at = end
  }
  if (at !== ids.length) throw new BadDelta("device rows hold more ids than rows")
}

/**
 * Writes rows that `encodeRows` or `encodePage` gave, interning devices that are new; rows that `accept`
 * refuses only get their id. Pieces must come so that row r is known before row r + 1. Throws `BadDelta`;
 * what is found before the first write leaves everything as it was.
 */
export const applyRows = (
  columns: DeviceColumns,
  interner: ArenaInterner,
  bytes: Uint8Array,
  accept?: (row: number) => boolean
): number => {
  const buffer = aligned(bytes)
  const [count, idBytes] = readHeader(buffer, columns)
  const from = sectionsOf(buffer, columns, count, idBytes)
  checkRows(from, interner)
  const { signalCount: S, numberCount: N } = columns
  const R = columns.windowCount * WINDOW_BUCKETS
  let at = 0
  let applied = 0
  for (let i = 0; i < count; i++) {
    const row = from.rows[i]
    const end = at + 2 + (from.ids[at] | (from.ids[at + 1] << 8))
    if (row >= interner.count && interner.intern(from.ids, at + 2, end) !== row) {
      throw new BadDelta(`the device of row ${row} comes twice, or no more devices fit`)
    }
    at = end
    addRows(columns, row + 1)
    if (accept !== undefined && !accept(row)) continue
    columns.lastTime[row] = from.lastTime[i]
    columns.events[row] = from.events[i]
    columns.threshold[row] = from.threshold[i]
    columns.anchor[row] = from.anchor[i]
    columns.quietUntil[row] = from.quietUntil[i]
    columns.flags[row] = (columns.flags[row] & DeviceFlag.dirty) | (from.flags[i] & ~DeviceFlag.dirty)
    copyRow(from.mean, i, columns.mean, row, S)
    copyRow(from.variance, i, columns.variance, row, S)
    copyRow(from.drift, i, columns.drift, row, S)
    copyRow(from.valueHash, i, columns.valueHash, row, N)
    copyRow(from.run, i, columns.run, row, N)
    copyRow(from.runMax, i, columns.runMax, row, N)
    copyRow(from.window, i, columns.window, row, R)
    applied++
  }
  return applied
}
