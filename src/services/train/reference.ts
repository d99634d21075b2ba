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

const referenceOf = (values: Float64Array, missing: number): FeatureReference => {
  const ascending = values.sort()
  const count = values.length + missing
  const edges: Array<number> = []
  for (let decile = 1; decile < DECILES && ascending.length > 0; decile++) {
    // Values are compared as 32-bit numbers.
    const edge = Math.fround(quantile(ascending, decile / DECILES))
    if (edges.length === 0 || edge > edges[edges.length - 1]) edges.push(edge)
  }
  // Where values tie there is room for one more edge: what lies above all of them was never seen.
  if (ascending.length > 0 && edges.length < DECILES - 1) edges.push(above(ascending[ascending.length - 1]))
  const shares = new Array<number>(DRIFT_BINS).fill(0)
  let bin = 0
  for (const value of ascending) {
    while (bin < edges.length && edges[bin] <= value) bin++
    shares[bin] += 1 / count
  }
  shares[MISSING_BIN] = missing / count
  return { edges, shares: shares.map((share) => Number(share.toFixed(6))) }
}

/** The reference of a table's features; NaN is missing. */
export const makeReference = ({ rows, count, width }: Table): Reference => ({
  rows: count,
  features: Array.from({ length: width }, (_, column) => {
    const values = new Float64Array(count)
    let present = 0
    for (let row = 0; row < count; row++) {
      const value = rows[row * width + column]
      if (!Number.isNaN(value)) values[present++] = value
    }
    return referenceOf(values.subarray(0, present), count - present)
  })
})
