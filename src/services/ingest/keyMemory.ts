// What a reader of flat objects remembers of the keys it has read: producers seldom change the order of their keys, and
// many of the values that nobody declared never change. So of each place in a record, the bytes between the value before
// and the next value that has to be read (`,"region":"eu","port":443,"load":`) are kept, with the slot they lead to.
// Where the same bytes come again, comparing words replaces reading them.
import { plainBytes, skipUtf8 } from "./json.ts"
import { findKey, type KeyTable } from "./keys.ts"

/** Places of a record that are remembered. */
export const PLACES = 64
/** Words of eight bytes that are compared at a place, at most. */
export const WIDE = 16
/** Longest stretch, key with its punctuation, and value in bytes that are remembered. */
const STRETCH_MAX = WIDE * 8
const KEY_MAX = 40
const VALUE_MAX = 40
/** Shortest stretch: no key is shorter (`"":` but for an empty one), and compared are two words of four bytes. */
const STRETCH_MIN = 4
/** Times in a row that a value has to be the same before it is taken into the stretch of its key. */
export const SAME_MIN = 16
/** `same` of a place whose value was seen to change. */
const VARIES = SAME_MIN + 1

export interface KeyMemory {
  readonly table: KeyTable
  /** PLACES: bytes in the stretch, 0 for none; slot it leads to, −1 if what follows isn't declared; places it passes over. */
  readonly lengths: Int32Array
  readonly slots: Int16Array
  readonly spans: Int32Array
  /** PLACES × WIDE: a stretch of eight bytes or more as words, the last of which ends with the stretch and may overlap. */
  readonly words: Float64Array
  /** PLACES: the first and the last four bytes of a shorter one. */
  readonly heads: Int32Array
  readonly tails: Int32Array
  readonly stretches: Uint8Array
  /** PLACES: the key alone, and its slot. */
  readonly keys: Uint8Array
  readonly keyLengths: Int32Array
  readonly keySlots: Int16Array
  /** PLACES: the last value of a key that isn't declared, and how often in a row it was the same (`SAME_MIN` at most). */
  readonly values: Uint8Array
  readonly valueLengths: Int32Array
  readonly same: Int8Array
}

export const makeKeyMemory = (table: KeyTable): KeyMemory => ({
  table,
  lengths: new Int32Array(PLACES),
  slots: new Int16Array(PLACES),
  spans: new Int32Array(PLACES),
  words: new Float64Array(PLACES * WIDE),
  heads: new Int32Array(PLACES),
  tails: new Int32Array(PLACES),
  stretches: new Uint8Array(PLACES * STRETCH_MAX),
  keys: new Uint8Array(PLACES * KEY_MAX),
  keyLengths: new Int32Array(PLACES),
  keySlots: new Int16Array(PLACES),
  values: new Uint8Array(PLACES * VALUE_MAX),
  valueLengths: new Int32Array(PLACES),
  same: new Int8Array(PLACES)
})

/** Makes words of the stretch of a place. */
const layOut = (memory: KeyMemory, place: number, length: number, slot: number, span: number): void => {
  const { stretches, words } = memory
  const from = place * STRETCH_MAX
  const view = new DataView(stretches.buffer, from, STRETCH_MAX)
  memory.lengths[place] = length
  memory.slots[place] = slot
  memory.spans[place] = span
  memory.heads[place] = view.getInt32(0, true)
  memory.tails[place] = view.getInt32(length - 4, true)
  if (length < 8) return
  const base = place * WIDE
  let k = 0
  for (; k * 8 < length - 8; k++) words[base + k] = view.getFloat64(k * 8, true)
  words[base + k] = view.getFloat64(length - 8, true)
}

/** The stretch of a place is its key alone. */
const layOutKey = (memory: KeyMemory, place: number): void => {
  const length = memory.keyLengths[place]
  const key = memory.keys.subarray(place * KEY_MAX, place * KEY_MAX + length)
  memory.stretches.set(key, place * STRETCH_MAX)
  layOut(memory, place, length, memory.keySlots[place], 0)
}

