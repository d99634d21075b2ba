// What became of one event that somebody waits for.
import { Schema } from "effect"
import { Severity, Step } from "../stream/StreamDefinition.ts"
import { Contribution } from "./Alert.ts"

export const Verdict = Schema.Struct({
  stream: Schema.String,
  device: Schema.String,
  partition: Schema.NonNegativeInt,
  /** Null where the log had not answered in time: the event may or may not be there; send it again with the same id. */
  offset: Schema.NullOr(Schema.NonNegativeInt),
  anomalous: Schema.Boolean,
  /** `allow` and `escalate` come from rules. */
  decision: Schema.Literal("normal", "allow", "alert", "escalate"),
  rule: Schema.NullOr(Schema.String),
  severity: Schema.NullOr(Severity),
  /** True where the verdict did not come in time and the rules alone answered. */
  fallback: Schema.Boolean,
  path: Step,
  model: Schema.NullOr(Schema.String),
  energy: Schema.NullOr(Schema.Number),
  pvalue: Schema.NullOr(Schema.Number),
  alertId: Schema.NullOr(Schema.String),
  contributions: Schema.Array(Contribution),
  /** Why the event could not be scored, if it went to the dead letters. */
  rejected: Schema.NullOr(Schema.String)
})
export type Verdict = typeof Verdict.Type
