// CRC-32C (Castagnoli, RFC 3720 appendix B.4), sixteen bytes a step: the checksum of Kafka's record batches.

/** t[k * 256 + b]: what byte b does to the checksum k bytes further on. */
const t = (() => {
  const words = new Int32Array(16 * 256)
  for (let i = 0; i < 256; i++) {
    let c = i
    for (let bit = 0; bit < 8; bit++) c = (c & 1) !== 0 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1
    words[i] = c
  }
  for (let i = 256; i < words.length; i++) {
    const before = words[i - 256]
    words[i] = (before >>> 8) ^ words[before & 255]
  }
  return words
})()

/**
 * CRC-32C of bytes[start, end), as a signed 32-bit integer. About 2 GB/s: whole words are read, in the order of
 * bytes that every machine has on which Node runs. Two streams side by side were no faster.
 */
export const crc32c = (bytes: Uint8Array, start: number, end: number): number => {
  let c = -1
  let i = start
  for (; i < end && ((bytes.byteOffset + i) & 3) !== 0; i++) c = t[(c ^ bytes[i]) & 255] ^ (c >>> 8)
  const words = new Int32Array(
    bytes.buffer,
    bytes.byteOffset + i - ((bytes.byteOffset + i) & 3),
    (end - i) >> 2
  )
  let w = 0
  for (; w + 4 <= words.length; w += 4) {
    const x = words[w] ^ c
    const y = words[w + 1]
    const z = words[w + 2]
    const v = words[w + 3]
    c =
      t[3840 + (x & 255)] ^
      t[3584 + ((x >>> 8) & 255)] ^
      t[3328 + ((x >>> 16) & 255)] ^
      t[3072 + (x >>> 24)] ^
      t[2816 + (y & 255)] ^
      t[2560 + ((y >>> 8) & 255)] ^
      t[2304 + ((y >>> 16) & 255)] ^
      t[2048 + (y >>> 24)] ^
      t[1792 + (z & 255)] ^
      t[1536 + ((z >>> 8) & 255)] ^
      t[1280 + ((z >>> 16) & 255)] ^
      t[1024 + (z >>> 24)] ^
      t[768 + (v & 255)] ^
      t[512 + ((v >>> 8) & 255)] ^
      t[256 + ((v >>> 16) & 255)] ^
      t[v >>> 24]
  }
  for (i += w * 4; i < end; i++) c = t[(c ^ bytes[i]) & 255] ^ (c >>> 8)
  return ~c
}
