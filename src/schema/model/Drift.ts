// Has what a model sees moved away from what it was trained on? The reference in its bundle, and the answer.
import { Schema } from "effect"

/** Bins of one quantity: up to ten between deciles, the last for missing values. */
export const DRIFT_BINS = 11
/** The bin of missing values. */
export const MISSING_BIN = DRIFT_BINS - 1
/** Most edges between bins. */
export const DRIFT_EDGES = DRIFT_BINS - 2

/**
 * How one feature was spread over the training rows. A value is in the bin numbered by how many `edges` (deciles,
 * strictly ascending, ties once) are at most the value. `shares`: of each bin, then of missing values.
 */
export const FeatureReference = Schema.Struct({
  edges: Schema.Array(Schema.Number).pipe(Schema.maxItems(DRIFT_EDGES)),
  shares: Schema.Array(Schema.Number).pipe(Schema.maxItems(DRIFT_BINS))
})
export type FeatureReference = typeof FeatureReference.Type

/** The training rows, to tell later ones from them. The energy's own reference is its calibration. */
export const Reference = Schema.Struct({
  rows: Schema.NonNegativeInt,
  /** In the order of the manifest's features. */
  features: Schema.Array(FeatureReference)
})
export type Reference = typeof Reference.Type

/** `unknown`: too little was seen, or the model has no reference. What a rollout acts on is `drifted`. */
export const DriftState = Schema.Literal("unknown", "stable", "watch", "drifted")
export type DriftState = typeof DriftState.Type

/** PSI from which a quantity is watched, and from which it has drifted. */
export const PSI_WATCH = 0.1
export const PSI_ACT = 0.25

const moved = {
  state: DriftState,
  /** Population stability index over the reference's bins: Σ (r − q) log (r / q). */
  psi: Schema.Number,
  /** What chance alone stays below: below it, a PSI says nothing. */
  bound: Schema.Number
}

export const FeatureDrift = Schema.Struct({ feature: Schema.String, ...moved })
export type FeatureDrift = typeof FeatureDrift.Type

export const DriftReport = Schema.Struct({
  /** The worst of the energy's and the features'. */
  state: DriftState,
  /** Stretch of event time that was looked at, epoch ms; null for a table. */
  from: Schema.NullOr(Schema.Number),
  to: Schema.NullOr(Schema.Number),
  /** Rows counted; alarmed, late and quarantined ones and a device's first are not. */
  rows: Schema.NonNegativeInt,
  /** Stretches that the rows lie in; how much these differ tells how much chance does. */
  blocks: Schema.NonNegativeInt,
  energy: Schema.Struct({
    ...moved,
    /** Kolmogorov-Smirnov distance at the deciles, and its 1 % level for as many independent rows as these are worth. */
    ks: Schema.Number,
    ksLevel: Schema.Number
  }),
  /** Those that moved most, at most eight. */
  features: Schema.Array(FeatureDrift),
  /** Mean energy of the last seven days and of the seven before, nats; null where a week has no rows. */
  week: Schema.NullOr(Schema.Number),
  weekBefore: Schema.NullOr(Schema.Number)
}).annotations({ identifier: "DriftReport" })
export type DriftReport = typeof DriftReport.Type
