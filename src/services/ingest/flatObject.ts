// One fast pass over a flat JSON object in the batch's bytes: what stands at the declared keys goes to slots,
// everything else is checked and stepped over, four bytes at a time where it can be.
// Functions here are the module's own and not made per reader, and what they write is the module's too: only then does
// the compiler know where that lies, which is a quarter of the speed.
import { latin1 } from "./document.ts"
import { Kind, plainBytes, skipNumber, skipString, skipUtf8, skipValue } from "./json.ts"
import {
  type KeyMemory,
  keyRead,
  makeKeyMemory,
  noteValue,
  PLACES,
  readKey,
  SAME_MIN,
  shorten,
  WIDE
} from "./keyMemory.ts"
import type { Layout } from "./keys.ts"

/** Slots that can be read; a plan with more declared keys is left to the strict parser. */
export const SLOTS_MAX = 4_096

/** An integer of more than 15 digits; `Kind` of the others. */
export const LONG_INTEGER = 16
/** A decimal number of more than 15 digits or with an exponent. */
export const LONG_DECIMAL = 17

/**
 * What the last `readFlat` found, per slot: what stands there (`Kind` or one of the above), where (a string without its
 * quotes), and a number's value, which is finite and, for an integer, safe but where it is long.
 */
export const slotKind = new Uint8Array(SLOTS_MAX)
export const slotStart = new Int32Array(SLOTS_MAX)
export const slotEnd = new Int32Array(SLOTS_MAX)
export const slotValue = new Float64Array(SLOTS_MAX)

// Exports are loaded at every use, the module's own constants are compiled in.
const kind = slotKind
const start = slotStart
const end = slotEnd
const value = slotValue
const plain = plainBytes
const places = PLACES
const wide = WIDE
const sameMin = SAME_MIN
const longInteger = LONG_INTEGER
const longDecimal = LONG_DECIMAL
const {
  absent: ABSENT,
  null: NULL,
  false: FALSE,
  true: TRUE,
  integer: INTEGER,
  decimal: DECIMAL,
  text: TEXT
} = Kind

/** Powers of ten that are exact doubles; dividing an exact integer by one is correctly rounded. */
const tens = Float64Array.from({ length: 16 }, (_, exponent) => 10 ** exponent)

export interface FlatReader {
  readonly slotCount: number
  readonly depthMax: number
  readonly memory: KeyMemory
}

/** A reader for the declared keys of `layout`, whose paths all have one level (`layout.flat`), `SLOTS_MAX` at most. */
export const makeFlatReader = (layout: Layout, depthMax: number): FlatReader => ({
  slotCount: layout.slotCount,
  depthMax,
  memory: makeKeyMemory(layout.root)
})

