// How surprising a categorical value is: its share among the cell's recent events, and how often new ones come.
import type { CategoryShares } from "../../schema/event/CellState.ts"

/** Weight of a column at which its past is halved: about 65,536 to 131,072 events are remembered. */
const TOTAL_MAX = 131_072

/**
 * −log p of a value, nats, before the event is counted. A value seen before has its share; one never seen has
 * the share of events that brought something new (Good 1953), later ones weighing more: where a column's values
 * have long all been seen, the first events, each of which was new, say nothing of the next.
 */
export const surpriseOf = (shares: CategoryShares, column: number, id: number): number => {
  const weight = shares.weight[shares.base[column] + id + 1]
  const mass = weight === 0 ? shares.novel[column] + 0.5 : weight > 0.5 ? weight : 0.5
  return Math.log((shares.total[column] + 1) / mass)
}

/** Nats by which a surprise exceeds what is usual in the column, 0 to 12. */
export const surpriseAbove = (shares: CategoryShares, column: number, surprise: number): number => {
  const above = surprise - shares.usual[column]
  return above > 0 ? (above < 12 ? above : 12) : 0
}

/** Counts the event's value. */
export const countCategory = (shares: CategoryShares, column: number, id: number, surprise: number): void => {
  const slot = shares.base[column] + id + 1
  const isNew = shares.weight[slot] === 0
  shares.weight[slot] += 1
  const total = (shares.total[column] += 1)
  // An event weighs as many times as events had been counted when it came, so the share of new ones in the first
  // tenth of the past weighs a hundredth.
  const novel = shares.novel[column] * (1 - 1 / total) + (isNew ? 2 : 0)
  shares.novel[column] = novel < total ? novel : total
  shares.usual[column] += Math.max(1 / total, 1e-4) * (surprise - shares.usual[column])
  if (total >= TOTAL_MAX) {
    for (let at = shares.base[column]; at < shares.base[column + 1]; at++) shares.weight[at] *= 0.5
    shares.novel[column] *= 0.5
    shares.total[column] *= 0.5
  }
}
