// What a model's training rows looked like, feature by feature: deciles, and the shares between them.
import { DRIFT_BINS, type FeatureReference, MISSING_BIN, type Reference } from "../../schema/model/Drift.ts"
import { quantile } from "./calibrate.ts"
import type { Table } from "./session.ts"

const DECILES = 10

/** The next 32-bit number. */
const above = (value: number): number => {
  const single = new Float32Array([value])
  const bits = new Int32Array(single.buffer)
  if (single[0] === 0) bits[0] = 1
  else bits[0] += single[0] > 0 ? 1 : -1
  return single[0]
}

const referenceOf = (values: Float64Array, missing: number, step: number): FeatureReference => {
  const ascending = values.sort()
  const count = values.length + missing
  const edges: Array<number> = []
  // Values are compared as 32-bit numbers.
  const push = (edge: number) => {
    const single = Math.fround(edge)
    if (edges.length === 0 || single > edges[edges.length - 1]) edges.push(single)
  }
  const deciles = Array.from({ length: ascending.length === 0 ? 0 : DECILES - 1 }, (_, at) =>
    quantile(ascending, (at + 1) / DECILES)
  )
  for (let from = 0, to = 0; from < deciles.length; from = ++to) {
    while (to + 1 < deciles.length && deciles[to + 1] - deciles[to] < step) to++
    if (to === from) push(deciles[from])
    else {
      // A constant but for rounding: one bin, and none of its edges among what is rounded.
      push(deciles[from] - step / 2)
      push(deciles[to] + step / 2)
    }
  }
  // Where values tie there is room for one more edge: what lies above all of them was never seen.
  if (ascending.length > 0 && edges.length < DECILES - 1) {
    push(Math.max(above(ascending[ascending.length - 1]), ascending[ascending.length - 1] + step / 2))
  }
  const shares = new Array<number>(DRIFT_BINS).fill(0)
  let bin = 0
  for (const value of ascending) {
    while (bin < edges.length && edges[bin] <= value) bin++
    shares[bin] += 1 / count
  }
  shares[MISSING_BIN] = missing / count
  return { edges, shares: shares.map((share) => Number(share.toFixed(6))) }
}

/** The reference of a table's features; NaN is missing. `steps`: by feature, what is less than this apart is the same. */
export const makeReference = (
  { rows, count, width }: Table,
  steps: ReadonlyArray<number> = []
): Reference => ({
  rows: count,
  features: Array.from({ length: width }, (_, column) => {
    const values = new Float64Array(count)
    let present = 0
    for (let row = 0; row < count; row++) {
      const value = rows[row * width + column]
      if (!Number.isNaN(value)) values[present++] = value
    }
    return referenceOf(values.subarray(0, present), count - present, steps[column] ?? 0)
  })
})
