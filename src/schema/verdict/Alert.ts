// One event judged anomalous, and why.
import { Schema } from "effect"
import { AlertId } from "../Ids.ts"
import { Severity, Step } from "../stream/StreamDefinition.ts"

/** Why the energy is high: one feature's share, what was seen and what was expected there. */
export const Contribution = Schema.Struct({
  feature: Schema.String,
  /** Nats above normal; the largest first. */
  energy: Schema.Number,
  observed: Schema.NullOr(Schema.Union(Schema.Number, Schema.String)),
  expected: Schema.NullOr(Schema.Union(Schema.Number, Schema.String))
})
export type Contribution = typeof Contribution.Type

export const Alert = Schema.Struct({
  id: AlertId,
  stream: Schema.String,
  partition: Schema.NonNegativeInt,
  offset: Schema.NonNegativeInt,
  device: Schema.String,
  /** Event time, epoch ms. */
  time: Schema.Number,
  /** The log's own time of the record, epoch ms: latency counts from here. */
  recordTime: Schema.Number,
  severity: Severity,
  /** Name of the rule that raised it; null if an energy did. */
  rule: Schema.NullOr(Schema.String),
  escalated: Schema.Boolean,
  /** Which rung of the ladder scored the event, and the model's digest if one did. */
  path: Step,
  model: Schema.NullOr(Schema.String),
  energy: Schema.NullOr(Schema.Number),
  pvalue: Schema.NullOr(Schema.Number),
  /** Nats above which the event alerts: the stream's threshold with the device's own on top. */
  threshold: Schema.NullOr(Schema.Number),
  contributions: Schema.Array(Contribution),
  /** Index of the nearest normal prototype; null without a model. */
  prototype: Schema.NullOr(Schema.Int),
  quarantined: Schema.Boolean,
  /** One sentence for a person: what was seen, what was expected. */
  summary: Schema.String
})
export type Alert = typeof Alert.Type
