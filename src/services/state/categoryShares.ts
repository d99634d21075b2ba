// How common each categorical value is among the cell's recent events.
import type { CategoryShares } from "../../schema/event/CellState.ts"

/** Shares of columns with `sizes[c]` values each; nothing seen yet. */
export const makeCategoryShares = (sizes: ReadonlyArray<number>): CategoryShares => {
  const base = new Int32Array(sizes.length + 1)
  for (let column = 0; column < sizes.length; column++) base[column + 1] = base[column] + sizes[column] + 2
  return {
    base,
    weight: new Float64Array(base[sizes.length]),
    total: new Float64Array(sizes.length),
    novel: new Float64Array(sizes.length),
    usual: new Float64Array(sizes.length)
  }
}

/** Share of a value (id as in `EventColumns.categories`) among recent events, 0 to 1; 0 before the first. */
export const shareOf = (shares: CategoryShares, column: number, id: number): number => {
  const total = shares.total[column]
  return total === 0 ? 0 : shares.weight[shares.base[column] + id + 1] / total
}

/** The most common values of a column, most common first: [id, share]. For inspection. */
export const topShares = (
  shares: CategoryShares,
  column: number,
  limit: number
): ReadonlyArray<readonly [id: number, share: number]> => {
  const found: Array<readonly [number, number]> = []
  for (let slot = shares.base[column]; slot < shares.base[column + 1]; slot++) {
    if (shares.weight[slot] > 0)
      found.push([slot - shares.base[column] - 1, shares.weight[slot] / shares.total[column]])
  }
  return found.sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, limit)
}
