// What can go wrong with a cell that runs.
import { Schema } from "effect"

/** What a cell that stands still is in the middle of: the part that does not come back. */
export const CellDoing = Schema.Literal("reading", "scoring", "sending", "storing")
export type CellDoing = typeof CellDoing.Type

const parts: Readonly<Record<CellDoing, string>> = {
  reading: "the event log's reader gives nothing",
  scoring: "a slice of events does not end: the model's worker, or the cell's own code",
  sending: "what it raised is not taken by the log or the database",
  storing: "its checkpoint does not end: the database"
}

/** Events wait, nothing outside is known to be missing, and the cell does not move. */
export class CellStalled extends Schema.TaggedError<CellStalled>()("CellStalled", {
  stream: Schema.String,
  partition: Schema.NonNegativeInt,
  /** Offset at which it stands. */
  offset: Schema.NonNegativeInt,
  /** Events that wait. */
  lag: Schema.NonNegativeInt,
  seconds: Schema.Number,
  doing: CellDoing
}) {
  override get message() {
    return `Cell ${this.stream}/${this.partition} has not moved from offset ${this.offset} for ${Math.round(this.seconds)} s while ${this.lag} events wait (${this.doing}: ${parts[this.doing]}). It starts again from its checkpoint, with a new reader and model; nothing is lost.`
  }
}
