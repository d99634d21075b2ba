// Refused records as dead letters: the original bytes, where they stood, and why.
import type { RecordBatch, UnreadableRecords } from "../../schema/event/Batch.ts"
import type { DeadLetter, DeadLetterReason } from "../../schema/event/DeadLetter.ts"
import { ASK_HEADER } from "../../schema/protocol/CellProtocol.ts"

/** Bytes of an event that a dead letter keeps. */
export const KEPT_BYTES_MAX = 1_048_576

/** Characters of headers that a dead letter keeps; what comes after them is left out. */
export const KEPT_HEADERS_MAX = 16_384

interface Place {
  readonly stream: string
  readonly partition: number
}

/** The headers that the producer wrote, as far as they are kept. */
const headersOf = (headers: Readonly<Record<string, string>> | undefined): Record<string, string> => {
  const kept: Record<string, string> = {}
  let room = KEPT_HEADERS_MAX
  for (const [name, value] of Object.entries(headers ?? {})) {
    // Who waits for a verdict has had the answer; nobody waits for that of a repetition.
    if (name === ASK_HEADER) continue
    room -= name.length + value.length
    if (room < 0) break
    kept[name] = value
  }
  return kept
}

/** Record `row` of the batch; its bytes are copied, for the batch is gone with the next fetch. */
export const letterOf = (
  place: Place,
  topic: string,
  batch: RecordBatch,
  row: number,
  reason: DeadLetterReason,
  detail: string,
  attempts: number
): DeadLetter => {
  const start = batch.starts[row]
  const size = start < 0 ? 0 : batch.ends[row] - start
  return {
    id: `${topic}.${place.partition}.${batch.offsets[row]}`,
    stream: place.stream,
    topic,
    partition: place.partition,
    offset: batch.offsets[row],
    timestamp: batch.timestamps[row],
    reason,
    detail,
    attempts,
    // Not `slice`, which of a Buffer is a view.
    bytes: new Uint8Array(
      start < 0 ? [] : batch.bytes.subarray(start, start + Math.min(size, KEPT_BYTES_MAX))
    ),
    size,
    headers: headersOf(batch.headers?.get(row))
  }
}

/** Offsets [first, last] that could not be read as records: one letter for all of them. */
export const letterOfStretch = (place: Place, topic: string, stretch: UnreadableRecords): DeadLetter => ({
  id: `${topic}.${place.partition}.${stretch.firstOffset}`,
  stream: place.stream,
  topic,
  partition: place.partition,
  offset: stretch.firstOffset,
  timestamp: 0,
  reason: stretch.reason,
  detail: `offsets ${stretch.firstOffset} to ${stretch.lastOffset}: ${stretch.detail}`,
  attempts: 1,
  bytes: stretch.bytes.slice(0, KEPT_BYTES_MAX),
  size: stretch.bytes.length,
  headers: {}
})
