// Which partition a key belongs to: the same as Kafka's default partitioner, so that any producer agrees.

const MULTIPLIER = 0x5bd1e995
const SEED = 0x9747b28c | 0

/**
 * Kafka's 32-bit murmur2 over all of `bytes`, as a signed integer
 * (`org.apache.kafka.common.utils.Utils.murmur2`).
 */
export const murmur2 = (bytes: Uint8Array): number => {
  const length = bytes.length
  let hash = SEED ^ length
  let i = 0
  for (; i + 4 <= length; i += 4) {
    let word = bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24)
    word = Math.imul(word, MULTIPLIER)
    word ^= word >>> 24
    hash = Math.imul(hash, MULTIPLIER) ^ Math.imul(word, MULTIPLIER)
  }
  const left = length - i
  if (left > 2) hash ^= bytes[i + 2] << 16
  if (left > 1) hash ^= bytes[i + 1] << 8
  if (left > 0) hash = Math.imul(hash ^ bytes[i], MULTIPLIER)
  hash = Math.imul(hash ^ (hash >>> 13), MULTIPLIER)
  return hash ^ (hash >>> 15)
}

/** Partition of `key` among `partitions` (≥ 1): the sign bit is dropped, not negated, as Kafka does. */
export const partitionOf = (key: Uint8Array, partitions: number): number =>
  (murmur2(key) & 0x7fffffff) % partitions
