// Writes Kafka fetch requests and reads the responses, versions 4 to 11, as far as their record batches. Format:
// Kafka protocol guide, "Fetch API".

/** The newest version that is written and read here. */
export const FETCH_VERSION_MAX = 11

/** What is wanted of one partition. */
export interface WantedPartition {
  readonly topic: string
  readonly partition: number
  /** First offset wanted. */
  readonly offset: number
  /** About so many bytes; one batch at least, where it is the first in the request that has any. */
  readonly bytesMax: number
}

export interface FetchRequest {
  /** How long the broker may wait for a first record. */
  readonly maxWaitMillis: number
  readonly bytesMax: number
  /** Served in this order, up to `bytesMax`. No partition twice. */
  readonly wanted: ReadonlyArray<WantedPartition>
}

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

const writeInt64 = (bytes: Buffer, value: number, at: number): void => {
  bytes.writeInt32BE(Math.floor(value / 4_294_967_296), at)
  bytes.writeUInt32BE(value % 4_294_967_296, at + 4)
}

/**
 * The body of a request for records of committed transactions. Outside a session (KIP-227): each request names all
 * it wants.
 */
export const encodeFetchRequest = (request: FetchRequest, version: number): Buffer => {
  const { wanted } = request
  // A topic is named again where another lies between, so that the order of partitions is kept.
  let size = 64
  for (const { topic } of wanted) size += 38 + 3 * topic.length
  const bytes = Buffer.allocUnsafe(size)
  bytes.writeInt32BE(-1, 0)
  bytes.writeInt32BE(request.maxWaitMillis, 4)
  bytes.writeInt32BE(1, 8)
  bytes.writeInt32BE(request.bytesMax, 12)
  bytes[16] = 1
  let at = 17
  if (version >= 7) {
    bytes.writeInt32BE(0, at)
    bytes.writeInt32BE(-1, at + 4)
    at += 8
  }
  let topics = 0
  const topicsAt = at
  at += 4
  for (let i = 0; i < wanted.length; ) {
    const { topic } = wanted[i]
    const length = bytes.write(topic, at + 2)
    bytes.writeInt16BE(length, at)
    at += 2 + length
    const countAt = at
    at += 4
    const first = i
    for (; i < wanted.length && wanted[i].topic === topic; i++) {
      bytes.writeInt32BE(wanted[i].partition, at)
      at += 4
      if (version >= 9) at = bytes.writeInt32BE(-1, at)
      writeInt64(bytes, wanted[i].offset, at)
      at += 8
      if (version >= 5) {
        bytes.fill(255, at, at + 8)
        at += 8
      }
      at = bytes.writeInt32BE(wanted[i].bytesMax, at)
    }
    bytes.writeInt32BE(i - first, countAt)
    topics++
  }
  bytes.writeInt32BE(topics, topicsAt)
  if (version >= 7) at = bytes.writeInt32BE(0, at)
  if (version >= 11) at = bytes.writeInt16BE(0, at)
  return bytes.subarray(0, at)
}

/** Decodes the body of a fetch response. Throws a RangeError where the bytes end early. */
export const parseFetchResponse = (bytes: Buffer, version: number): FetchResponse => {
  if (version < 4 || version > FETCH_VERSION_MAX) {
    throw new RangeError(`fetch version ${version} is not one of 4 to ${FETCH_VERSION_MAX}`)
  }
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
