// The alerts of one device that belong together.
import { Schema } from "effect"
import { Severity } from "../stream/StreamDefinition.ts"

export const IncidentStatus = Schema.Literal("open", "growing", "quiet", "resolved")
export type IncidentStatus = typeof IncidentStatus.Type

export const IncidentLabel = Schema.Literal("true-positive", "false-alarm", "unsure")
export type IncidentLabel = typeof IncidentLabel.Type

export const Incident = Schema.Struct({
  id: Schema.String,
  stream: Schema.String,
  device: Schema.String,
  status: IncidentStatus,
  severity: Severity,
  /** Event time of the first and last alert, epoch ms. */
  openedAt: Schema.Number,
  lastAlertAt: Schema.Number,
  resolvedAt: Schema.NullOr(Schema.Number),
  alerts: Schema.NonNegativeInt,
  firstAlert: Schema.String,
  lastAlert: Schema.String,
  /** Highest energy seen, nats; null if only rules raised it. */
  peakEnergy: Schema.NullOr(Schema.Number),
  summary: Schema.String,
  label: Schema.NullOr(IncidentLabel)
})
export type Incident = typeof Incident.Type
