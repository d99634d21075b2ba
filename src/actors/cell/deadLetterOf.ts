// Refused records as dead letters: the original bytes, where they stood, and why.
import type { RecordBatch, UnreadableRecords } from "../../schema/event/Batch.ts"
import type { DeadLetter, DeadLetterReason } from "../../schema/event/DeadLetter.ts"

/** Bytes of an event that a dead letter keeps. */
export const KEPT_BYTES_MAX = 1_048_576

interface Place {
  readonly stream: string
  readonly partition: number
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
    size
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
  size: stretch.bytes.length
})
