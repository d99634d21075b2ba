// One JSON document read strictly: checked as a whole, and what stands at the declared places noted by slot.
import { isUtf8 } from "node:buffer"
import type { DeadLetterReason } from "../../schema/event/DeadLetter.ts"
import {
  Kind,
  skipLiteral,
  skipNumber,
  skipSpace,
  skipString,
  skipValue,
  TOO_DEEP,
  unescapeString
} from "./json.ts"
import { findKey, type KeyNode, type KeyTable } from "./keys.ts"

/** Why an event is not taken; `detail` names the field and what was expected. */
export interface Refusal {
  readonly reason: DeadLetterReason
  readonly detail: string
}

export const refuse = (reason: DeadLetterReason, detail: string): Refusal => ({ reason, detail })

/** A stretch of UTF-8 bytes, pointed at instead of copied. `end` is −1 for text that cannot be UTF-8. */
export interface TextRange {
  bytes: Uint8Array
  start: number
  end: number
}

/** The names of `Kind`s in messages. */
export const kindNames = [
  "nothing",
  "null",
  "false",
  "true",
  "an integer",
  "a decimal number",
  "a string",
  "a string",
  "an object",
  "an array"
]

/** A path as it appears in messages: never longer than 80 characters. */
export const shortName = (name: string): string => (name.length <= 80 ? name : `${name.slice(0, 79)}…`)

