// Device rows as bytes: rows touched since a checkpoint, or a whole page of the base. Absolute values, so
// that applying a row twice does no harm. Little-endian, column after column, widest first:
//   header  magic, version, shape (buckets, S, N, W, memory), rows, bytes of ids, length, checksum: 32 bytes
//   8 bytes lastTime · 4 bytes row, events, mean, variance, window, memory, threshold, anchor, quietUntil
//   1 byte  drift, valueHash, run, runMax, flags · ids as u16 length and bytes · padding to 4
import { type DeviceColumns, DeviceFlag } from "../../schema/event/DeviceColumns.ts"
import { WINDOW_BUCKETS } from "../../schema/stream/StreamPlan.ts"
import { aligned, BadDelta, checksum } from "./badDelta.ts"
import { addRows } from "./columns.ts"
import type { ArenaInterner } from "./interner.ts"
import { gatherBytes, gatherWords, lanesOf, runsOf, scatterBytes, scatterWords } from "./rowCopy.ts"

export { BadDelta }

const MAGIC = 0x52445347 // "GSDR"
const VERSION = 1
const HEADER = 32
const CHECKSUM_WORD = 7

/** Bytes of the sections before the ids, for one row. */
const rowBytes = (columns: DeviceColumns): number =>
  8 +
  4 * (5 + 2 * columns.signalCount + columns.windowCount * WINDOW_BUCKETS + columns.memoryWidth) +
  columns.signalCount +
  3 * columns.numberCount +
  1

/** Word at which the rows' numbers stand: behind the header and `lastTime`. */
const rowsAt = (count: number): number => HEADER / 4 + 2 * count

/** Rows one after the other, as those of a page are: copied in one piece. */
const areNeighbours = (rows: Int32Array): boolean =>
  rows.length > 0 && rows[rows.length - 1] - rows[0] === rows.length - 1

const encode = (columns: DeviceColumns, interner: ArenaInterner, rows: Int32Array): Uint8Array => {
  const count = rows.length
  const ids = interner.serializeEach(rows)
  const used = HEADER + count * rowBytes(columns) + ids.length
  const buffer = new ArrayBuffer((used + 3) & ~3)
  const words = new Int32Array(buffer)
  const bytes = new Uint8Array(buffer)
  const shape = new Uint16Array(buffer, 0, HEADER / 2)
  words[0] = MAGIC
  shape[2] = VERSION
  shape[3] = WINDOW_BUCKETS
  shape[4] = columns.signalCount
  shape[5] = columns.numberCount
  shape[6] = columns.windowCount
  shape[7] = columns.memoryWidth
  words[4] = count
  words[5] = ids.length
  words[6] = buffer.byteLength
  words.set(rows, rowsAt(count))
  const lanes = lanesOf(columns)
  const runs = runsOf(rows)
  let at = HEADER / 4
  lanes.words.forEach((lane, n) => {
    gatherWords(lane, runs, words, at)
    // The rows' own numbers stand behind the first lane.
    at += count * (n === 0 ? lane.width + 1 : lane.width)
  })
  at *= 4
  for (const lane of lanes.bytes) {
    gatherBytes(lane, runs, bytes, at)
    at += count * lane.width
  }
  for (let i = at - count; i < at; i++) bytes[i] &= ~DeviceFlag.dirty
  bytes.set(ids, at)
  words[CHECKSUM_WORD] = checksum(buffer, CHECKSUM_WORD)
  return bytes
}

/** `rows` (ascending, each < interner.count) with their device ids. */
export const encodeRows = (columns: DeviceColumns, interner: ArenaInterner, rows: Int32Array): Uint8Array =>
  encode(columns, interner, rows)

/** Rows [from, to) that exist: a page of the base. */
export const encodePage = (
  columns: DeviceColumns,
  interner: ArenaInterner,
  from: number,
  to: number
): Uint8Array => {
  const last = Math.min(to, columns.count, interner.count)
  return encode(
    columns,
    interner,
    Int32Array.from({ length: Math.max(0, last - from) }, (_, i) => from + i)
  )
}

