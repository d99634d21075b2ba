// Why a baseline energy is high: its terms by signal, in the fields' own units, the largest first.
import type { Traces } from "../../schema/event/CellState.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import type { Contribution } from "../../schema/verdict/Alert.ts"

/** A value of a signal in the field's own unit; null if missing. */
export const unscaled = (value: number, log: boolean): number | null =>
  Number.isNaN(value) ? null : !log ? value : value < 0 ? -Math.expm1(-value) : Math.expm1(value)

/**
 * Contributions to the baseline energy of event `row`, in nats above normal; they sum to it up to 32-bit
 * rounding. Numbers and windows are given in their own unit, the gap in seconds, a run by its length
 * against the longest normal one. `text` names a category's value by column and interned id. Empty where the
 * energy was too ordinary for the fold to keep its terms.
 */
export const baselineExplain = (
  plan: StreamPlan,
  traces: Traces,
  row: number,
  text: (column: number, id: number) => string
): ReadonlyArray<Contribution> => {
  const slot = traces.slot[row]
  if (slot < 0) return []
  const at = slot * traces.width
  const S = plan.signals.length
  const N = plan.numbers.length
  const found: Array<Contribution> = []
  const add = (
    term: number,
    feature: string,
    observed: number | string | null,
    expected: number | string | null
  ): void => {
    const energy = traces.nats[at + term]
    if (energy !== 0) found.push({ feature, energy, observed, expected })
  }
  plan.signals.forEach((signal, k) => {
    const log = k < N ? plan.numbers[k].log : true
    const observed = unscaled(traces.observed[at + k], log)
    const feature = signal === "gap" && k === S - 1 ? "gap" : `${signal} vs own baseline`
    add(k, feature, observed, unscaled(traces.expected[at + k], log))
  })
  plan.numbers.forEach((column, j) => {
    const term = S + j
    add(term, `${column.name} unchanged`, traces.observed[at + term], traces.expected[at + term])
  })
  plan.categories.forEach((column, c) => {
    const term = S + N + c
    const id = traces.observed[at + term]
    add(term, `${column.name} rarity`, id < 0 ? null : id === 0 ? "other" : text(c, id), null)
  })
  return found.sort((a, b) => b.energy - a.energy)
}
