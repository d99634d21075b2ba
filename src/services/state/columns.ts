// The devices' rows of a cell: making them, growing them, and listing those touched since a checkpoint.
import { type DeviceColumns, DeviceFlag } from "../../schema/event/DeviceColumns.ts"
import { type StreamPlan, WINDOW_BUCKETS } from "../../schema/stream/StreamPlan.ts"
import { grownLength } from "./growth.ts"

/** Empty columns for the devices of a plan, with room for `capacity` of them. */
export const makeDeviceColumns = (plan: StreamPlan, capacity = 1_024): DeviceColumns => {
  const signalCount = plan.signals.length
  const numberCount = plan.numbers.length
  const windowCount = plan.windows.length
  const { memoryWidth } = plan
  return {
    signalCount,
    numberCount,
    windowCount,
    memoryWidth,
    count: 0,
    capacity,
    lastTime: new Float64Array(capacity),
    events: new Uint32Array(capacity),
    mean: new Float32Array(capacity * signalCount),
    variance: new Float32Array(capacity * signalCount),
    drift: new Int8Array(capacity * signalCount),
    valueHash: new Uint8Array(capacity * numberCount),
    run: new Uint8Array(capacity * numberCount),
    runMax: new Uint8Array(capacity * numberCount),
    window: new Float32Array(capacity * windowCount * WINDOW_BUCKETS),
    memory: new Float32Array(capacity * memoryWidth),
    threshold: new Float32Array(capacity),
    anchor: new Float32Array(capacity),
    quietUntil: new Uint32Array(capacity),
    flags: new Uint8Array(capacity),
    dirty: new Int32Array(Math.max(64, capacity >>> 2)),
    dirtyCount: 0
  }
}

const float64 = (from: Float64Array, length: number): Float64Array => {
  const grown = new Float64Array(length)
  grown.set(from)
  return grown
}
const float32 = (from: Float32Array, length: number): Float32Array => {
  const grown = new Float32Array(length)
  grown.set(from)
  return grown
}
const uint32 = (from: Uint32Array, length: number): Uint32Array => {
  const grown = new Uint32Array(length)
  grown.set(from)
  return grown
}
const uint8 = (from: Uint8Array, length: number): Uint8Array => {
  const grown = new Uint8Array(length)
  grown.set(from)
  return grown
}

/**
 * Makes room for at least `capacity` devices: doubling, beyond 65,536 by a sixteenth. Column after column,
 * so that at most one is held twice.
 */
export const grow = (columns: DeviceColumns, capacity: number): void => {
  if (capacity <= columns.capacity) return
  const size = grownLength(columns.capacity, capacity)
  const { signalCount, numberCount, windowCount, memoryWidth } = columns
  columns.lastTime = float64(columns.lastTime, size)
  columns.events = uint32(columns.events, size)
  columns.mean = float32(columns.mean, size * signalCount)
  columns.variance = float32(columns.variance, size * signalCount)
  const drift = new Int8Array(size * signalCount)
  drift.set(columns.drift)
  columns.drift = drift
  columns.valueHash = uint8(columns.valueHash, size * numberCount)
  columns.run = uint8(columns.run, size * numberCount)
  columns.runMax = uint8(columns.runMax, size * numberCount)
  columns.window = float32(columns.window, size * windowCount * WINDOW_BUCKETS)
  columns.memory = float32(columns.memory, size * memoryWidth)
  columns.threshold = float32(columns.threshold, size)
  columns.anchor = float32(columns.anchor, size)
  columns.quietUntil = uint32(columns.quietUntil, size)
  columns.flags = uint8(columns.flags, size)
  if (columns.dirtyCount <= columns.dirty.length) {
    const dirty = new Int32Array(Math.max(64, size >>> 2))
    dirty.set(columns.dirty.subarray(0, columns.dirtyCount))
    columns.dirty = dirty
  }
  columns.capacity = size
}

/** Lists a row for the next checkpoint. */
export const markDirty = (columns: DeviceColumns, row: number): void => {
  if ((columns.flags[row] & DeviceFlag.dirty) !== 0) return
  columns.flags[row] |= DeviceFlag.dirty
  if (columns.dirtyCount < columns.dirty.length) columns.dirty[columns.dirtyCount] = row
  columns.dirtyCount++
}

/**
 * Makes rows for all devices up to `id`. To be called with the interner's last id after decoding and
 * before the fold; new rows are listed for the next checkpoint, so that it has every id given out.
 */
export const ensureDevice = (columns: DeviceColumns, id: number): void => {
  if (id < columns.count) return
  const first = columns.count
  addRows(columns, id + 1)
  for (let row = first; row <= id; row++) markDirty(columns, row)
}

/** Makes rows up to `count` without listing them: what comes from a checkpoint needn't go into the next. */
export const addRows = (columns: DeviceColumns, count: number): void => {
  if (count <= columns.count) return
  if (count > columns.capacity) grow(columns, count)
  columns.mean.fill(Number.NaN, columns.count * columns.signalCount, count * columns.signalCount)
  columns.count = count
}

/**
 * Rows touched since the last call, ascending; their dirty bits are cleared. Costs by traffic; where more
 * than a quarter of the devices were touched, one pass over the flags.
 */
export const takeDirty = (columns: DeviceColumns): Int32Array => {
  const { dirty, dirtyCount, flags } = columns
  let rows: Int32Array
  if (dirtyCount <= dirty.length) rows = dirty.slice(0, dirtyCount).sort()
  else {
    rows = new Int32Array(dirtyCount)
    let found = 0
    for (let row = 0; row < columns.count; row++)
      if ((flags[row] & DeviceFlag.dirty) !== 0) rows[found++] = row
  }
  for (let i = 0; i < rows.length; i++) flags[rows[i]] &= ~DeviceFlag.dirty
  columns.dirtyCount = 0
  return rows
}

/** Lists rows again whose checkpoint could not be written. */
export const returnDirty = (columns: DeviceColumns, rows: Int32Array): void => {
  for (let i = 0; i < rows.length; i++) markDirty(columns, rows[i])
}

/** Bytes of memory held by the columns. */
export const columnsBytes = (columns: DeviceColumns): number =>
  columns.lastTime.byteLength +
  columns.events.byteLength +
  columns.mean.byteLength +
  columns.variance.byteLength +
  columns.drift.byteLength +
  columns.valueHash.byteLength +
  columns.run.byteLength +
  columns.runMax.byteLength +
  columns.window.byteLength +
  columns.memory.byteLength +
  columns.threshold.byteLength +
  columns.anchor.byteLength +
  columns.quietUntil.byteLength +
  columns.flags.byteLength +
  columns.dirty.byteLength

/** Bytes held per device known; NaN without any. */
export const bytesPerDevice = (columns: DeviceColumns): number => columnsBytes(columns) / columns.count
