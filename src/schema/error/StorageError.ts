// What can go wrong with the durable state.
import { Schema } from "effect"

/** The database did not answer, or refused; nothing was changed. */
export class StorageUnavailable extends Schema.TaggedError<StorageUnavailable>()("StorageUnavailable", {
  operation: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `The state database did not ${this.operation}: ${this.detail}. Nothing was changed; cells wait and try again, events stay in the log.`
  }
}

/** A runner that can have no part in its region. */
export class RegionRefused extends Schema.TaggedError<RegionRefused>()("RegionRefused", {
  detail: Schema.String
}) {
  override get message() {
    return `This runner has no part in the region: ${this.detail}. It owns no cell; the others go on.`
  }
}

/** A newer owner has taken the cell: this one must stop. */
export class Fenced extends Schema.TaggedError<Fenced>()("Fenced", {
  stream: Schema.String,
  partition: Schema.NonNegativeInt,
  epoch: Schema.NonNegativeInt,
  current: Schema.NonNegativeInt
}) {
  override get message() {
    return `Cell ${this.stream}/${this.partition} at epoch ${this.epoch} was refused: epoch ${this.current} owns it now. This owner stops; nothing it had not checkpointed is lost, the new owner reads it again.`
  }
}

/** Stored state that can't be read by this version. */
export class CorruptState extends Schema.TaggedError<CorruptState>()("CorruptState", {
  what: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.what} can't be read: ${this.detail}. The cell does not start, so that nothing is overwritten; restore the database from its backup, or delete the cell's rows to rebuild its state from the log.`
  }
}
