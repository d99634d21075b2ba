// Byte strings to small numbers: the bytes lie end to end in one arena, found by open addressing.
import type { Interner } from "../../schema/event/Batch.ts"
import { grownLength } from "./growth.ts"

/** Ids a table slot can hold beside its 8 tag bits. */
export const INTERNER_MAX = 0xff_ffff

export interface InternerOptions {
  /** Distinct strings kept; `intern` answers −1 beyond. At most `INTERNER_MAX`, the default. */
  readonly max?: number
  /** Mixed into the hash, against ids chosen to collide. Ids given out don't depend on it. */
  readonly seed?: number
}

/** `internMany` of an interner to which memory is no concern. */
export const internEach =
  (intern: Interner["intern"]): Interner["internMany"] =>
  (bytes, from, to, starts, ends, ids) => {
    for (let i = from; i < to; i++) ids[i] = intern(bytes, starts[i], ends[i])
  }

export interface ArenaInterner extends Interner {
  /** Where the string of `id` lies; a view into the arena, valid until the next `intern`. */
  readonly bytesOf: (id: number) => Uint8Array
  /** Strings [from, to) as `u16 length, bytes` each, little-endian. */
  readonly serialize: (from: number, to: number) => Uint8Array
  /** As `serialize`, the strings of these ids, each below `count`. */
  readonly serializeEach: (ids: Int32Array) => Uint8Array
  /** Interns what `serialize` wrote. Gives how many strings were read, −1 if the bytes are cut or a string is too long. */
  readonly restore: (bytes: Uint8Array) => number
  /** Makes room for `count` strings at once, as much as they would have in the end: what grows step by step moves often. */
  readonly reserve: (count: number) => void
  /** Bytes of memory held. */
  readonly memoryBytes: () => number
}

/** Strings whose memory is fetched together before they are looked up one by one. */
const AHEAD = 128

/** Longest string, in bytes: its length is stored in 16 bits. */
export const INTERNED_BYTES_MAX = 0xffff

const mix = (hash: number): number => {
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d)
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b)
  return hash ^ (hash >>> 16)
}

const hashOf = (bytes: Uint8Array, start: number, end: number, seed: number): number => {
  let hash = seed ^ (end - start)
  let i = start
  for (; i + 4 <= end; i += 4) {
    const word = bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24)
    hash = Math.imul(hash ^ Math.imul(word, 0x9e3779b1), 0x85ebca6b)
    hash = (hash << 13) | (hash >>> 19)
  }
  let word = 0
  for (; i < end; i++) word = (word << 8) | bytes[i]
  return mix(hash ^ Math.imul(word, 0x9e3779b1))
}

/** As `hashOf`, of bytes over which `view` lies, four at a time. */
const hashOfView = (view: DataView, start: number, end: number, seed: number): number => {
  let hash = seed ^ (end - start)
  let i = start
  for (; i + 4 <= end; i += 4) {
    hash = Math.imul(hash ^ Math.imul(view.getInt32(i, true), 0x9e3779b1), 0x85ebca6b)
    hash = (hash << 13) | (hash >>> 19)
  }
  let word = 0
  for (; i < end; i++) word = (word << 8) | view.getUint8(i)
  return mix(hash ^ Math.imul(word, 0x9e3779b1))
}

/** Are `length` bytes of a from `at` and of b from `start` the same? */
const sameBytes = (a: DataView, at: number, b: DataView, start: number, length: number): boolean => {
  if (length < 4) {
    for (let k = 0; k < length; k++) if (a.getUint8(at + k) !== b.getUint8(start + k)) return false
    return true
  }
  // The last word ends with the text and may overlap the one before.
  const last = length - 4
  for (let k = 0; k < last; k += 4) if (a.getInt32(at + k) !== b.getInt32(start + k)) return false
  return a.getInt32(at + last) === b.getInt32(start + last)
}

/**
 * Id of the string view[start, end) where the slots from its own on show it before an empty one, −1 where they don't.
 * The module's own function, and not made per interner, for speed: see `ingest/flatObject.ts`.
 */
