// Which numbers of an event a model sees, in order: one row of Float32 per event.
import { Schema } from "effect"

/**
 * One column of a feature row.
 * - `value`: the numeric field as the plan scales it (log or linear); if missing, the device's own mean, NaN
 *   while it has none.
 * - `residual`: (value − device mean) / device deviation of a signal, clipped to ±20, blended with the
 *   population where the device is young; 0 if missing.
 * - `drift`: moving average of the last few residuals of a signal, this one included, each clipped to ±4; 0 at first.
 * - `gap`: log(1 + seconds since the device's last event); the population's mean on its first.
 * - `count`: events of the device so far, at most 1000.
 * - `window`: the window's value before this event is added, log(1 + x); the population's mean in a device's
 *   first 32 events, while the window fills.
 * - `stuck`: log(1 + how far the run of equal values exceeds the longest normal run).
 * - `surprise`: −log of the share of this value among the cell's recent events, in nats.
 * - `category`: position of the value in `Manifest.vocabularies[field]`, −1 if unseen, −2 if missing.
 */
export const FeatureSpec = Schema.Union(
  Schema.Struct({ kind: Schema.Literal("value"), field: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("residual"), signal: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("drift"), signal: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("gap") }),
  Schema.Struct({ kind: Schema.Literal("count") }),
  Schema.Struct({ kind: Schema.Literal("window"), window: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("stuck"), field: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("surprise"), field: Schema.String }),
  Schema.Struct({ kind: Schema.Literal("category"), field: Schema.String })
)
export type FeatureSpec = typeof FeatureSpec.Type

/** Name of a feature for people: `bytesIn`, `bytesIn vs device`, `proto rarity`, … */
export const featureName = (feature: FeatureSpec): string => {
  switch (feature.kind) {
    case "value":
    case "category":
      return feature.field
    case "residual":
      return `${feature.signal} vs own baseline`
    case "drift":
      return `${feature.signal} drift`
    case "window":
      return feature.window
    case "stuck":
      return `${feature.field} unchanged`
    case "surprise":
      return `${feature.field} rarity`
    case "gap":
    case "count":
      return feature.kind
  }
}
