// Everything a cell remembers that is not a device's row: making it, and one small blob of it for checkpoints.
import { type CellState, ENERGY_BINS } from "../../schema/event/CellState.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { aligned, BadDelta, checksum } from "./badDelta.ts"
import { makeCategoryShares } from "./categoryShares.ts"
import { makeIdWindow } from "./idWindow.ts"

const MAGIC = 0x43445347 // "GSDC"
const VERSION = 3
/** Arrays that a blob of version 1 or 2 lacks at the end of its fixed ones: `level`, `watch`. */
const LACKING = [0, 2, 1, 0]
const HEADER_WORDS = 8
const CHECKSUM_WORD = 7

/** The state of a cell that has seen nothing. `idsMax`: event ids remembered; 0 where events have none. */
export const makeCellState = (plan: StreamPlan, idsMax = plan.id === undefined ? 0 : 65_536): CellState => ({
  watermark: { newest: Number.NEGATIVE_INFINITY },
  fleet: {
    offered: new Float64Array(1),
    count: new Float64Array(plan.signals.length),
    mean: new Float64Array(plan.signals.length),
    variance: new Float64Array(plan.signals.length),
    settled: new Float64Array(plan.signals.length),
    within: new Float64Array(plan.signals.length),
    compared: new Float64Array(plan.numbers.length),
    repeat: new Float64Array(plan.numbers.length)
  },
  shares: makeCategoryShares(plan.categories.map((column) => column.size)),
  ids: makeIdWindow(Math.max(1, idsMax)),
  energies: { counts: new Float64Array(ENERGY_BINS), totals: new Float64Array(4), tail: new Float64Array(4) },
  level: new Float64Array(1),
  watch: new Float64Array(2),
  overrides: new Map()
})

/** The arrays of fixed length, in the order in which they are stored. */
const fixedArrays = (cell: CellState): ReadonlyArray<Float64Array> => [
  cell.fleet.offered,
  cell.fleet.count,
  cell.fleet.mean,
  cell.fleet.variance,
  cell.fleet.settled,
  cell.fleet.within,
  cell.fleet.compared,
  cell.fleet.repeat,
  cell.shares.total,
  cell.shares.novel,
  cell.shares.usual,
  cell.energies.totals,
  cell.energies.tail,
  cell.energies.counts,
  cell.level,
  cell.watch
]

/** Slots of a category column up to the last one in use. */
const usedSlots = (cell: CellState, column: number): number => {
  const { base, weight } = cell.shares
  let end = base[column + 1]
  while (end > base[column] && weight[end - 1] === 0) end--
  return end - base[column]
}

/**
 * Watermark, fleet, category shares, energy histogram, overrides and the number of event ids written (the ids
 * themselves: `encodeIdPage`), as one blob: about 3 KB and 8 bytes for each category value in use.
 */
export const encodeCellState = (cell: CellState): Uint8Array => {
  const fixed = fixedArrays(cell)
  const columns = cell.shares.total.length
  const used = Array.from({ length: columns }, (_, column) => usedSlots(cell, column))
  const numbers: Array<number> = [cell.watermark.newest, cell.ids.written, cell.ids.capacity]
  for (const array of fixed) for (const value of array) numbers.push(value)
  for (let column = 0; column < columns; column++) {
    numbers.push(used[column])
    const from = cell.shares.base[column]
    for (let slot = from; slot < from + used[column]; slot++) numbers.push(cell.shares.weight[slot])
  }
  for (const [row, override] of [...cell.overrides].sort((a, b) => a[0] - b[0])) {
    numbers.push(row, override.thresholdShift, override.mute ? 1 : 0, override.untilMillis)
  }
  const buffer = new ArrayBuffer(HEADER_WORDS * 4 + numbers.length * 8)
  const head = new Uint32Array(buffer, 0, HEADER_WORDS)
  head[0] = MAGIC
  head[1] = VERSION
  head[2] = cell.fleet.count.length
  head[3] = cell.fleet.compared.length
  head[4] = columns
  head[5] = cell.overrides.size
  head[6] = buffer.byteLength
  new Float64Array(buffer, HEADER_WORDS * 4).set(numbers)
  head[CHECKSUM_WORD] = checksum(buffer, CHECKSUM_WORD)
  return new Uint8Array(buffer)
}

/**
 * Restores into the state of a cell of the same plan (made by `makeCellState`); event ids still need
 * `restoreIdPages`. Throws `BadDelta`: cut, damaged, of another version or shape.
 */
export const decodeCellState = (bytes: Uint8Array, cell: CellState): void => {
  const buffer = aligned(bytes)
  if (buffer.byteLength < HEADER_WORDS * 4 || (buffer.byteLength & 7) !== 0) {
    throw new BadDelta(`the cell's state is ${buffer.byteLength} bytes long: cut, or not a cell's state`)
  }
  const head = new Uint32Array(buffer, 0, HEADER_WORDS)
  if (head[0] !== MAGIC) throw new BadDelta("these bytes are not a cell's state: they start otherwise")
  if (!(head[1] >= 1 && head[1] <= VERSION)) {
    throw new BadDelta(`the cell's state has version ${head[1]}, this program reads versions 1 to ${VERSION}`)
  }
  if (head[6] !== buffer.byteLength || head[CHECKSUM_WORD] !== checksum(buffer, CHECKSUM_WORD)) {
    throw new BadDelta("the cell's state is damaged: its length or checksum differs")
  }
  const columns = cell.shares.total.length
  if (head[2] !== cell.fleet.count.length || head[3] !== cell.fleet.compared.length || head[4] !== columns) {
    throw new BadDelta(
      `the cell's state holds ${head[2]} signals, ${head[3]} numbers and ${head[4]} categories; the stream now has ` +
        `${cell.fleet.count.length}, ${cell.fleet.compared.length} and ${columns}`
    )
  }
  const numbers = new Float64Array(buffer, HEADER_WORDS * 4)
  if (numbers[2] !== cell.ids.capacity) {
    throw new BadDelta(
      `the cell's state remembers ${numbers[2]} event ids, this program ${cell.ids.capacity}`
    )
  }
  let at = 3
  // Version 1 knew no level: it stays as it is made, and is found again within some hundred events. Version 2 knew no
  // turn of silence: it begins anew.
  const known = fixedArrays(cell)
  const fixed = known.slice(0, known.length - LACKING[head[1]])
  const spans: Array<readonly [start: number, used: number]> = []
  for (const array of fixed) at += array.length
  for (let column = 0; column < columns; column++) {
    const used = numbers[at]
    const room = cell.shares.base[column + 1] - cell.shares.base[column]
    if (!(used >= 0 && used <= room)) throw new BadDelta(`category ${column} has ${used} values; ${room} fit`)
    spans.push([at + 1, used])
    at += 1 + used
  }
  if (at + head[5] * 4 !== numbers.length)
    throw new BadDelta("the cell's state is longer or shorter than it says")

  cell.watermark.newest = numbers[0]
  cell.ids.written = numbers[1]
  let from = 3
  for (const array of fixed) {
    array.set(numbers.subarray(from, from + array.length))
    from += array.length
  }
  cell.shares.weight.fill(0)
  for (let column = 0; column < columns; column++) {
    const [start, used] = spans[column]
    cell.shares.weight.set(numbers.subarray(start, start + used), cell.shares.base[column])
  }
  cell.overrides.clear()
  for (let k = 0; k < head[5]; k++, at += 4) {
    cell.overrides.set(numbers[at], {
      thresholdShift: numbers[at + 1],
      mute: numbers[at + 2] === 1,
      untilMillis: numbers[at + 3]
    })
  }
}