/** Lengthens the stretch of a place by its value and the stretch of the next place, where they fit. */
const layOutValue = (memory: KeyMemory, place: number): void => {
  const { keys, values, stretches } = memory
  const keyLength = memory.keyLengths[place]
  const valueLength = memory.valueLengths[place]
  const next = place + 1
  const nextLength = next < PLACES ? memory.lengths[next] : 0
  const length = keyLength + valueLength + nextLength
  if (nextLength === 0 || length > STRETCH_MAX) return
  const to = place * STRETCH_MAX
  stretches.set(keys.subarray(place * KEY_MAX, place * KEY_MAX + keyLength), to)
  stretches.set(values.subarray(place * VALUE_MAX, place * VALUE_MAX + valueLength), to + keyLength)
  stretches.copyWithin(to + keyLength + valueLength, next * STRETCH_MAX, next * STRETCH_MAX + nextLength)
  layOut(memory, place, length, memory.slots[next], memory.spans[next] + 1)
}

/** Remembers bytes[from, to), which has just been read as a key (`,"key":`), where it is short enough. */
const learnKey = (
  memory: KeyMemory,
  bytes: Uint8Array,
  place: number,
  from: number,
  to: number,
  slot: number
): void => {
  const length = to - from
  memory.lengths[place] = 0
  memory.valueLengths[place] = 0
  memory.same[place] = 0
  if (length > KEY_MAX || length < STRETCH_MIN) return
  for (let k = 0; k < length; k++) memory.keys[place * KEY_MAX + k] = bytes[from + k]
  memory.keyLengths[place] = length
  memory.keySlots[place] = slot
  layOutKey(memory, place)
}

/** First byte from `from` on that ends a string without escapes (its quote), or −1. */
const skipPlain = (bytes: Uint8Array, from: number, last: number): number => {
  let i = from
  for (;;) {
    while (i < last && plainBytes[bytes[i]] === 1) i++
    if (i >= last) return -1
    const c = bytes[i]
    if (c === 0x22) return i
    i = c < 0x80 ? -1 : skipUtf8(bytes, i, last)
    if (i < 0) return -1
  }
}

/** Number of the key that `readKey` read last: its slot, −1 if it isn't declared. */
export const keyRead = { slot: -1 }

/**
 * Reads `, "key" :` (without the comma at the first place) from `at` on, and learns it; answers where the value starts,
 * or −1 where that isn't a key, or one with escapes. bytes[last] is `}`.
 */
export const readKey = (
  memory: KeyMemory,
  bytes: Uint8Array,
  at: number,
  last: number,
  place: number
): number => {
  let i = at
  if (place > 0) {
    if (bytes[i] !== 0x2c) return -1
    i++
  }
  let c = bytes[i]
  while (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) c = bytes[++i]
  if (c !== 0x22) return -1
  const start = ++i
  i = skipPlain(bytes, i, last)
  if (i < 0) return -1
  const slot = findKey(memory.table, bytes, start, i)
  c = bytes[++i]
  while (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) c = bytes[++i]
  if (c !== 0x3a) return -1
  c = bytes[++i]
  while (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) c = bytes[++i]
  if (place < PLACES) learnKey(memory, bytes, place, at, i, slot)
  keyRead.slot = slot
  return i
}

/**
 * Notes bytes[from, to), the checked value at a place that isn't declared and where `same` is below `SAME_MIN`, with the
 * white space behind it. One that stays the same is taken into the stretch of its key, and so are those before it.
 */
export const noteValue = (
  memory: KeyMemory,
  bytes: Uint8Array,
  place: number,
  from: number,
  to: number
): void => {
  const { values, valueLengths, same } = memory
  const length = to - from
  if (length > VALUE_MAX || memory.lengths[place] === 0) {
    same[place] = VARIES
    return
  }
  const base = place * VALUE_MAX
  if (valueLengths[place] === 0) {
    for (let k = 0; k < length; k++) values[base + k] = bytes[from + k]
    valueLengths[place] = length
    return
  }
  let equal = valueLengths[place] === length
  for (let k = 0; equal && k < length; k++) equal = values[base + k] === bytes[from + k]
  if (!equal) {
    same[place] = VARIES
    return
  }
  same[place]++
  if (same[place] < SAME_MIN) return
  for (let before = place; before >= 0 && same[before] === SAME_MIN; before--) layOutValue(memory, before)
}

/** The stretch of a place with values in it did not come again: from now on it is the key alone. */
export const shorten = (memory: KeyMemory, place: number): void => {
  memory.same[place] = VARIES
  layOutKey(memory, place)
}
