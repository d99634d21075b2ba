// Takes each event once: remembers the last ids and what the events held.
import { type EventColumns, EventFlag } from "../../schema/event/Batch.ts"
import type { IdWindow } from "../../schema/event/CellState.ts"
import { aligned, BadDelta, checksum } from "./badDelta.ts"

/** Entries in one page of `encodeIdPage`. */
export const ID_PAGE_ENTRIES = 4_096

/** Remembers the last `capacity` ids: 12 bytes an id, and a table at most half full (8 to 16 bytes an id). */
export const makeIdWindow = (capacity = 65_536): IdWindow => {
  let slots = 4
  while (slots < capacity * 2) slots *= 2
  return {
    capacity,
    low: new Int32Array(capacity),
    high: new Int32Array(capacity),
    content: new Int32Array(capacity),
    written: 0,
    table: new Int32Array(slots)
  }
}

const slotFor = (low: number, high: number, mask: number): number => {
  let hash = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 15), 0x7feb352d)
  return (hash ^ (hash >>> 16)) & mask
}

const place = (ids: IdWindow, entry: number): void => {
  const { table } = ids
  const mask = table.length - 1
  let slot = slotFor(ids.low[entry], ids.high[entry], mask)
  while (table[slot] !== 0) slot = (slot + 1) & mask
  table[slot] = entry + 1
}

/** Takes an entry out of the table, moving later ones of its cluster up so that no search breaks off. */
const displace = (ids: IdWindow, entry: number): void => {
  const { table, low, high } = ids
  const mask = table.length - 1
  let hole = slotFor(low[entry], high[entry], mask)
  while (table[hole] !== entry + 1) hole = (hole + 1) & mask
  let slot = hole
  for (;;) {
    slot = (slot + 1) & mask
    const other = table[slot] - 1
    if (other < 0) break
    const home = slotFor(low[other], high[other], mask)
    if (((slot - home) & mask) >= ((slot - hole) & mask)) {
      table[hole] = other + 1
      hole = slot
    }
  }
  table[hole] = 0
}

/**
 * 0: new, and remembered from now on; 1: seen with the same content; 2: seen with other content. An id of
 * (0, 0) means none: always new, never remembered.
 */
export const seen = (ids: IdWindow, low: number, high: number, content: number): 0 | 1 | 2 => {
  if ((low | high) === 0) return 0
  const { table, capacity } = ids
  const mask = table.length - 1
  for (let slot = slotFor(low, high, mask); ; slot = (slot + 1) & mask) {
    const entry = table[slot] - 1
    if (entry < 0) break
    if (ids.low[entry] === low && ids.high[entry] === high) return ids.content[entry] === content ? 1 : 2
  }
  const entry = ids.written % capacity
  if (ids.written >= capacity) displace(ids, entry)
  ids.low[entry] = low
  ids.high[entry] = high
  ids.content[entry] = content
  ids.written++
  place(ids, entry)
  return 0
}

/** Flags events [from, to) that repeat an id; gives the number of duplicates and conflicts together. */
export const markRepeats = (ids: IdWindow, events: EventColumns, from: number, to: number): number => {
  let repeats = 0
  for (let i = from; i < to; i++) {
    const verdict = seen(ids, events.idLow[i], events.idHigh[i], events.content[i])
    if (verdict === 0) continue
    events.flags[i] |= verdict === 1 ? EventFlag.duplicate : EventFlag.conflict
    repeats++
  }
  return repeats
}

/** Pages with ids written since `written` was this: what a checkpoint has to store again. */
export const idPagesSince = (ids: IdWindow, written: number): ReadonlyArray<number> => {
  const pages = new Set<number>()
  const first = Math.max(written, ids.written - ids.capacity)
  for (let n = first; n < ids.written; ) {
    const entry = n % ids.capacity
    const page = Math.floor(entry / ID_PAGE_ENTRIES)
    pages.add(page)
    n += Math.min((page + 1) * ID_PAGE_ENTRIES, ids.capacity) - entry
  }
  return [...pages].sort((a, b) => a - b)
}

const pageEntries = (ids: IdWindow, page: number): readonly [from: number, to: number] => {
  const used = Math.min(ids.written, ids.capacity)
  return [page * ID_PAGE_ENTRIES, Math.min((page + 1) * ID_PAGE_ENTRIES, used)]
}

/** One page of the ring: checksum, then low, high and content halves; at most 48 KiB. */
export const encodeIdPage = (ids: IdWindow, page: number): Uint8Array => {
  const [from, to] = pageEntries(ids, page)
  const count = Math.max(0, to - from)
  const words = new Int32Array(1 + 3 * count)
  words.set(ids.low.subarray(from, to), 1)
  words.set(ids.high.subarray(from, to), 1 + count)
  words.set(ids.content.subarray(from, to), 1 + 2 * count)
  words[0] = checksum(words.buffer, 0)
  return new Uint8Array(words.buffer)
}

/**
 * Restores all pages; `written` must be set (by `decodeCellState`) before. Throws `BadDelta` where a page
 * is missing, damaged or of another length.
 */
export const restoreIdPages = (ids: IdWindow, pages: ReadonlyMap<number, Uint8Array>): void => {
  const used = Math.min(ids.written, ids.capacity)
  ids.table.fill(0)
  for (let page = 0; page * ID_PAGE_ENTRIES < used; page++) {
    const [from, to] = pageEntries(ids, page)
    const count = to - from
    const bytes = pages.get(page)
    if (bytes === undefined) throw new BadDelta(`page ${page} of the event ids is missing`)
    if (bytes.length !== 4 * (1 + 3 * count)) {
      throw new BadDelta(
        `page ${page} of the event ids is ${bytes.length} bytes long, not ${4 * (1 + 3 * count)}`
      )
    }
    const words = new Int32Array(aligned(bytes))
    if (words[0] >>> 0 !== checksum(words.buffer, 0))
      throw new BadDelta(`page ${page} of the event ids is damaged`)
    ids.low.set(words.subarray(1, 1 + count), from)
    ids.high.set(words.subarray(1 + count, 1 + 2 * count), from)
    ids.content.set(words.subarray(1 + 2 * count), from)
  }
  for (let entry = 0; entry < used; entry++) place(ids, entry)
}
