// An event that could not be taken: its bytes, where it stood, and why.
import { Schema } from "effect"

/** Why an event was refused; a label of `groundstate_dead_letters_total`, so the list is closed. */
export const DeadLetterReason = Schema.Literal(
  "empty",
  "tombstone",
  "too-large",
  "bad-utf8",
  "byte-order-mark",
  "bad-json",
  "not-an-object",
  "too-deep",
  "duplicate-key",
  "missing-device",
  "bad-device",
  "missing-time",
  "bad-time",
  "bad-id",
  "missing-field",
  "wrong-type",
  "number-out-of-range",
  "unsafe-integer",
  "bad-envelope",
  "id-conflict",
  "undecodable-batch",
  "handler-failed"
)
export type DeadLetterReason = typeof DeadLetterReason.Type

export const DeadLetter = Schema.Struct({
  /** `<topic>.<partition>.<offset>`: the same refused event has the same id after any replay. */
  id: Schema.String,
  stream: Schema.String,
  topic: Schema.String,
  partition: Schema.NonNegativeInt,
  offset: Schema.NonNegativeInt,
  /** The log's time of the record, epoch ms. */
  timestamp: Schema.Number,
  reason: DeadLetterReason,
  /** Names the field and what was expected, for a person. */
  detail: Schema.String,
  attempts: Schema.Positive,
  /** The original bytes; cut at 1 MiB, `size` tells the whole. */
  bytes: Schema.Uint8ArrayFromBase64,
  size: Schema.NonNegativeInt,
  /** The record's own headers, up to 16 KiB of them: an event in CloudEvents' binary mode is nothing without. */
  headers: Schema.optionalWith(Schema.Record({ key: Schema.String, value: Schema.String }), {
    default: () => ({})
  })
})
export type DeadLetter = typeof DeadLetter.Type

/** Refused rows of one decoded batch, gathered by the hot loop; index-aligned. */
export interface Rejects {
  count: number
  readonly record: Array<number>
  readonly reason: Array<DeadLetterReason>
  readonly detail: Array<string>
}

export const makeRejects = (): Rejects => ({ count: 0, record: [], reason: [], detail: [] })
