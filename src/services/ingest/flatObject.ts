// One fast pass over a flat JSON object in the batch's bytes: what stands at the declared keys goes to slots,
// everything else is checked and stepped over, four bytes at a time where it can be.
import { latin1 } from "./document.ts"
import { plainBytes, skipNumber, skipString, skipUtf8, skipValue } from "./json.ts"
import { findKey, type Layout } from "./keys.ts"

export interface FlatReader {
  /** Per slot: what stands there (`Kind`), where (a string without its quotes), and a number's value. */
  readonly kind: Uint8Array
  readonly start: Int32Array
  readonly end: Int32Array
  readonly value: Float64Array
  /**
   * Reads bytes[from, stop), over which `view` lies too, into the slots. True only where that is a JSON object
   * by the whole grammar, no declared key stands there twice, and no declared value is an object, an array or
   * a string with escapes. Reads no byte beyond `stop`, but for words that are cut afterwards.
   */
  readonly read: (bytes: Uint8Array, view: DataView, from: number, stop: number) => boolean
}

/** Powers of ten that are exact doubles; dividing an exact integer by one is correctly rounded. */
const tens = Float64Array.from({ length: 16 }, (_, exponent) => 10 ** exponent)

/** Makes a reader for the declared keys of `layout`, whose paths all have one level (`layout.flat`). */
export const makeFlatReader = (layout: Layout, depthMax: number): FlatReader => {
  const table = layout.root
  const slotCount = layout.slotCount
  const kind = new Uint8Array(slotCount)
  const start = new Int32Array(slotCount)
  const end = new Int32Array(slotCount)
  const value = new Float64Array(slotCount)

  /** Places in a record whose key is remembered, and how many words are remembered of each. */
  const PLACES = 64
  const PLACE_WORDS = 10
  const plain = plainBytes

  // Producers seldom change the order of their keys. So of each place of the last records, the bytes between
  // the value before and the value after (`,"key":`) are kept, with the slot they lead to (−1 for a key that
  // is not declared). Where the same bytes come again, comparing words replaces reading the key.
  const placeWords = new Int32Array(PLACES * PLACE_WORDS)
  const placeLengths = new Int32Array(PLACES)
  const placeMasks = new Int32Array(PLACES)
  const placeSlots = new Int16Array(PLACES)

  /** Remembers bytes[from, to), which has just been read as a key, where it is short enough. */
  const learn = (bytes: Uint8Array, place: number, from: number, to: number, slot: number): void => {
    const length = to - from
    placeLengths[place] = 0
    if (length > PLACE_WORDS * 4) return
    const base = place * PLACE_WORDS
    placeWords.fill(0, base, base + PLACE_WORDS)
    for (let k = 0; k < length; k++) placeWords[base + (k >> 2)] |= bytes[from + k] << ((k & 3) << 3)
    placeLengths[place] = length
    placeMasks[place] = (length & 3) === 0 ? -1 : (1 << ((length & 3) << 3)) - 1
    placeSlots[place] = slot
  }

  /** Set by `readKey`: number of the key, and where its value starts. */
  let keySlot = -1

  /** Reads `, "key" :` (without the comma at the first place) from `at` on; answers where the value starts, or −1. */
  const readKey = (bytes: Uint8Array, at: number, last: number, place: number): number => {
    let i = at
    if (place > 0) {
      if (bytes[i] !== 0x2c) return -1
      i++
    }
    let c = bytes[i]
    while (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) c = bytes[++i]
    if (c !== 0x22) return -1
    const keyStart = ++i
    for (;;) {
      while (i < last && plain[bytes[i]] === 1) i++
      c = bytes[i]
      if (i >= last || c < 0x20 || c === 0x5c) return -1
      if (c === 0x22) break
      i = skipUtf8(bytes, i, last)
      if (i < 0) return -1
    }
    keySlot = findKey(table, bytes, keyStart, i)
    c = bytes[++i]
    while (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) c = bytes[++i]
    if (c !== 0x3a) return -1
    c = bytes[++i]
    while (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) c = bytes[++i]
    if (place < PLACES) learn(bytes, place, at, i, keySlot)
    return i
  }

  const read: FlatReader["read"] = (bytes, view, from, stop) => {
    // Of `Kind`. Constants of a module are loaded from memory at every use, those of a function compiled in.
    const ABSENT: number = 0
    const NULL = 1
    const FALSE = 2
    const TRUE = 3
    const INTEGER: number = 4
    const DECIMAL = 5
    const TEXT = 6
    /** Top bit of each byte of a word. */
    const TOPS = 0x80808080 | 0
    // The last byte is `}`: no loop over digits or white space runs past it, and those over strings look.
    const last = stop - 1
    if (last <= from || bytes[from] !== 0x7b || bytes[last] !== 0x7d) return false
    // Up to here a word of four bytes can be read.
    const wordLast = Math.min(last - 1, view.byteLength - 4)
    for (let slot = 0; slot < slotCount; slot++) kind[slot] = ABSENT
    let i = from + 1
    for (let place = 0; ; place++) {
      let slot = -1
      const length = place < PLACES ? placeLengths[place] : 0
      let known = length > 0 && i + length <= wordLast
      if (known) {
        let word = place * PLACE_WORDS
        let at = i
        const wordEnd = i + length - 4
        while (at <= wordEnd && view.getInt32(at, true) === placeWords[word]) {
          at += 4
          word++
        }
        known =
          at > wordEnd &&
          (at === i + length || ((view.getInt32(at, true) ^ placeWords[word]) & placeMasks[place]) === 0)
      }
      if (known) {
        slot = placeSlots[place]
        i += length
      } else {
        i = readKey(bytes, i, last, place)
        if (i < 0) return false
        slot = keySlot
      }
      if (slot >= 0 && kind[slot] !== ABSENT) return false
      const valueStart = i
      let c = bytes[i]
      if (c === 0x22) {
        i++
        for (;;) {
          while (i <= wordLast) {
            // Sets the top bit of bytes that are a quote, a backslash, a control character or not ASCII. The
            // lowest bit set is always right; a borrow can only set wrong ones above it.
            const word = view.getInt32(i, true)
            const quote = word ^ 0x22222222
            const slash = word ^ 0x5c5c5c5c
            const marks =
              (((quote - 0x01010101) & ~quote) |
                ((slash - 0x01010101) & ~slash) |
                ((word - 0x20202020) & ~word) |
                word) &
              TOPS
            if (marks !== 0) {
              i += (31 - Math.clz32(marks & -marks)) >>> 3
              break
            }
            i += 4
          }
          while (i < last && plain[bytes[i]] === 1) i++
          if (i >= last) return false
          c = bytes[i]
          if (c === 0x22) break
          if (c === 0x5c && slot < 0) {
            i = skipString(bytes, i, last) - 1
            if (i < 0) return false
            break
          }
          i = c < 0x80 ? -1 : skipUtf8(bytes, i, last)
          if (i < 0) return false
        }
        if (slot >= 0) {
          kind[slot] = TEXT
          start[slot] = valueStart + 1
          end[slot] = i
        }
        i++
      } else if (c === 0x2d || (c >= 0x30 && c <= 0x39)) {
        if (slot < 0) {
          i = skipNumber(bytes, i, last)
          if (i < 0) return false
        } else {
          if (c === 0x2d) c = bytes[++i]
          if (c < 0x30 || c > 0x39) return false
          // Mantissa: its first nine digits in `high`, the next six in `low`, both exact.
          let high = c - 0x30
          let low = 0
          let digits = 1
          let fraction = 0
          c = bytes[++i]
          if (high > 0) {
            while (c >= 0x30 && c <= 0x39) {
              if (digits < 9) high = (Math.imul(high, 10) + c - 0x30) | 0
              else if (digits < 15) low = (Math.imul(low, 10) + c - 0x30) | 0
              digits++
              c = bytes[++i]
            }
          }
          let how = INTEGER
          if (c === 0x2e) {
            how = DECIMAL
            c = bytes[++i]
            if (c < 0x30 || c > 0x39) return false
            do {
              if (digits < 9) high = (Math.imul(high, 10) + c - 0x30) | 0
              else if (digits < 15) low = (Math.imul(low, 10) + c - 0x30) | 0
              digits++
              fraction++
              c = bytes[++i]
            } while (c >= 0x30 && c <= 0x39)
          }
          let number: number
          if (digits > 15 || c === 0x65 || c === 0x45) {
            if (c === 0x65 || c === 0x45) {
              how = DECIMAL
              i = skipNumber(bytes, valueStart, last)
              if (i < 0) return false
            }
            number = Number(latin1(bytes, valueStart, i))
          } else {
            number = digits > 9 ? high * tens[digits - 9] + low : high
            if (fraction > 0) number /= tens[fraction]
            if (bytes[valueStart] === 0x2d) number = -number
          }
          kind[slot] = how
          start[slot] = valueStart
          end[slot] = i
          value[slot] = number
        }
      } else if (c === 0x74) {
        if (bytes[i + 1] !== 0x72 || bytes[i + 2] !== 0x75 || bytes[i + 3] !== 0x65) return false
        i += 4
        if (slot >= 0) {
          kind[slot] = TRUE
          start[slot] = valueStart
          end[slot] = i
        }
      } else if (c === 0x66) {
        if (
          bytes[i + 1] !== 0x61 ||
          bytes[i + 2] !== 0x6c ||
          bytes[i + 3] !== 0x73 ||
          bytes[i + 4] !== 0x65
        ) {
          return false
        }
        i += 5
        if (slot >= 0) {
          kind[slot] = FALSE
          start[slot] = valueStart
          end[slot] = i
        }
      } else if (c === 0x6e) {
        if (bytes[i + 1] !== 0x75 || bytes[i + 2] !== 0x6c || bytes[i + 3] !== 0x6c) return false
        i += 4
        if (slot >= 0) kind[slot] = NULL
      } else {
        // Objects and arrays may stand where nothing is declared.
        if (slot >= 0) return false
        i = skipValue(bytes, i, last, 1, depthMax)
        if (i < 0) return false
      }
      c = bytes[i]
      while (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) c = bytes[++i]
      if (c === 0x7d) return i === last
      if (c !== 0x2c) return false
    }
  }

  return { kind, start, end, value, read }
}
