// From a request's body to the raw bytes of each event in it. Nothing is parsed into objects or written anew.
import { skipSpace, skipValue, TOO_DEEP } from "../ingest/json.ts"

/** Row r is bytes[starts[r], ends[r]). */
export interface Rows {
  readonly bytes: Uint8Array
  readonly starts: ReadonlyArray<number>
  readonly ends: ReadonlyArray<number>
}

/** A body that can't be split: not JSON from `position` on, too deep to follow, or more rows than allowed. */
export type SplitFault =
  | { readonly _tag: "NotJson"; readonly position: number }
  | { readonly _tag: "TooDeep" }
  | { readonly _tag: "TooManyRows" }
  | { readonly _tag: "Empty" }

/** Containers that may be open at once in a body; each stream's own limit for an event is lower. */
export const BODY_DEPTH_MAX = 1_024

/** One event per line (LF or CRLF); lines of white space alone are passed over. */
export const splitLines = (bytes: Uint8Array, rowsMax: number): Rows | SplitFault => {
  const starts: Array<number> = []
  const ends: Array<number> = []
  for (let from = 0; from < bytes.length; ) {
    const found = bytes.indexOf(0x0a, from)
    const stop = found < 0 ? bytes.length : found
    if (skipSpace(bytes, from, stop) < stop) {
      if (starts.length === rowsMax) return { _tag: "TooManyRows" }
      starts.push(from)
      ends.push(bytes[stop - 1] === 0x0d ? stop - 1 : stop)
    }
    from = stop + 1
  }
  return { bytes, starts, ends }
}

const fault = (position: number): SplitFault =>
  position === TOO_DEEP ? { _tag: "TooDeep" } : { _tag: "NotJson", position: ~position }

/** One value that fills the whole body. */
const splitOne = (bytes: Uint8Array, from: number): Rows | SplitFault => {
  const end = skipValue(bytes, from, bytes.length, 0, BODY_DEPTH_MAX)
  if (end < 0) return fault(end)
  const rest = skipSpace(bytes, end, bytes.length)
  return rest < bytes.length ? { _tag: "NotJson", position: rest } : { bytes, starts: [from], ends: [end] }
}

/** The elements of an array that fills the whole body; `from` is the position of its bracket. */
const splitElements = (bytes: Uint8Array, from: number, rowsMax: number): Rows | SplitFault => {
  const starts: Array<number> = []
  const ends: Array<number> = []
  const size = bytes.length
  let i = skipSpace(bytes, from + 1, size)
  if (i < size && bytes[i] === 0x5d) i++
  else {
    for (;;) {
      const start = skipSpace(bytes, i, size)
      const end = skipValue(bytes, start, size, 1, BODY_DEPTH_MAX)
      if (end < 0) return fault(end)
      if (starts.length === rowsMax) return { _tag: "TooManyRows" }
      starts.push(start)
      ends.push(end)
      i = skipSpace(bytes, end, size)
      if (i < size && bytes[i] === 0x2c) i++
      else if (i < size && bytes[i] === 0x5d) {
        i++
        break
      } else return { _tag: "NotJson", position: i }
    }
  }
  const rest = skipSpace(bytes, i, size)
  return rest < size ? { _tag: "NotJson", position: rest } : { bytes, starts, ends }
}

/**
 * One JSON value, or (`array`: "maybe" or "must") the elements of an array of them. Slices are the body's own
 * bytes, so numbers keep every digit.
 */
export const splitJson = (
  bytes: Uint8Array,
  array: "no" | "maybe" | "must",
  rowsMax: number
): Rows | SplitFault => {
  const from = skipSpace(bytes, 0, bytes.length)
  if (from === bytes.length) return { _tag: "Empty" }
  if (array !== "no" && bytes[from] === 0x5b) return splitElements(bytes, from, rowsMax)
  return array === "must" ? { _tag: "NotJson", position: from } : splitOne(bytes, from)
}
