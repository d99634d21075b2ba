// Where each feature of a model goes in its row: feature specifications compiled to column numbers.
import type { FeatureSpec } from "../../schema/model/FeatureSpec.ts"
import { courseSignal, type StreamPlan } from "../../schema/stream/StreamPlan.ts"

/** A model asks for a feature that the stream does not have; the message names it. */
export class UnknownFeature extends Error {
  override readonly name = "UnknownFeature"
}

/** Column of the row for each source, −1 where no feature asks for it. */
export interface RowLayout {
  readonly width: number
  /** N, S, S, W, N, C, C. */
  readonly value: Int32Array
  readonly residual: Int32Array
  readonly drift: Int32Array
  readonly window: Int32Array
  readonly stuck: Int32Array
  readonly surprise: Int32Array
  readonly category: Int32Array
  readonly gap: number
  readonly count: number
  /** Features asked for twice: pairs of (column that has it, column that gets a copy). */
  readonly copies: Int32Array
}

/**
 * The features that are natural for a stream: each number, its residual and how that has been lately, gap, windows,
 * runs, rarities. Not the count: it only grows, and a model would take every old device for strange.
 */
export const defaultFeatures = (plan: StreamPlan): ReadonlyArray<FeatureSpec> => [
  ...plan.numbers.map((column) => ({ kind: "value", field: column.name }) as const),
  ...plan.numbers.map((column) => ({ kind: "residual", signal: column.name }) as const),
  ...plan.numbers
    .filter((column) => !column.boolean)
    .map((column) => ({ kind: "drift", signal: column.name }) as const),
  ...(plan.gap ? [{ kind: "gap" } as const] : []),
  ...plan.windows.flatMap(
    (window) =>
      [
        { kind: "window", window: window.name },
        { kind: "residual", signal: window.name }
      ] as const
  ),
  ...(plan.lags === 0
    ? []
    : plan.numbers.map((column) => ({ kind: "residual", signal: courseSignal(column.name) }) as const)),
  ...(plan.gap ? [{ kind: "residual", signal: "gap" } as const] : []),
  ...plan.numbers
    .filter((column) => !column.boolean)
    .map((column) => ({ kind: "stuck", field: column.name }) as const),
  ...plan.categories.map((column) => ({ kind: "surprise", field: column.name }) as const)
]

/** Compiles features against a plan; throws `UnknownFeature`. */
export const layOutRow = (plan: StreamPlan, features: ReadonlyArray<FeatureSpec>): RowLayout => {
  const value = new Int32Array(plan.numbers.length).fill(-1)
  const residual = new Int32Array(plan.signals.length).fill(-1)
  const drift = new Int32Array(plan.signals.length).fill(-1)
  const window = new Int32Array(plan.windows.length).fill(-1)
  const stuck = new Int32Array(plan.numbers.length).fill(-1)
  const surprise = new Int32Array(plan.categories.length).fill(-1)
  const category = new Int32Array(plan.categories.length).fill(-1)
  const single = new Int32Array(2).fill(-1)
  const copies: Array<number> = []

  const put = (table: Int32Array, at: number, column: number, what: string): void => {
    if (at < 0)
      throw new UnknownFeature(`the model asks for ${what}, which stream ${plan.stream} does not have`)
    if (table[at] < 0) table[at] = column
    else copies.push(table[at], column)
  }
  const number = (name: string): number => plan.numbers.findIndex((item) => item.name === name)
  const text = (name: string): number => plan.categories.findIndex((item) => item.name === name)

  features.forEach((feature, column) => {
    switch (feature.kind) {
      case "value":
        return put(value, number(feature.field), column, `the number \`${feature.field}\``)
      case "residual":
        return put(residual, plan.signals.indexOf(feature.signal), column, `the signal \`${feature.signal}\``)
      case "drift":
        return put(drift, plan.signals.indexOf(feature.signal), column, `the signal \`${feature.signal}\``)
      case "gap":
        return put(single, 0, column, "the gap")
      case "count":
        return put(single, 1, column, "the count")
      case "window": {
        const at = plan.windows.findIndex((item) => item.name === feature.window)
        return put(window, at, column, `the window \`${feature.window}\``)
      }
      case "stuck":
        return put(stuck, number(feature.field), column, `runs of the number \`${feature.field}\``)
      case "surprise":
        return put(surprise, text(feature.field), column, `the rarity of \`${feature.field}\``)
      case "category":
        return put(category, text(feature.field), column, `the category \`${feature.field}\``)
    }
  })
  return {
    width: features.length,
    value,
    residual,
    drift,
    window,
    stuck,
    surprise,
    category,
    gap: single[0],
    count: single[1],
    copies: Int32Array.from(copies)
  }
}
