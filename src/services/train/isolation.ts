// Isolation forest (Liu, Ting and Zhou 2008): how few random cuts set a row apart. Used to trim training rows.
import type { Random } from "./random.ts"
import { breathe, type Table } from "./session.ts"

const TREES = 100
const SAMPLE = 256

/** Nodes of one tree in arrays; a leaf has feature −1 and its expected depth in `cut`. */
interface Tree {
  readonly feature: Int32Array
  readonly cut: Float64Array
  readonly left: Int32Array
}

/** Mean depth of an unsuccessful search in a binary tree of `size` rows. */
const pathLength = (size: number) =>
  size < 2 ? 0 : size === 2 ? 1 : 2 * (Math.log(size - 1) + 0.5772156649) - (2 * (size - 1)) / size

const grow = (table: Table, sample: Int32Array, random: Random): Tree => {
  const limit = Math.ceil(Math.log2(Math.max(2, sample.length)))
  const feature = new Int32Array(2 * sample.length + 1)
  const cut = new Float64Array(2 * sample.length + 1)
  const left = new Int32Array(2 * sample.length + 1)
  let nodes = 1
  const split = (node: number, from: number, to: number, depth: number): void => {
    feature[node] = -1
    cut[node] = depth + pathLength(to - from)
    if (depth >= limit || to - from < 2) return
    // A few tries: a column may be constant among the rows that are left.
    for (let attempt = 0; attempt < 8; attempt++) {
      const column = random.below(table.width)
      let low = Number.POSITIVE_INFINITY
      let high = Number.NEGATIVE_INFINITY
      for (let at = from; at < to; at++) {
        const value = table.rows[sample[at] * table.width + column]
        if (value < low) low = value
        if (value > high) high = value
      }
      if (!(low < high)) continue
      const at = low + random.uniform() * (high - low)
      let middle = from
      for (let row = from; row < to; row++) {
        if (table.rows[sample[row] * table.width + column] > at) continue
        const kept = sample[row]
        sample[row] = sample[middle]
        sample[middle++] = kept
      }
      if (middle === to) continue
      feature[node] = column
      cut[node] = at
      left[node] = nodes
      nodes += 2
      split(left[node], from, middle, depth + 1)
      split(left[node] + 1, middle, to, depth + 1)
      return
    }
  }
  split(0, 0, sample.length, 0)
  return { feature, cut, left }
}

/** Trees over samples of the table's rows (no NaN among them). */
export const growForest = (table: Table, random: Random): ReadonlyArray<Tree> =>
  Array.from({ length: TREES }, () => {
    const size = Math.min(SAMPLE, table.count)
    const sample = Int32Array.from({ length: size }, () => random.below(table.count))
    return grow(table, sample, random)
  })

/** One anomaly score a row, higher is easier to set apart: minus the mean depth. */
export const scoreForest = async (forest: ReadonlyArray<Tree>, table: Table): Promise<Float64Array> => {
  const scores = new Float64Array(table.count)
  const { rows, width } = table
  for (const tree of forest) {
    for (let row = 0; row < table.count; row++) {
      let node = 0
      while (tree.feature[node] >= 0) {
        const value = rows[row * width + tree.feature[node]]
        node = value <= tree.cut[node] ? tree.left[node] : tree.left[node] + 1
      }
      scores[row] -= tree.cut[node] / forest.length
    }
    await breathe()
  }
  return scores
}
