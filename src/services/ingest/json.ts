// The grammar of JSON (RFC 8259) over bytes: steps over values without building them.
// Each `skip*` answers the position after what it stepped over, or, where the bytes are not JSON, `~position`
// of the first byte that is wrong (a negative number); `TOO_DEEP` where nesting passes the limit.

/** Answer of `skipValue` where a record nests deeper than allowed. */
export const TOO_DEEP = -0x80000000

/** What stands at a declared place of a record. An integer is a number without fraction and exponent. */
export const Kind = {
  absent: 0,
  null: 1,
  false: 2,
  true: 3,
  integer: 4,
  decimal: 5,
  /** A string without escapes: its text lies in the bytes as it is. */
  text: 6,
  /** A string with escapes. */
  escaped: 7,
  object: 8,
  array: 9
} as const

/** 1 for bytes that stand for themselves inside a string: printable ASCII but `"` and `\`. */
export const plainBytes = new Uint8Array(256)
for (let c = 0x20; c < 0x80; c++) plainBytes[c] = c === 0x22 || c === 0x5c ? 0 : 1

/** First position from `i` on that is not white space, or `end`. */
export const skipSpace = (bytes: Uint8Array, from: number, end: number): number => {
  let i = from
  while (i < end) {
    const c = bytes[i]
    if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) break
    i++
  }
  return i
}

/** Position after the UTF-8 sequence that starts at `i` with a byte ≥ 0x80 (RFC 3629), or `~i`. */
export const skipUtf8 = (bytes: Uint8Array, i: number, end: number): number => {
  const lead = bytes[i]
  const length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0
  if (length === 0 || i + length > end) return ~i
  const second = bytes[i + 1]
  // Overlong forms, surrogates and what lies above U+10FFFF show in the second byte.
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
  if (second < low || second > high) return ~i
  for (let k = 2; k < length; k++) if ((bytes[i + k] & 0xc0) !== 0x80) return ~i
  return i + length
}

const isHex = (c: number): boolean => (c >= 48 && c <= 57) || (c >= 65 && c <= 70) || (c >= 97 && c <= 102)

/** `from` is the position after the opening quote; answers the one after the closing quote. */
export const skipString = (bytes: Uint8Array, from: number, end: number): number => {
  let i = from
  while (i < end) {
    const c = bytes[i]
    if (plainBytes[c] === 1) i++
    else if (c === 0x22) return i + 1
    else if (c === 0x5c) {
      const e = i + 1 < end ? bytes[i + 1] : 0
      if (e === 0x75) {
        for (let k = 2; k < 6; k++) if (i + k >= end || !isHex(bytes[i + k])) return ~(i + k)
        i += 6
      } else if (
        e === 0x22 ||
        e === 0x5c ||
        e === 0x2f ||
        e === 0x62 ||
        e === 0x66 ||
        e === 0x6e ||
        e === 0x72 ||
        e === 0x74
      ) {
        i += 2
      } else return ~(i + 1)
    } else if (c < 0x20) return ~i
    else {
      i = skipUtf8(bytes, i, end)
      if (i < 0) return i
    }
  }
  return ~end
}

/** `from` is the position of the first digit or the minus. What follows the number is not looked at. */
export const skipNumber = (bytes: Uint8Array, from: number, end: number): number => {
  let i = from
  if (i < end && bytes[i] === 0x2d) i++
  if (i < end && bytes[i] === 0x30) i++
  else {
    const first = i
    while (i < end && bytes[i] >= 48 && bytes[i] <= 57) i++
    if (i === first) return ~i
  }
  if (i < end && bytes[i] === 0x2e) {
    const first = ++i
    while (i < end && bytes[i] >= 48 && bytes[i] <= 57) i++
    if (i === first) return ~i
  }
  if (i < end && (bytes[i] === 0x65 || bytes[i] === 0x45)) {
    i++
    if (i < end && (bytes[i] === 0x2b || bytes[i] === 0x2d)) i++
    const first = i
    while (i < end && bytes[i] >= 48 && bytes[i] <= 57) i++
    if (i === first) return ~i
  }
  return i
}

const literals = {
  116: [...Buffer.from("true")],
  102: [...Buffer.from("false")],
  110: [...Buffer.from("null")]
}

/** Steps over `true`, `false` or `null`. */
export const skipLiteral = (bytes: Uint8Array, from: number, end: number): number => {
  const word = literals[bytes[from] as keyof typeof literals]
  if (word === undefined) return ~from
  for (let k = 1; k < word.length; k++) if (from + k >= end || bytes[from + k] !== word[k]) return ~(from + k)
  return from + word.length
}

