// The few rows that a model judged worst, kept with their features while a table goes by.

export interface WorstRow {
  /** Number of the row in the table, from 1, as `score` counts. */
  readonly row: number
  /** What the label column says. */
  readonly label: string
  readonly energy: number
  readonly pvalue: number
  readonly features: Float32Array
  /** Rows with the same features; `row` is the first of them. */
  times: number
}

/** Keeps the `count` rows that rank highest by `rank(energy)`, equal rows once, earlier rows first. */
export const keepWorst = (count: number, rank: (energy: number) => number) => {
  const kept: Array<WorstRow> = []
  const same = (a: Float32Array, b: Float32Array) => a.every((value, at) => Object.is(value, b[at]))
  return {
    /** `features` may be reused by the caller. */
    offer: (row: Omit<WorstRow, "times">): void => {
      const value = rank(row.energy)
      if (kept.length === count && value < rank(kept[count - 1].energy)) return
      const twin = kept.find((one) => one.energy === row.energy && same(one.features, row.features))
      if (twin !== undefined) {
        twin.times++
        return
      }
      const after = kept.findIndex((one) => rank(one.energy) < value)
      const place = after < 0 ? kept.length : after
      if (place >= count) return
      kept.splice(place, 0, { ...row, features: row.features.slice(), times: 1 })
      if (kept.length > count) kept.pop()
    },
    rows: (): ReadonlyArray<WorstRow> => kept
  }
}

/** Labels that have a list of their own; rows of later ones share one. */
const LABELS_MAX = 48

/** The same over all labels: of each label its worst row, then of each its second worst, until there are `count`. */
export const keepWorstOfEach = (count: number, rank: (energy: number) => number) => {
  const lists = new Map<string, ReturnType<typeof keepWorst>>()
  const rest = keepWorst(count, rank)
  return {
    /** `features` may be reused by the caller. */
    offer: (row: Omit<WorstRow, "times">): void => {
      let list = lists.get(row.label)
      if (list === undefined && lists.size < LABELS_MAX) {
        list = keepWorst(count, rank)
        lists.set(row.label, list)
      }
      ;(list ?? rest).offer(row)
    },
    rows: (): ReadonlyArray<WorstRow> => {
      const worstFirst = (a: WorstRow, b: WorstRow) => rank(b.energy) - rank(a.energy)
      const all = [...lists.values(), rest].map((list) => list.rows())
      return Array.from({ length: count }, (_, place) =>
        all.flatMap((rows) => rows.slice(place, place + 1)).sort(worstFirst)
      )
        .flat()
        .slice(0, count)
        .sort(worstFirst)
    }
  }
}
