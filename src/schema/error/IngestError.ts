// What can go wrong between a producer and the log.
import { Schema } from "effect"

/** The log could not be read or written. Nothing is lost: the caller keeps what was not acknowledged. */
export class LogUnavailable extends Schema.TaggedError<LogUnavailable>()("LogUnavailable", {
  topic: Schema.String,
  operation: Schema.Literal("append", "read", "describe", "create", "commit"),
  detail: Schema.String
}) {
  override get message() {
    return `The event log did not ${this.operation} topic ${this.topic}: ${this.detail}. What was not acknowledged is not stored; it is tried again, and the producer may send it again with the same ids.`
  }
}

/** The offset asked for is no longer, or not yet, in the log. */
export class OffsetOutOfRange extends Schema.TaggedError<OffsetOutOfRange>()("OffsetOutOfRange", {
  topic: Schema.String,
  partition: Schema.NonNegativeInt,
  offset: Schema.Number,
  earliest: Schema.Number,
  latest: Schema.Number
}) {
  override get message() {
    return `Partition ${this.partition} of ${this.topic} holds offsets ${this.earliest} to ${this.latest}; ${this.offset} was asked for. Retention has removed events that were never scored, or the topic was made anew: see the runbook OffsetOutOfRange.`
  }
}