const knownId = (
  table: Uint32Array,
  starts: Uint32Array,
  arena: DataView,
  view: DataView,
  start: number,
  end: number,
  hash: number
): number => {
  const size = table.length
  const length = end - start
  const tag = hash & 0xff
  let slot = Math.floor((hash >>> 0) * (size / 4_294_967_296))
  for (;;) {
    const entry = table[slot]
    if (entry === 0) return -1
    if (entry >>> 24 === tag) {
      const id = (entry & 0xff_ffff) - 1
      const at = starts[id]
      if (starts[id + 1] - at === length && sameBytes(arena, at, view, start, length)) return id
    }
    if (++slot === size) slot = 0
  }
}

const hashes = new Int32Array(AHEAD)
const places = new Int32Array(AHEAD)

/** Hashes texts [from, to), at most `AHEAD`, and fetches what leads to them. */
const lookAhead = (
  table: Uint32Array,
  starts: Uint32Array,
  arena: DataView,
  view: DataView,
  from: number,
  to: number,
  textStarts: Int32Array,
  textEnds: Int32Array,
  seed: number
): void => {
  const count = to - from
  for (let i = 0; i < count; i++) {
    hashes[i] = hashOfView(view, textStarts[from + i], textEnds[from + i], seed)
  }
  // One short loop for each step to the text, in which no load waits for another: the misses overlap.
  const scale = table.length / 4_294_967_296
  for (let i = 0; i < count; i++) {
    const entry = table[Math.floor((hashes[i] >>> 0) * scale)] & 0xff_ffff
    places[i] = entry === 0 ? 0 : entry - 1
  }
  for (let i = 0; i < count; i++) places[i] = starts[places[i]]
  for (let i = 0; i < count; i++) places[i] = arena.getUint8(places[i])
}

/**
 * An interner of at most `max` strings of at most 65,535 bytes each (−1 for a longer one). About
 * length + 10 bytes of memory per string: start (4), slot (4, table at most three quarters full), slack.
 */