const readHeader = (
  buffer: ArrayBufferLike,
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
  const { signalCount: S, numberCount: N, windowCount: W, memoryWidth: M } = columns
  if (shape[4] !== S || shape[5] !== N || shape[6] !== W || shape[7] !== M || shape[3] !== WINDOW_BUCKETS) {
    throw new BadDelta(
      `device rows hold ${shape[4]} signals, ${shape[5]} numbers, ${shape[6]} windows of ${shape[3]} buckets and ` +
        `${shape[7]} more values; the stream now has ${S}, ${N}, ${W} of ${WINDOW_BUCKETS} and ${M}`
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

/** Where the ids of a piece's new devices lie; pieces are taken one after the other. */
let starts = new Int32Array(0)
let ends = new Int32Array(0)
let given = new Int32Array(0)

/** Checks every row against the ids already known, before anything is written. Answers how many devices are new. */
const checkRows = (rows: Int32Array, ids: Uint8Array, interner: ArenaInterner): number => {
  if (starts.length < rows.length) {
    starts = new Int32Array(rows.length)
    ends = new Int32Array(rows.length)
    given = new Int32Array(rows.length)
  }
  let at = 0
  let before = -1
  let fresh = 0
  const known = interner.count
  for (let i = 0; i < rows.length; i++) {
    const end = at + 2 + (ids[at] | (ids[at + 1] << 8))
    if (at + 2 > ids.length || end > ids.length) throw new BadDelta(`the id of device row ${rows[i]} is cut`)
    const row = rows[i]
    if (row <= before) throw new BadDelta(`device row ${row} comes after row ${before}`)
    if (row > known + fresh)
      throw new BadDelta(`device row ${row} comes before row ${known + fresh} is known: a piece is missing`)
    if (row >= known) {
      starts[fresh] = at + 2
      ends[fresh++] = end
    } else if (!sameBytes(interner.bytesOf(row), ids, at + 2, end)) {
      throw new BadDelta(`device row ${row} belongs to another device here`)
    }
    before = row
    at = end
  }
  if (at !== ids.length) throw new BadDelta("device rows hold more ids than rows")
  return fresh
}

/** Gives the devices that are new their ids, in the order of their rows. */
const internFresh = (fresh: number, ids: Uint8Array, interner: ArenaInterner): void => {
  const known = interner.count
  interner.internMany(ids, 0, fresh, starts, ends, given)
  for (let i = 0; i < fresh; i++) {
    if (given[i] !== known + i) {
      throw new BadDelta(
        `the device of row ${known + i} comes twice or is known under another row, or no more devices fit`
      )
    }
  }
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
  const words = new Int32Array(buffer)
  const rows = words.subarray(rowsAt(count), rowsAt(count) + count)
  const ids = new Uint8Array(buffer, HEADER + count * rowBytes(columns), idBytes)
  internFresh(checkRows(rows, ids, interner), ids, interner)
  if (count > 0) addRows(columns, rows[count - 1] + 1)
  const taken = new Uint8Array(count)
  let applied = 0
  for (let i = 0; i < count; i++) {
    if (accept !== undefined && !accept(rows[i])) continue
    taken[i] = 1
    applied++
  }
  const lanes = lanesOf(columns)
  const whole = areNeighbours(rows) && applied === count
  let at = HEADER / 4
  lanes.words.forEach((lane, n) => {
    const { array, width } = lane
    if (whole) array.set(words.subarray(at, at + count * width), rows[0] * width)
    else scatterWords(lane, rows, taken, words, at)
    at += count * (n === 0 ? width + 1 : width)
  })
  at *= 4
  const stored = new Uint8Array(buffer)
  const { flags } = columns
  // What this process has touched since its own last checkpoint stays listed.
  const listed = new Uint8Array(count)
  for (let i = 0; i < count; i++) listed[i] = flags[rows[i]] & DeviceFlag.dirty
  for (const lane of lanes.bytes) {
    const { array, width } = lane
    if (whole) array.set(stored.subarray(at, at + count * width), rows[0] * width)
    else scatterBytes(lane, rows, taken, stored, at)
    at += count * width
  }
  for (let i = 0; i < count; i++) if (taken[i] === 1) flags[rows[i]] |= listed[i]
  return applied
}