/** Steps over `"key" :`, white space before and between included. */
export const skipKey = (bytes: Uint8Array, from: number, end: number): number => {
  let i = skipSpace(bytes, from, end)
  if (i >= end || bytes[i] !== 0x22) return ~i
  i = skipString(bytes, i + 1, end)
  if (i < 0) return i
  i = skipSpace(bytes, i, end)
  return i < end && bytes[i] === 0x3a ? i + 1 : ~i
}

/** Opening brackets by level of the value that is being stepped over; calls never nest. */
let opened = new Uint8Array(64)

/**
 * Steps over one value of any kind, white space before it included, without recursion. `depth` containers
 * are open around it; one more than `depthMax` is too deep.
 */
export const skipValue = (
  bytes: Uint8Array,
  from: number,
  end: number,
  depth: number,
  depthMax: number
): number => {
  if (opened.length <= depthMax) opened = new Uint8Array(depthMax + 1)
  let i = from
  let level = 0
  for (;;) {
    i = skipSpace(bytes, i, end)
    if (i >= end) return ~i
    const c = bytes[i]
    if (c === 0x22) i = skipString(bytes, i + 1, end)
    else if (c === 0x7b || c === 0x5b) {
      if (depth + level >= depthMax) return TOO_DEEP
      opened[++level] = c
      i = skipSpace(bytes, i + 1, end)
      // The closing bracket of each kind is two above its opening one.
      if (i < end && bytes[i] === c + 2) {
        level--
        i++
      } else {
        if (c === 0x7b) i = skipKey(bytes, i, end)
        if (i < 0) return i
        continue
      }
    } else if (c === 0x2d || (c >= 48 && c <= 57)) i = skipNumber(bytes, i, end)
    else i = skipLiteral(bytes, i, end)
    if (i < 0) return i
    for (;;) {
      if (level === 0) return i
      i = skipSpace(bytes, i, end)
      if (i >= end) return ~i
      const d = bytes[i]
      if (d === 0x2c) {
        i++
        if (opened[level] === 0x7b) i = skipKey(bytes, i, end)
        if (i < 0) return i
        break
      }
      if (d !== opened[level] + 2) return ~i
      level--
      i++
    }
  }
}

const hexValue = (c: number): number => (c <= 57 ? c - 48 : (c | 0x20) - 87)

const hex4 = (bytes: Uint8Array, i: number): number =>
  (hexValue(bytes[i]) << 12) |
  (hexValue(bytes[i + 1]) << 8) |
  (hexValue(bytes[i + 2]) << 4) |
  hexValue(bytes[i + 3])

/** The bytes that `\b \f \n \r \t` stand for; the other simple escapes stand for themselves. */
const simpleEscape = (c: number): number =>
  c === 0x62 ? 8 : c === 0x66 ? 12 : c === 0x6e ? 10 : c === 0x72 ? 13 : c === 0x74 ? 9 : c

/**
 * Writes the text of the checked string bytes[start, end) (between its quotes) to `target` as UTF-8, from 0
 * on; `target` holds at least end − start bytes. Answers the length, or −1 where a surrogate is unpaired.
 */
export const unescapeString = (bytes: Uint8Array, start: number, end: number, target: Uint8Array): number => {
  let n = 0
  for (let i = start; i < end; ) {
    const c = bytes[i]
    if (c !== 0x5c) {
      target[n++] = c
      i++
    } else if (bytes[i + 1] !== 0x75) {
      target[n++] = simpleEscape(bytes[i + 1])
      i += 2
    } else {
      let code = hex4(bytes, i + 2)
      i += 6
      if (code >= 0xdc00 && code <= 0xdfff) return -1
      if (code >= 0xd800 && code <= 0xdbff) {
        if (i + 6 > end || bytes[i] !== 0x5c || bytes[i + 1] !== 0x75) return -1
        const low = hex4(bytes, i + 2)
        if (low < 0xdc00 || low > 0xdfff) return -1
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)
        i += 6
      }
      if (code < 0x80) target[n++] = code
      else if (code < 0x800) {
        target[n++] = 0xc0 | (code >> 6)
        target[n++] = 0x80 | (code & 63)
      } else if (code < 0x10000) {
        target[n++] = 0xe0 | (code >> 12)
        target[n++] = 0x80 | ((code >> 6) & 63)
        target[n++] = 0x80 | (code & 63)
      } else {
        target[n++] = 0xf0 | (code >> 18)
        target[n++] = 0x80 | ((code >> 12) & 63)
        target[n++] = 0x80 | ((code >> 6) & 63)
        target[n++] = 0x80 | (code & 63)
      }
    }
  }
  return n
}