/** Where the string that starts at `from`, after its quote, ends (its quote), or −1. `escapes`: may it have any? */
const skipText = (
  bytes: Uint8Array,
  view: DataView,
  from: number,
  last: number,
  wordLast: number,
  escapes: boolean
): number => {
  const TOPS = 0x80808080 | 0
  let i = from
  for (;;) {
    while (i <= wordLast) {
      // Sets the top bit of bytes that are a quote, a backslash, a control character or not ASCII. The lowest bit set
      // is always right; a borrow can only set wrong ones above it.
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
    if (i >= last) return -1
    const c = bytes[i]
    if (c === 0x22) return i
    if (c === 0x5c && escapes) {
      i = skipString(bytes, from, last)
      return i < 0 ? -1 : i - 1
    }
    i = c < 0x80 ? -1 : skipUtf8(bytes, i, last)
    if (i < 0) return -1
  }
}

/** Four bytes from `i` on, as `getInt32` reads them; 0 where the buffer has no more. */
const lastWord = (bytes: Uint8Array, i: number): number => {
  let word = 0
  for (let k = 0; k < 4 && i + k < bytes.length; k++) word |= bytes[i + k] << (k * 8)
  return word
}

/** What four digits say, the first in the lowest byte, each less its 0x30. */
const fourDigits = (word: number): number => {
  const pairs = (Math.imul(word, 10) + (word >>> 8)) | 0
  return Math.imul(pairs & 0xff, 100) + ((pairs >>> 16) & 0xff)
}

/**
 * Reads bytes[from, stop), over which `view` lies too, into the slots. True only where that is a JSON object by the whole
 * grammar, no declared key stands there twice, and no declared value is an object, an array or a string with escapes.
 * Reads no byte beyond `stop`, but for words that are cut afterwards.
 */
export const readFlat = (
  reader: FlatReader,
  bytes: Uint8Array,
  view: DataView,
  from: number,
  stop: number
): boolean => {
  const { slotCount, memory } = reader
  const { lengths, slots, spans, words, heads, tails, same } = memory
  /** Top bit of each byte of a word. */
  const TOPS = 0x80808080 | 0
  const ZEROS = 0x30303030
  // The last byte is `}`: no loop over digits or white space runs past it, and those over strings look.
  const last = stop - 1
  if (last <= from || bytes[from] !== 0x7b || bytes[last] !== 0x7d) return false
  // Up to here a word of four bytes can be read.
  const wordLast = Math.min(last - 1, view.byteLength - 4)
  for (let slot = 0; slot < slotCount; slot++) kind[slot] = ABSENT
  let i = from + 1
  let place = 0
  for (;;) {
    let slot = -1
    const length = place < places ? lengths[place] : 0
    let known = length > 0 && i + length <= last
    if (known) {
      if (length >= 8) {
        // As doubles: of two that are equal all bits are, but for zeros, and no text has eight bytes of zero. Those that
        // are no number are unequal to themselves: the key is read.
        let word = place * wide
        let at = i
        const end = i + length - 8
        while (at < end && view.getFloat64(at, true) === words[word]) {
          at += 8
          word++
        }
        known = at >= end && view.getFloat64(end, true) === words[word]
      } else {
        known =
          view.getInt32(i, true) === heads[place] && view.getInt32(i + length - 4, true) === tails[place]
      }
    }
    if (known) {
      slot = slots[place]
      i += length
      place += spans[place]
    } else {
      if (length > 0 && spans[place] > 0) {
        shorten(memory, place)
        continue
      }
      i = readKey(memory, bytes, i, last, place)
      if (i < 0) return false
      slot = keyRead.slot
    }
    if (slot >= 0 && kind[slot] !== ABSENT) return false
    const valueStart = i
    let c = bytes[i]
    if (c === 0x22) {
      i = skipText(bytes, view, i + 1, last, wordLast, slot < 0)
      if (i < 0) return false
      if (slot >= 0) {
        kind[slot] = TEXT
        start[slot] = valueStart + 1
        end[slot] = i
      }
      i++
    } else if (c === 0x2d || (c >= 0x30 && c <= 0x39)) {
      if (c === 0x2d) c = bytes[++i]
      const digitsFrom = i
      // Up to 15 digits are exact in a double.
      let number = 0
      for (;;) {
        const word = (i <= wordLast ? view.getInt32(i, true) : lastWord(bytes, i)) ^ ZEROS
        // Top bits of the bytes that are no digit, the lowest of which is right.
        const marks = ((word + 0x76767676) | word) & TOPS
        if (marks === 0) {
          number = number * 10_000 + fourDigits(word)
          i += 4
          continue
        }
        const more = (31 - Math.clz32(marks & -marks)) >>> 3
        if (more > 0) {
          number = number * tens[more] + fourDigits(word << (32 - 8 * more))
          i += more
        }
        break
      }
      let count = i - digitsFrom
      if (count === 0 || (count > 1 && c === 0x30)) return false
      let fraction = 0
      c = bytes[i]
      if (c === 0x2e) {
        const fractionFrom = ++i
        for (;;) {
          const word = (i <= wordLast ? view.getInt32(i, true) : lastWord(bytes, i)) ^ ZEROS
          const marks = ((word + 0x76767676) | word) & TOPS
          if (marks === 0) {
            number = number * 10_000 + fourDigits(word)
            i += 4
            continue
          }
          const more = (31 - Math.clz32(marks & -marks)) >>> 3
          if (more > 0) {
            number = number * tens[more] + fourDigits(word << (32 - 8 * more))
            i += more
          }
          break
        }
        fraction = i - fractionFrom
        if (fraction === 0) return false
        count += fraction
        c = bytes[i]
      }
      const scientific = c === 0x65 || c === 0x45
      if (scientific) {
        i = skipNumber(bytes, valueStart, last)
        if (i < 0) return false
      }
      if (slot >= 0) {
        let how: number = fraction > 0 ? DECIMAL : INTEGER
        if (count > 15 || scientific) {
          how = fraction > 0 || scientific ? longDecimal : longInteger
          number = Number(latin1(bytes, valueStart, i))
        } else {
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
      if (bytes[i + 1] !== 0x61 || bytes[i + 2] !== 0x6c || bytes[i + 3] !== 0x73 || bytes[i + 4] !== 0x65) {
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
      i = skipValue(bytes, i, last, 1, reader.depthMax)
      if (i < 0) return false
    }
    c = bytes[i]
    while (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) c = bytes[++i]
    if (c === 0x7d) return i === last
    if (c !== 0x2c) return false
    if (slot < 0 && place < places && same[place] < sameMin) noteValue(memory, bytes, place, valueStart, i)
    place++
  }
}
