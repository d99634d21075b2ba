// Hashes that tell events apart: 64 bits of an event's id in two halves, 32 bits of a record's bytes.
// Both run over a DataView, which reads four bytes at any position at once. Their constants are local to the
// functions: a module's constants are loaded from memory at every use, which costs a third of the speed.

/** A view over the same bytes; make it once per batch, not per event. */
export const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** xxHash32 with seed 0 over view[start, end), as a signed 32-bit integer. */
export const xxHash32 = (view: DataView, start: number, end: number): number => {
  const P1 = 0x9e3779b1 | 0
  const P2 = 0x85ebca77 | 0
  const P3 = 0xc2b2ae3d | 0
  const P4 = 0x27d4eb2f
  const P5 = 0x165667b1
  let i = start
  let hash = P5
  if (end - start >= 16) {
    let a = (P1 + P2) | 0
    let b = P2
    let c = 0
    let d = -P1 | 0
    for (const stop = end - 16; i <= stop; i += 16) {
      a = (a + Math.imul(view.getInt32(i, true), P2)) | 0
      a = Math.imul((a << 13) | (a >>> 19), P1)
      b = (b + Math.imul(view.getInt32(i + 4, true), P2)) | 0
      b = Math.imul((b << 13) | (b >>> 19), P1)
      c = (c + Math.imul(view.getInt32(i + 8, true), P2)) | 0
      c = Math.imul((c << 13) | (c >>> 19), P1)
      d = (d + Math.imul(view.getInt32(i + 12, true), P2)) | 0
      d = Math.imul((d << 13) | (d >>> 19), P1)
    }
    hash =
      (((a << 1) | (a >>> 31)) +
        ((b << 7) | (b >>> 25)) +
        ((c << 12) | (c >>> 20)) +
        ((d << 18) | (d >>> 14))) |
      0
  }
  hash = (hash + (end - start)) | 0
  for (; i + 4 <= end; i += 4) {
    hash = (hash + Math.imul(view.getInt32(i, true), P3)) | 0
    hash = Math.imul((hash << 17) | (hash >>> 15), P4)
  }
  for (; i < end; i++) {
    hash = (hash + Math.imul(view.getUint8(i), P5)) | 0
    hash = Math.imul((hash << 11) | (hash >>> 21), P1)
  }
  hash = Math.imul(hash ^ (hash >>> 15), P2)
  hash = Math.imul(hash ^ (hash >>> 13), P3)
  return hash ^ (hash >>> 16)
}

/** MurmurHash3 x86 32-bit with seed 0 over view[start, end), as a signed 32-bit integer. */
export const murmur3 = (view: DataView, start: number, end: number): number => {
  const C1 = 0xcc9e2d51 | 0
  const C2 = 0x1b873593
  let hash = 0
  let i = start
  for (; i + 4 <= end; i += 4) {
    let word = Math.imul(view.getInt32(i, true), C1)
    word = (word << 15) | (word >>> 17)
    hash ^= Math.imul(word, C2)
    hash = (hash << 13) | (hash >>> 19)
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0
  }
  let tail = 0
  const left = end - i
  if (left > 2) tail ^= view.getUint8(i + 2) << 16
  if (left > 1) tail ^= view.getUint8(i + 1) << 8
  if (left > 0) {
    tail = Math.imul(tail ^ view.getUint8(i), C1)
    hash ^= Math.imul((tail << 15) | (tail >>> 17), C2)
  }
  hash ^= end - start
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

/**
 * Writes the 64-bit hash of an id's text view[start, end) to row `row`: two unrelated 32-bit hashes.
 * Both halves 0 mean "no id", so an id that hashes there gets the low half 1.
 */
export const hashId = (
  view: DataView,
  start: number,
  end: number,
  low: Int32Array,
  high: Int32Array,
  row: number
): void => {
  const first = xxHash32(view, start, end)
  const second = murmur3(view, start, end)
  low[row] = first === 0 && second === 0 ? 1 : first
  high[row] = second
}
