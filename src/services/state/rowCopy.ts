// Rows of many columns to and from one stretch of memory, column by column. Columns are copied as 32-bit words or as
// bytes whatever they hold: two shapes of loop stay fast where one loop over many kinds of array does not.
import type { DeviceColumns } from "../../schema/event/DeviceColumns.ts"
import { WINDOW_BUCKETS } from "../../schema/stream/StreamPlan.ts"

/** A column as words or bytes; `width` of them to a row. */
export interface Lane<T> {
  readonly array: T
  readonly width: number
}

/** Elements above which a built-in copies faster than a loop. */
const COPY_MIN = 16

const words = (array: Float64Array | Float32Array | Uint32Array): Int32Array =>
  new Int32Array(array.buffer, array.byteOffset, array.byteLength / 4)
const bytes = (array: Int8Array | Uint8Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength)

/** All that is kept of a device but its id; over the arrays as they are now, so not to be held while they may grow. */
export const lanesOf = (columns: DeviceColumns) => {
  const { signalCount, numberCount } = columns
  const lane = <T>(array: T, width: number): Lane<T> => ({ array, width })
  return {
    words: [
      lane(words(columns.lastTime), 2),
      lane(words(columns.events), 1),
      lane(words(columns.mean), signalCount),
      lane(words(columns.variance), signalCount),
      lane(words(columns.window), columns.windowCount * WINDOW_BUCKETS),
      lane(words(columns.memory), columns.memoryWidth),
      lane(words(columns.threshold), 1),
      lane(words(columns.anchor), 1),
      lane(words(columns.quietUntil), 1)
    ],
    bytes: [
      lane(bytes(columns.drift), signalCount),
      lane(bytes(columns.valueHash), numberCount),
      lane(bytes(columns.run), numberCount),
      lane(bytes(columns.runMax), numberCount),
      lane(bytes(columns.flags), 1)
    ]
  }
}

/**
 * Stretches of rows that lie one after the other: first row, number of rows, and so on. Most of a busy cell's rows lie
 * in long ones, and a built-in copies those; this code runs too seldom to be compiled well.
 */
export const runsOf = (rows: Int32Array): Int32Array => {
  const runs = new Int32Array(2 * rows.length)
  let used = 0
  for (let i = 0; i < rows.length; ) {
    let end = i + 1
    while (end < rows.length && rows[end] === rows[end - 1] + 1) end++
    runs[used++] = rows[i]
    runs[used++] = end - i
    i = end
  }
  return runs.subarray(0, used)
}

/** to[at …] = the rows of `runs` of the lane, one after the other. */
export const gatherWords = (
  { array, width }: Lane<Int32Array>,
  runs: Int32Array,
  to: Int32Array,
  at: number
): void => {
  let target = at
  for (let r = 0; r < runs.length; r += 2) {
    const source = runs[r] * width
    const size = runs[r + 1] * width
    if (size > COPY_MIN) to.set(array.subarray(source, source + size), target)
    else for (let k = 0; k < size; k++) to[target + k] = array[source + k]
    target += size
  }
}

/** As `gatherWords`. */
export const gatherBytes = (
  { array, width }: Lane<Uint8Array>,
  runs: Int32Array,
  to: Uint8Array,
  at: number
): void => {
  let target = at
  for (let r = 0; r < runs.length; r += 2) {
    const source = runs[r] * width
    const size = runs[r + 1] * width
    if (size > COPY_MIN) to.set(array.subarray(source, source + size), target)
    else for (let k = 0; k < size; k++) to[target + k] = array[source + k]
    target += size
  }
}

/** Row rows[i] of the lane = from[at + i × width …], for the i that `taken` marks. */
export const scatterWords = (
  { array, width }: Lane<Int32Array>,
  rows: Int32Array,
  taken: Uint8Array,
  from: Int32Array,
  at: number
): void => {
  for (let i = 0; i < rows.length; i++) {
    if (taken[i] === 0) continue
    const source = at + i * width
    const target = rows[i] * width
    for (let k = 0; k < width; k++) array[target + k] = from[source + k]
  }
}

/** As `scatterWords`. */
export const scatterBytes = (
  { array, width }: Lane<Uint8Array>,
  rows: Int32Array,
  taken: Uint8Array,
  from: Uint8Array,
  at: number
): void => {
  for (let i = 0; i < rows.length; i++) {
    if (taken[i] === 0) continue
    const source = at + i * width
    const target = rows[i] * width
    for (let k = 0; k < width; k++) array[target + k] = from[source + k]
  }
}