/** bytes[start, end) as a string, one character a byte. */
export const latin1 = (bytes: Uint8Array, start: number, end: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("latin1")

/**
 * The double that `Number` makes of the checked JSON number bytes[start, end). Up to 15 digits without an
 * exponent are an exact integer over an exact power of ten, and one division rounds as `Number` does.
 */
export const numberAt = (bytes: Uint8Array, start: number, end: number): number => {
  const negative = bytes[start] === 0x2d
  let mantissa = 0
  let scale = 1
  let i = negative ? start + 1 : start
  if (end - i > 15) return Number(latin1(bytes, start, end))
  for (let fraction = false; i < end; i++) {
    const c = bytes[i]
    if (c >= 0x30 && c <= 0x39) {
      mantissa = mantissa * 10 + (c - 0x30)
      if (fraction) scale *= 10
    } else if (c === 0x2e) fraction = true
    else return Number(latin1(bytes, start, end))
  }
  return (negative ? -mantissa : mantissa) / scale
}

export interface DocumentReader {
  /** Per slot: what stands there (`Kind`), and where; a string without its quotes. Valid until `clear`. */
  readonly kind: Uint8Array
  readonly start: Int32Array
  readonly end: Int32Array
  readonly clear: () => void
  /** Points `text` at a string's or number's text; false where that has an unpaired surrogate. */
  readonly point: (text: TextRange, bytes: Uint8Array, kind: number, start: number, end: number) => boolean
  /** Reads the document bytes[from, stop) into the slots of `table`; `what` names it in messages. */
  readonly read: (
    bytes: Uint8Array,
    table: KeyTable,
    from: number,
    stop: number,
    what: string
  ) => Refusal | undefined
}

const hasByte = (bytes: Uint8Array, start: number, end: number, c: number): boolean => {
  for (let i = start; i < end; i++) if (bytes[i] === c) return true
  return false
}

const isInteger = (bytes: Uint8Array, start: number, end: number): boolean => {
  for (let i = start; i < end; i++) if (bytes[i] === 0x2e || (bytes[i] | 0x20) === 0x65) return false
  return true
}

/** Makes a reader with `slotCount` slots for documents that nest at most `depthMax` containers. */
export const makeDocumentReader = (slotCount: number, depthMax: number): DocumentReader => {
  const kind = new Uint8Array(slotCount)
  const start = new Int32Array(slotCount)
  const end = new Int32Array(slotCount)
  let scratch = new Uint8Array(1_024)
  let duplicate: KeyNode | undefined

  const point: DocumentReader["point"] = (text, bytes, how, from, to) => {
    text.bytes = bytes
    text.start = from
    text.end = to
    if (how !== Kind.escaped) return true
    if (scratch.length < to - from) scratch = new Uint8Array(Math.max(to - from, 2 * scratch.length))
    text.bytes = scratch
    text.start = 0
    text.end = unescapeString(bytes, from, to, scratch)
    return text.end >= 0
  }

  const keyText: TextRange = { bytes: scratch, start: 0, end: 0 }

  const findEscapedKey = (table: KeyTable, bytes: Uint8Array, from: number, to: number): number =>
    point(keyText, bytes, Kind.escaped, from, to) ? findKey(table, keyText.bytes, 0, keyText.end) : -1

  /** Reads the value of a declared key. */
  const readValue = (bytes: Uint8Array, node: KeyNode, at: number, stop: number, depth: number): number => {
    if (at >= stop) return ~at
    const slot = node.slot
    if (kind[slot] !== Kind.absent) {
      // Reading stops here: a million repeats cost no more than one.
      duplicate = node
      return ~at
    }
    const c = bytes[at]
    start[slot] = at
    let after: number
    if (c === 0x22) {
      start[slot] = at + 1
      after = skipString(bytes, at + 1, stop)
      end[slot] = after - 1
      kind[slot] = hasByte(bytes, at + 1, after, 0x5c) ? Kind.escaped : Kind.text
      return after
    }
    if (c === 0x7b) {
      kind[slot] = Kind.object
      if (depth >= depthMax) return TOO_DEEP
      after =
        node.children === undefined
          ? skipValue(bytes, at, stop, depth, depthMax)
          : readObject(bytes, node.children, at + 1, stop, depth + 1)
    } else if (c === 0x5b) {
      kind[slot] = Kind.array
      after = skipValue(bytes, at, stop, depth, depthMax)
    } else if (c === 0x2d || (c >= 0x30 && c <= 0x39)) {
      after = skipNumber(bytes, at, stop)
      kind[slot] = isInteger(bytes, at, after) ? Kind.integer : Kind.decimal
    } else {
      after = skipLiteral(bytes, at, stop)
      kind[slot] = c === 0x74 ? Kind.true : c === 0x66 ? Kind.false : Kind.null
    }
    end[slot] = after
    return after
  }

  /** Reads the object whose `{` is before `from`; recursion goes no deeper than the declared paths. */
  const readObject = (
    bytes: Uint8Array,
    table: KeyTable,
    from: number,
    stop: number,
    depth: number
  ): number => {
    let i = skipSpace(bytes, from, stop)
    if (i < stop && bytes[i] === 0x7d) return i + 1
    for (;;) {
      i = skipSpace(bytes, i, stop)
      if (i >= stop || bytes[i] !== 0x22) return ~i
      const keyStart = i + 1
      i = skipString(bytes, keyStart, stop)
      if (i < 0) return i
      const key = hasByte(bytes, keyStart, i - 1, 0x5c)
        ? findEscapedKey(table, bytes, keyStart, i - 1)
        : findKey(table, bytes, keyStart, i - 1)
      i = skipSpace(bytes, i, stop)
      if (i >= stop || bytes[i] !== 0x3a) return ~i
      i = skipSpace(bytes, i + 1, stop)
      i =
        key < 0
          ? skipValue(bytes, i, stop, depth, depthMax)
          : readValue(bytes, table.nodes[key], i, stop, depth)
      if (i < 0) return i
      i = skipSpace(bytes, i, stop)
      if (i >= stop) return ~i
      if (bytes[i] === 0x7d) return i + 1
      if (bytes[i] !== 0x2c) return ~i
      i++
    }
  }

  const notJson = (bytes: Uint8Array, at: number, from: number, stop: number, what: string): Refusal =>
    refuse(
      "bad-json",
      at >= stop
        ? `${what} ends inside its JSON after ${stop - from} bytes: expected a whole JSON object`
        : `${what} is not JSON: byte ${at - from} (0x${bytes[at].toString(16).padStart(2, "0")}) cannot stand there`
    )

  const read: DocumentReader["read"] = (bytes, table, from, stop, what) => {
    if (from === stop) return refuse("empty", `${what} has no bytes: expected a JSON object`)
    if (stop - from >= 3 && bytes[from] === 0xef && bytes[from + 1] === 0xbb && bytes[from + 2] === 0xbf) {
      return refuse("byte-order-mark", `${what} starts with a byte-order mark: expected JSON without one`)
    }
    if (!isUtf8(bytes.subarray(from, stop)))
      return refuse("bad-utf8", `${what} is not UTF-8: expected JSON in UTF-8`)
    duplicate = undefined
    const first = skipSpace(bytes, from, stop)
    const object = first < stop && bytes[first] === 0x7b && depthMax > 0
    let i = object ? readObject(bytes, table, first + 1, stop, 1) : skipValue(bytes, first, stop, 0, depthMax)
    if (duplicate !== undefined) {
      const { name }: KeyNode = duplicate
      return refuse("duplicate-key", `field ${shortName(name)}: expected once, got it twice`)
    }
    if (i === TOO_DEEP) return refuse("too-deep", `${what} nests deeper than the ${depthMax} levels allowed`)
    if (i >= 0) i = skipSpace(bytes, i, stop)
    if (i < 0) return notJson(bytes, ~i, from, stop, what)
    if (i < stop) return notJson(bytes, i, from, stop, what)
    if (!object) return refuse("not-an-object", `${what} is JSON, but no object: expected { … }`)
    return undefined
  }

  return { kind, start, end, clear: () => void kind.fill(Kind.absent), point, read }
}
