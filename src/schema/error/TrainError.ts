// What can go wrong between a file of rows and a model, or a model and a file of rows to score.
import { Schema } from "effect"

/** A table was not trained on, scored or evaluated; nothing was written. */
export class TableRefused extends Schema.TaggedError<TableRefused>()("TableRefused", {
  input: Schema.String,
  reason: Schema.Literal(
    "missing-file",
    "unreadable",
    "no-rows",
    "too-few-rows",
    "all-missing",
    "only-constants",
    "too-many-columns",
    "no-label-column",
    "no-labels",
    "wrong-columns",
    "output"
  ),
  /** What was found. */
  detail: Schema.String,
  /** What to do next. */
  advice: Schema.String
}) {
  override get message() {
    return `${this.input}: ${this.detail}. Nothing was written; ${this.advice}.`
  }
}
