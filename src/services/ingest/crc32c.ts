// CRC-32C (Castagnoli, RFC 3720 appendix B.4), eight bytes a step: the checksum of Kafka's record batches.

const table = (() => {
  const words = new Int32Array(8 * 256)
  for (let i = 0; i < 256; i++) {
    let c = i
    for (let bit = 0; bit < 8; bit++) c = (c & 1) !== 0 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1
    words[i] = c
  }
  for (let i = 0; i < 256; i++) {
    for (let k = 1; k < 8; k++) {
      const before = words[(k - 1) * 256 + i]
      words[k * 256 + i] = (before >>> 8) ^ words[before & 255]
    }
  }
  return words
})()
const t0 = table.subarray(0, 256)
const t1 = table.subarray(256, 512)
const t2 = table.subarray(512, 768)
const t3 = table.subarray(768, 1024)
const t4 = table.subarray(1024, 1280)
const t5 = table.subarray(1280, 1536)
const t6 = table.subarray(1536, 1792)
const t7 = table.subarray(1792, 2048)

/** CRC-32C of bytes[start, end), as a signed 32-bit integer. About 1 GB/s. */
export const crc32c = (bytes: Uint8Array, start: number, end: number): number => {
  let c = -1
  let i = start
  for (; i + 8 <= end; i += 8) {
    c ^= bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24)
    c =
      t7[c & 255] ^
      t6[(c >>> 8) & 255] ^
      t5[(c >>> 16) & 255] ^
      t4[c >>> 24] ^
      t3[bytes[i + 4]] ^
      t2[bytes[i + 5]] ^
      t1[bytes[i + 6]] ^
      t0[bytes[i + 7]]
  }
  for (; i < end; i++) c = t0[(c ^ bytes[i]) & 255] ^ (c >>> 8)
  return ~c
}
