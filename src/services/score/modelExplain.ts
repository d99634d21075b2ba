// Why a model's energy is high: each feature's share, in the field's own unit, the largest first.
import type { Traces } from "../../schema/event/CellState.ts"
import { type FeatureSpec, featureName } from "../../schema/model/FeatureSpec.ts"
import type { Manifest } from "../../schema/model/Manifest.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import type { Contribution } from "../../schema/verdict/Alert.ts"
import { unscaled } from "./baselineExplain.ts"
import type { RowExplanation } from "./Scorer.ts"

/** Shares below this many nats are left out. */
const NATS_MIN = 1e-3
/** A residual nearer to 0 than this says nothing of the deviation it was divided by. */
const RESIDUAL_MIN = 0.05
/** Residuals are clipped here, see `FeatureSpec`. */
const RESIDUAL_MAX = 20

type Shown = Pick<Contribution, "feature" | "observed" | "expected">

/** One event, as far as its explanation needs it. */
export interface ExplainedEvent {
  /** The event's feature row, and what the model's explain graph says of it. */
  readonly row: Float32Array
  readonly explained: RowExplanation
  /** What the fold kept of it; nothing for an ordinary baseline energy. */
  readonly traces: Traces
  /** The event's row in the traces. */
  readonly event: number
  /** The event's category in a column of the plan; null if missing. */
  readonly category: (column: number) => string | null
}

const round = (value: number): number =>
  value === 0 || !Number.isFinite(value) ? value : Number(value.toPrecision(4))

const rounded = (value: number | string | null): number | string | null =>
  typeof value === "number" ? round(value) : value

/**
 * The `most` largest contributions of one event, nats above normal. Numbers and windows are given in their own unit,
 * the gap in seconds, a run by its length against the longest normal one, a rarity by the value that is rare. A residual
 * whose baseline the fold did not keep is given in deviations, and named so.
 */
export const modelExplain = (
  plan: StreamPlan,
  manifest: Manifest,
  { row, explained, traces, event, category }: ExplainedEvent,
  most: number
): ReadonlyArray<Contribution> => {
  const slot = traces.slot[event]
  const at = slot * traces.width
  const S = plan.signals.length
  const N = plan.numbers.length
  const isLog = (signal: number): boolean => (signal < N ? plan.numbers[signal].log : true)
  const number = (name: string): number => plan.numbers.findIndex((column) => column.name === name)

  const wordOf = (field: string, value: number): string | null =>
    value < -1.5 || Number.isNaN(value)
      ? null
      : value < 0
        ? "unseen"
        : (manifest.vocabularies[field]?.[Math.round(value)] ?? null)

  const residual = (signal: string, z: number, usual: number): Shown => {
    const feature = `${signal} vs own baseline`
    const k = plan.signals.indexOf(signal)
    const observed = slot < 0 ? Number.NaN : traces.observed[at + k]
    const mean = slot < 0 ? Number.NaN : traces.expected[at + k]
    if (Number.isNaN(observed) || Number.isNaN(mean))
      return { feature: `${feature}, in deviations`, observed: z, expected: usual }
    const size = Math.abs(z)
    // The residual is (observed − mean) / deviation; what the model expects is another residual of the same deviation.
    const deviation = size > RESIDUAL_MIN && size < RESIDUAL_MAX ? (observed - mean) / z : 0
    return {
      feature,
      observed: unscaled(observed, isLog(k)),
      expected: unscaled(mean + usual * deviation, isLog(k))
    }
  }

  const shown = (feature: FeatureSpec, value: number, usual: number): Shown => {
    const name = featureName(feature)
    switch (feature.kind) {
      case "residual":
        return residual(feature.signal, value, usual)
      case "category":
        return {
          feature: name,
          observed: category(plan.categories.findIndex((column) => column.name === feature.field)),
          expected: wordOf(feature.field, usual)
        }
      case "surprise":
        return {
          feature: name,
          observed: category(plan.categories.findIndex((column) => column.name === feature.field)),
          expected: null
        }
      case "stuck": {
        const term = at + S + number(feature.field)
        return slot < 0
          ? { feature: name, observed: unscaled(value, true), expected: unscaled(usual, true) }
          : { feature: name, observed: traces.observed[term], expected: traces.expected[term] }
      }
      case "value": {
        const log = plan.numbers[number(feature.field)]?.log === true
        return { feature: name, observed: unscaled(value, log), expected: unscaled(usual, log) }
      }
      case "gap":
      case "window":
        return { feature: name, observed: unscaled(value, true), expected: unscaled(usual, true) }
      case "drift":
      case "count":
        return { feature: name, observed: value, expected: usual }
    }
  }

  return Array.from(explained.contributions.keys())
    .filter((column) => Math.abs(explained.contributions[column]) > NATS_MIN)
    .sort((a, b) => explained.contributions[b] - explained.contributions[a])
    .slice(0, most)
    .map((column) => {
      const { feature, observed, expected } = shown(
        manifest.features[column],
        row[column],
        explained.expected[column]
      )
      return {
        feature,
        energy: round(explained.contributions[column]),
        observed: rounded(observed),
        expected: rounded(expected)
      }
    })
}
