// Finds what someone meant: the known name nearest to one that is not known.

/**
 * The candidate that differs least from `name` (letters inserted, left out, replaced or swapped; case counts
 * half), or undefined where none is near enough to be a slip: more than a third of the letters differ.
 */
export const nearestName = (name: string, candidates: ReadonlyArray<string>): string | undefined => {
  let best: string | undefined
  let bestCost = Math.max(1, Math.floor(name.length / 3)) + 0.5
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - name.length) > 8 || candidate.length > 128 || name.length > 128) continue
    const cost = editCost(name, candidate)
    if (cost < bestCost) {
      bestCost = cost
      best = candidate
    }
  }
  return best
}

// Optimal string alignment over three rows.
const editCost = (a: string, b: string): number => {
  let before: Array<number> = []
  let above: Array<number> = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row: Array<number> = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      const replace = same ? 0 : a[i - 1].toLowerCase() === b[j - 1].toLowerCase() ? 0.5 : 1
      let cost = Math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + replace)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] && !same) {
        cost = Math.min(cost, before[j - 2] + 1)
      }
      row.push(cost)
    }
    before = above
    above = row
  }
  return above[b.length]
}
