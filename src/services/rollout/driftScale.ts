// The reference of one model laid out for counting: edges of every quantity in one array, the energy's first.
import { DRIFT_BINS, DRIFT_EDGES, MISSING_BIN } from "../../schema/model/Drift.ts"
import { featureName } from "../../schema/model/FeatureSpec.ts"
import type { Calibration, Manifest } from "../../schema/model/Manifest.ts"
import type { BinShares } from "./drift.ts"

export interface DriftScale {
  /** The energy, then the features. */
  readonly quantities: number
  /** quantities × DRIFT_EDGES; what a quantity has fewer of is filled up with infinity, which no value reaches. */
  readonly edges: Float32Array
  readonly shares: ReadonlyArray<BinShares>
}

/** Shares of energies between their own deciles: a tenth each, unless energies tie. */
const energyReference = (calibration: Calibration) => {
  const ascending = Float64Array.from(calibration.energies).sort()
  const size = ascending.length
  const edges: Array<number> = []
  for (let decile = 1; decile <= DRIFT_EDGES && size > 0; decile++) {
    const edge = Math.fround(ascending[Math.min(size - 1, Math.floor((decile * size) / (DRIFT_EDGES + 1)))])
    if (edges.length === 0 || edge > edges[edges.length - 1]) edges.push(edge)
  }
  const shares = new Array<number>(DRIFT_BINS).fill(0)
  let bin = 0
  for (const energy of ascending) {
    while (bin < edges.length && edges[bin] <= Math.fround(energy)) bin++
    shares[bin] += 1 / size
  }
  return { edges, shares }
}

/** Undefined where the bundle has no reference: one made before there was any. `calibration`: of the energies counted. */
export const makeDriftScale = (
  { reference, features }: Pick<Manifest, "reference" | "features">,
  calibration: Calibration
): DriftScale | undefined => {
  if (reference === undefined || reference.features.length !== features.length) return undefined
  const energy = energyReference(calibration)
  const all = [energy, ...reference.features]
  const edges = new Float32Array(all.length * DRIFT_EDGES).fill(Number.POSITIVE_INFINITY)
  all.forEach((one, quantity) => {
    edges.set(one.edges.slice(0, DRIFT_EDGES), quantity * DRIFT_EDGES)
  })
  return {
    quantities: all.length,
    edges,
    shares: all.map((one, quantity) => ({
      name: quantity === 0 ? "energy" : featureName(features[quantity - 1]),
      shares: one.shares,
      rows: quantity === 0 ? calibration.energies.length : reference.rows
    }))
  }
}

/** Adds `weight` to the bin of a value; `counts` has DRIFT_BINS for each quantity. */
export const countValue = (
  edges: Float32Array,
  counts: Float32Array,
  at: number,
  quantity: number,
  value: number,
  weight: number
): void => {
  let bin = MISSING_BIN
  if (value === value) {
    const first = quantity * DRIFT_EDGES
    bin = 0
    while (bin < DRIFT_EDGES && edges[first + bin] <= value) bin++
  }
  counts[at + quantity * DRIFT_BINS + bin] += weight
}
