// Writes simulated events as JSON straight into bytes: no object and no string per event.

const encoder = new TextEncoder()

/** UTF-8 bytes of a text. */
export const textBytes = (text: string): Uint8Array => encoder.encode(text)

/** Longest text that `writeInteger` and `writeFixed` write, in bytes. */
export const NUMBER_BYTES_MAX = 24

/** Powers of ten by count of decimals. */
const scales = [1, 10, 100, 1_000, 10_000]

/** Writes a whole number, 0 to 2^53 − 1, at `at`; answers where it ends. */
export const writeInteger = (bytes: Uint8Array, at: number, value: number): number => {
  let digits = 1
  for (let bound = 10; digits < 16 && value >= bound; bound *= 10) digits++
  const end = at + digits
  let rest = value
  for (let i = end - 1; i >= at; i--) {
    const shorter = Math.floor(rest / 10)
    bytes[i] = 48 + (rest - shorter * 10)
    rest = shorter
  }
  return end
}

/**
 * Writes a number rounded to `decimals` (0 to 4) places at `at`; answers where it ends. The value must be
 * finite and below 10^11 in size.
 */
export const writeFixed = (bytes: Uint8Array, at: number, value: number, decimals: number): number => {
  const scaled = Math.round(Math.abs(value) * scales[decimals])
  let p = at
  if (value < 0 && scaled > 0) bytes[p++] = 45
  const whole = Math.floor(scaled / scales[decimals])
  p = writeInteger(bytes, p, whole)
  if (decimals === 0) return p
  bytes[p++] = 46
  let rest = scaled - whole * scales[decimals]
  for (let i = p + decimals - 1; i >= p; i--) {
    const shorter = Math.floor(rest / 10)
    bytes[i] = 48 + (rest - shorter * 10)
    rest = shorter
  }
  return p + decimals
}

/** Copies `piece` to `at`; answers where it ends. */
export const writePiece = (bytes: Uint8Array, at: number, piece: Uint8Array): number => {
  // Pieces are short: a loop is cheaper than a call to `set`.
  for (let i = 0; i < piece.length; i++) bytes[at + i] = piece[i]
  return at + piece.length
}
