// Puts the answers on one Kafka connection together, in memory that is used again and again: fresh memory for each
// read of a socket makes the garbage collector run several times a second, tens of milliseconds each.

/** An answer that claims to be larger is no answer of Kafka's. */
const FRAME_BYTES_MAX = 256 * 1_048_576
const SCRATCH_BYTES = 65_536
const LENGTH_BYTES = 4

/**
 * Memory for `size` bytes: `current` where it is large enough, and not far too large after a burst that is long
 * over.
 */
export const roomFor = (current: Buffer, size: number): Buffer =>
  size <= current.length && (current.length <= SCRATCH_BYTES || size * 16 >= current.length)
    ? current
    : Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(Math.max(size, 1_024))))

export interface FrameReader {
  /** Where the next bytes read from the socket belong. */
  readonly room: () => Buffer
  /** So many bytes were put there. Throws a RangeError where they can't be Kafka's. */
  readonly took: (count: number) => void
}

/**
 * `emit` gets each frame with its length in front, whole. Its bytes may change with the next call of `took`, so a
 * request may go out only once the answer before it has been dealt with.
 */
export const makeFrameReader = (emit: (frame: Buffer) => void): FrameReader => {
  let scratch: Buffer = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
  let large: Buffer = Buffer.alloc(0)
  let target: Buffer = scratch
  let have = 0
  /** Bytes of the frame under way, 0 while unknown. */
  let size = 0
  return {
    room: () => target.subarray(have, target === scratch ? SCRATCH_BYTES : size),
    took: (count) => {
      have += count
      while (have >= LENGTH_BYTES) {
        const length = target.readInt32BE(0)
        if (length < 0 || length > FRAME_BYTES_MAX) throw new RangeError(`a frame of ${length} bytes`)
        size = LENGTH_BYTES + length
        if (have < size) {
          if (size <= target.length) return
          large = roomFor(large, size)
          target.copy(large, 0, 0, have)
          target = large
          return
        }
        const frame = target.subarray(0, size)
        if (have > size) {
          // More answers came in one read, as they do while a connection is set up: leave the first where it is.
          scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
          target.copy(scratch, 0, size, have)
        }
        have -= size
        target = scratch
        size = 0
        emit(frame)
      }
    }
  }
}
