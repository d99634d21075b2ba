// Reads a Kafka fetch response, versions 4 to 11, as far as its record batches. Format: Kafka protocol guide,
// "Fetch API".

/** A transaction that was rolled back: its records from `firstOffset` to its marker do not count. */
export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
}

/** What one partition's part of a fetch response says. */
export interface FetchedPartition {
  readonly topic: string
  readonly partition: number
  /** Kafka's error code; 0 is none. */
  readonly errorCode: number
  /** Offset one past the last record that a reader of committed data may see. */
  readonly lastStableOffset: number
  /** −1 where the version does not tell. */
  readonly logStartOffset: number
  readonly aborted: ReadonlyArray<AbortedTransaction>
  /** Record batches; the last one may be cut off. A view of the response. */
  readonly records: Buffer
}

export interface FetchResponse {
  readonly throttleMillis: number
  readonly errorCode: number
  readonly partitions: ReadonlyArray<FetchedPartition>
}

/** Signed 64-bit integer as a number; exact up to 2^53. */
export const int64 = (bytes: Buffer, at: number): number =>
  bytes.readInt32BE(at) * 4_294_967_296 + bytes.readUInt32BE(at + 4)

/** Decodes the body of a fetch response. Throws a RangeError where the bytes end early. */
export const parseFetchResponse = (bytes: Buffer, version: number): FetchResponse => {
  if (version < 4 || version > 11) throw new RangeError(`fetch version ${version} is not one of 4 to 11`)
  const throttleMillis = bytes.readInt32BE(0)
  let at = 4
  let errorCode = 0
  if (version >= 7) {
    errorCode = bytes.readInt16BE(at)
    at += 6
  }
  const partitions: Array<FetchedPartition> = []
  let topics = bytes.readInt32BE(at)
  at += 4
  for (; topics > 0; topics--) {
    const nameLength = bytes.readInt16BE(at)
    const topic = bytes.toString("utf8", at + 2, at + 2 + nameLength)
    at += 2 + nameLength
    let parts = bytes.readInt32BE(at)
    at += 4
    for (; parts > 0; parts--) {
      const partition = bytes.readInt32BE(at)
      const code = bytes.readInt16BE(at + 4)
      const lastStableOffset = int64(bytes, at + 14)
      at += 22
      let logStartOffset = -1
      if (version >= 5) {
        logStartOffset = int64(bytes, at)
        at += 8
      }
      const aborted: Array<AbortedTransaction> = []
      let transactions = bytes.readInt32BE(at)
      at += 4
      for (; transactions > 0; transactions--) {
        aborted.push({ producerId: int64(bytes, at), firstOffset: int64(bytes, at + 8) })
        at += 16
      }
      if (version >= 11) at += 4
      const size = Math.max(0, bytes.readInt32BE(at))
      at += 4
      if (at + size > bytes.length) throw new RangeError("the record set is cut off")
      partitions.push({
        topic,
        partition,
        errorCode: code,
        lastStableOffset,
        logStartOffset,
        aborted,
        records: bytes.subarray(at, at + size)
      })
      at += size
    }
  }
  return { throttleMillis, errorCode, partitions }
}
