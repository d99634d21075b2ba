// Takes each event once: remembers the last ids and what the events held.
import { type EventColumns, EventFlag } from "../../schema/event/Batch.ts"
import type { IdWindow } from "../../schema/event/CellState.ts"
import { aligned, BadDelta, checksum } from "./badDelta.ts"

/** Entries in one page of `encodeIdPage`. */
export const ID_PAGE_ENTRIES = 4_096

/** Beyond this an entry's number, its distance and one bit of its hash are more than a slot's 32 bits. */
export const ID_WINDOW_MAX = 2 ** 26 - 1

/**
 * Remembers the last `capacity` ids, at most `ID_WINDOW_MAX`: 12 bytes an id, and a table at most half full (8 to
 * 16 bytes an id).
 */
export const makeIdWindow = (capacity = 65_536): IdWindow => {
  if (!(capacity >= 1 && capacity <= ID_WINDOW_MAX)) {
    throw new RangeError(`an id window holds 1 to ${ID_WINDOW_MAX} ids, not ${capacity}`)
  }
  let slots = 4
  while (slots < capacity * 2) slots *= 2
  return {
    capacity,
    low: new Int32Array(capacity),
    high: new Int32Array(capacity),
    content: new Int32Array(capacity),
    written: 0,
    table: new Int32Array(slots),
    touched: 0
  }
}

// A slot's word: entry + 1 in the low bits, then how far the slot lies from the entry's own (`FAR`: that far or
// further), then bits of the hash. With them a search or a removal seldom has to look at the entries themselves,
// each of which lies somewhere else in memory.
const DISTANCE_BITS = 5
const FAR = (1 << DISTANCE_BITS) - 1

/** Bits of a slot's word that hold entry + 1. */
const entryBitsOf = (capacity: number): number => 32 - Math.clz32(capacity)

/** Both halves are hashes already (`hashId`): one product mixes them well enough. */
const hashOf = (low: number, high: number): number => low ^ Math.imul(high, 0x9e3779b1)

const place = (ids: IdWindow, entry: number): void => {
  const { table } = ids
  const mask = table.length - 1
  const entryBits = entryBitsOf(ids.capacity)
  const hash = hashOf(ids.low[entry], ids.high[entry])
  let slot = hash & mask
  let distance = 0
  while (table[slot] !== 0) {
    slot = (slot + 1) & mask
    distance++
  }
  const tagShift = entryBits + DISTANCE_BITS
  table[slot] =
    ((hash >>> tagShift) << tagShift) | ((distance < FAR ? distance : FAR) << entryBits) | (entry + 1)
}

/** Takes an entry out of the table, moving later ones of its cluster up so that no search breaks off. */
const displace = (ids: IdWindow, entry: number): void => {
  const { table, low, high } = ids
  const mask = table.length - 1
  const entryBits = entryBitsOf(ids.capacity)
  const entryMask = (1 << entryBits) - 1
  let hole = hashOf(low[entry], high[entry]) & mask
  while ((table[hole] & entryMask) !== entry + 1) hole = (hole + 1) & mask
  let slot = hole
  for (;;) {
    slot = (slot + 1) & mask
    const word = table[slot]
    if (word === 0) break
    let distance = (word >>> entryBits) & FAR
    if (distance === FAR) {
      const other = (word & entryMask) - 1
      distance = (slot - hashOf(low[other], high[other])) & mask
    }
    const gap = (slot - hole) & mask
    if (distance >= gap) {
      const left = distance - gap
      table[hole] = (word & ~(FAR << entryBits)) | ((left < FAR ? left : FAR) << entryBits)
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
  const entryBits = entryBitsOf(capacity)
  const entryMask = (1 << entryBits) - 1
  const tagShift = entryBits + DISTANCE_BITS
  const hash = hashOf(low, high)
  for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
    const word = table[slot]
    if (word === 0) break
    if ((word ^ hash) >>> tagShift !== 0) continue
    const entry = (word & entryMask) - 1
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

/** Events whose memory is fetched together before they are looked at one by one. */
const AHEAD = 128

/**
 * Reads the slots that events [from, to) and the entries they push out lead to. Loads that don't wait for one
 * another overlap, so that the cache misses of many events cost little more than one; the sum only keeps them
 * from being left out.
 */
const touch = (ids: IdWindow, events: EventColumns, from: number, to: number): void => {
  const { table, low, high, capacity } = ids
  const { idLow, idHigh } = events
  const mask = table.length - 1
  const full = ids.written >= capacity
  let oldest = ids.written % capacity
  let sum = 0
  for (let i = from; i < to; i++) {
    sum ^= table[hashOf(idLow[i], idHigh[i]) & mask]
    if (full) {
      sum ^= table[hashOf(low[oldest], high[oldest]) & mask]
      if (++oldest === capacity) oldest = 0
    }
  }
  ids.touched = sum
}

/** Flags events [from, to) that repeat an id; gives the number of duplicates and conflicts together. */
export const markRepeats = (ids: IdWindow, events: EventColumns, from: number, to: number): number => {
  let repeats = 0
  let touched = from
  for (let i = from; i < to; i++) {
    if (i === touched) {
      touched = Math.min(to, i + AHEAD)
      touch(ids, events, i, touched)
    }
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
