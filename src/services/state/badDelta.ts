// Why stored state was not taken, and the checksum that tells.

/** Stored state that can't be taken; the message says what is wrong. State may be half restored: discard it. */
export class BadDelta extends Error {
  override readonly name = "BadDelta"
}

/**
 * 32-bit checksum of a buffer whose length is a multiple of 4, leaving out the word at index `skip`.
 * Finds damage, not malice.
 */
export const checksum = (buffer: ArrayBufferLike, skip: number): number => {
  const words = new Int32Array(buffer)
  let hash = 0x9e3779b1 ^ words.length
  for (let i = 0; i < words.length; i++) {
    if (i === skip) continue
    hash = Math.imul(hash ^ words[i], 0x85ebca6b)
    hash = (hash << 15) | (hash >>> 17)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d)
  return (hash ^ (hash >>> 15)) >>> 0
}

/** The same bytes as a buffer, not to be written to, over which typed arrays may lie: the bytes' own where they fill it. */
export const aligned = (bytes: Uint8Array): ArrayBufferLike => {
  if (bytes.byteLength === bytes.buffer.byteLength) return bytes.buffer
  const copy = new Uint8Array(bytes.length)
  copy.set(bytes)
  return copy.buffer
}