export const makeInterner = (options: InternerOptions = {}): ArenaInterner => {
  const max = Math.min(options.max ?? INTERNER_MAX, INTERNER_MAX)
  const seed = (options.seed ?? 0x2545f491) | 0
  const decoder = new TextDecoder()
  let count = 0
  let arena = new Uint8Array(1_024)
  let arenaView = new DataView(arena.buffer)
  /** Start of each string and, one past the last, the end of the arena's use. */
  let starts = new Uint32Array(65)
  /** 0 = empty; else tag (8 bits of the hash) above id + 1 (24 bits). */
  let table = new Uint32Array(96)
  /** Strings beyond which the table is laid out anew. */
  let room = 64

  /** Slot of the string, or ~slot of the empty one where it would go. */
  const slotOf = (bytes: Uint8Array, start: number, end: number, hash: number): number => {
    const size = table.length
    const length = end - start
    // The high bits choose the slot (multiply-shift takes any table size), the low ones the tag.
    let slot = Math.floor((hash >>> 0) * (size / 4_294_967_296))
    const tag = hash & 0xff
    for (;;) {
      const entry = table[slot]
      if (entry === 0) return ~slot
      if (entry >>> 24 === tag) {
        const id = (entry & 0xff_ffff) - 1
        const at = starts[id]
        if (starts[id + 1] - at === length) {
          let i = 0
          while (i < length && arena[at + i] === bytes[start + i]) i++
          if (i === length) return slot
        }
      }
      if (++slot === size) slot = 0
    }
  }

  const layOut = (size: number): void => {
    table = new Uint32Array(size)
    for (let id = 0; id < count; id++) {
      const hash = hashOf(arena, starts[id], starts[id + 1], seed)
      let slot = Math.floor((hash >>> 0) * (size / 4_294_967_296))
      while (table[slot] !== 0) if (++slot === size) slot = 0
      table[slot] = (((hash & 0xff) << 24) | (id + 1)) >>> 0
    }
  }

  const makeRoom = (length: number): void => {
    const used = starts[count]
    if (used + length > arena.length) {
      const grown = new Uint8Array(grownLength(arena.length, used + length))
      grown.set(arena.subarray(0, used))
      arena = grown
      arenaView = new DataView(arena.buffer)
    }
    if (count + 2 > starts.length) growStarts(count + 2)
  }

  const growStarts = (needed: number): void => {
    const grown = new Uint32Array(grownLength(starts.length, needed))
    grown.set(starts)
    starts = grown
  }

  // Laying out anew visits every string, so the table grows in larger steps than the arena.
  const growTable = (needed: number): void => {
    room = grownLength(room, needed, 3)
    layOut(Math.ceil(room * 1.34))
  }

  const reserve = (wanted: number): void => {
    const needed = Math.min(wanted, max)
    if (needed > room) growTable(needed)
    if (needed + 1 > starts.length) growStarts(needed + 1)
  }

  const internHashed = (bytes: Uint8Array, start: number, end: number, hash: number): number => {
    let slot = slotOf(bytes, start, end, hash)
    if (slot >= 0) return (table[slot] & 0xff_ffff) - 1
    const length = end - start
    if (count >= max || length > INTERNED_BYTES_MAX) return -1
    if (count >= room) {
      growTable(count + 1)
      slot = slotOf(bytes, start, end, hash)
    }
    makeRoom(length)
    const at = starts[count]
    for (let i = 0; i < length; i++) arena[at + i] = bytes[start + i]
    starts[count + 1] = at + length
    table[~slot] = (((hash & 0xff) << 24) | (count + 1)) >>> 0
    return count++
  }

  const intern = (bytes: Uint8Array, start: number, end: number): number =>
    internHashed(bytes, start, end, hashOf(bytes, start, end, seed))

  const internMany: Interner["internMany"] = (bytes, from, to, textStarts, textEnds, ids) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    for (let block = from; block < to; block += AHEAD) {
      const stop = Math.min(to, block + AHEAD)
      lookAhead(table, starts, arenaView, view, block, stop, textStarts, textEnds, seed)
      for (let i = block; i < stop; i++) {
        const hash = hashes[i - block]
        const id = knownId(table, starts, arenaView, view, textStarts[i], textEnds[i], hash)
        ids[i] = id >= 0 ? id : internHashed(bytes, textStarts[i], textEnds[i], hash)
      }
    }
  }

  const find = (bytes: Uint8Array, start: number, end: number): number => {
    const slot = slotOf(bytes, start, end, hashOf(bytes, start, end, seed))
    return slot < 0 ? -1 : (table[slot] & 0xff_ffff) - 1
  }

  const bytesOf = (id: number): Uint8Array =>
    id >= 0 && id < count ? arena.subarray(starts[id], starts[id + 1]) : arena.subarray(0, 0)

  const serialize = (from: number, to: number): Uint8Array => {
    const first = Math.max(0, from)
    const last = Math.min(count, to)
    if (last <= first) return new Uint8Array(0)
    const bytes = new Uint8Array((last - first) * 2 + starts[last] - starts[first])
    let at = 0
    for (let id = first; id < last; id++) {
      const length = starts[id + 1] - starts[id]
      bytes[at++] = length & 0xff
      bytes[at++] = length >>> 8
      for (let k = starts[id]; k < starts[id + 1]; k++) bytes[at++] = arena[k]
    }
    return bytes
  }

  const serializeEach = (ids: Int32Array): Uint8Array => {
    let size = 0
    for (let i = 0; i < ids.length; i++) size += 2 + starts[ids[i] + 1] - starts[ids[i]]
    const bytes = new Uint8Array(size)
    let at = 0
    for (let i = 0; i < ids.length; i++) {
      const from = starts[ids[i]]
      const length = starts[ids[i] + 1] - from
      bytes[at++] = length & 0xff
      bytes[at++] = length >>> 8
      for (let k = 0; k < length; k++) bytes[at++] = arena[from + k]
    }
    return bytes
  }

  const restore = (bytes: Uint8Array): number => {
    let at = 0
    let read = 0
    while (at < bytes.length) {
      if (at + 2 > bytes.length) return -1
      const length = bytes[at] | (bytes[at + 1] << 8)
      at += 2
      if (at + length > bytes.length || intern(bytes, at, at + length) < 0) return -1
      at += length
      read++
    }
    return read
  }

  return {
    get count() {
      return count
    },
    intern,
    internMany,
    find,
    text: (id) => decoder.decode(bytesOf(id)),
    bytesOf,
    serialize,
    serializeEach,
    restore,
    reserve,
    memoryBytes: () => arena.byteLength + starts.byteLength + table.byteLength
  }
}
