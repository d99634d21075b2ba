// What can go wrong with a model: loading it, and asking it.
import { Schema } from "effect"

/** A bundle was refused; the previous version keeps scoring. */
export class ModelRefused extends Schema.TaggedError<ModelRefused>()("ModelRefused", {
  model: Schema.String,
  reason: Schema.Literal(
    "missing-file",
    "unexpected-file",
    "bad-manifest",
    "too-large",
    "digest-mismatch",
    "unknown-operator",
    "wrong-shape",
    "golden-mismatch",
    "will-not-load",
    "wrong-stream",
    /** The folder that keeps bundles could not be read or written. */
    "store"
  ),
  detail: Schema.String
}) {
  override get message() {
    return `Model ${this.model} was not loaded (${this.reason}): ${this.detail}. Whatever scored before keeps scoring; publish the model again or pick another version.`
  }
}

/** A loaded model failed to score a batch. The cell takes the next rung of its ladder. */
export class ScorerUnavailable extends Schema.TaggedError<ScorerUnavailable>()("ScorerUnavailable", {
  model: Schema.String,
  /** `replacing`: its worker was thrown away and the next one is not there yet, which says nothing of the batch. */
  reason: Schema.Literal("timeout", "failed", "non-finite", "replacing", "closed"),
  detail: Schema.String
}) {
  override get message() {
    return `Model ${this.model} did not score a batch (${this.reason}): ${this.detail}. The batch is scored by the next rung of the ladder; the breaker probes the model again.`
  }
}
