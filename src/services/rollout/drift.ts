// Are counts of bins like the reference's? PSI and Kolmogorov-Smirnov distance, and what chance alone makes of them
// where rows are no independent draws.
import {
  DRIFT_BINS,
  type DriftReport,
  type DriftState,
  MISSING_BIN,
  PSI_ACT,
  PSI_WATCH
} from "../../schema/model/Drift.ts"

/** Probability that looks at data like the reference find anything, all looks of a window and quantities together. */
export const FALSE_ALARMS = 0.01
/** Stretches with rows that a look needs: fewer say too little of chance. */
export const BLOCKS_MIN = 4
/** A bin counts as having at least this share: an empty one would make any PSI. */
const SHARE_MIN = 0.005
const FEATURES_MAX = 8
/** Of the Kolmogorov-Smirnov distance: 1 % level (Smirnov 1948). */
const KS_LEVEL = 1.63

/** Counts of one look. Quantity 0 is the energy, then the features; DRIFT_BINS bins each. */
export interface DriftSample {
  /** Stretches of time or of a file, one after the other; weight of each bin. */
  readonly blocks: ReadonlyArray<Float32Array>
  /** The same rows by group of devices; empty where there are no devices. */
  readonly groups: ReadonlyArray<Float32Array>
  /** Rows counted, whatever they weigh. */
  readonly rows: number
}

/** One quantity of the reference: shares of the bins, and the number of rows that they are of. */
export interface BinShares {
  readonly name: string
  readonly shares: ReadonlyArray<number>
  readonly rows: number
}

/** P(|t| > x) of Student's t with this many degrees of freedom (Abramowitz and Stegun 26.7.3 and 26.7.4). */
const beyond = (x: number, freedom: number): number => {
  const angle = Math.atan(x / Math.sqrt(freedom))
  const cosine = Math.cos(angle)
  const odd = freedom % 2 === 1
  let term = 1
  let sum = 1
  for (let k = odd ? 3 : 2; k <= freedom - 2; k += 2) {
    term *= ((k - 1) / k) * cosine * cosine
    sum += term
  }
  if (!odd) return 1 - Math.sin(angle) * sum
  return 1 - (2 / Math.PI) * (angle + (freedom === 1 ? 0 : Math.sin(angle) * cosine * sum))
}

/** x with P(|t| > x) = share. */
export const studentQuantile = (share: number, freedom: number): number => {
  let low = 0
  let high = 1
  while (beyond(high, freedom) > share && high < 1e9) high *= 2
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2
    if (beyond(middle, freedom) > share) low = middle
    else high = middle
  }
  return high
}

const totalOf = (counts: Float32Array, at: number): number => {
  let sum = 0
  for (let bin = 0; bin < DRIFT_BINS; bin++) sum += counts[at + bin]
  return sum
}

const psiOf = (shares: ArrayLike<number>, reference: ArrayLike<number>): number => {
  let psi = 0
  for (let bin = 0; bin < DRIFT_BINS; bin++) {
    const now = Math.max(SHARE_MIN, shares[bin])
    const then = Math.max(SHARE_MIN, reference[bin] ?? 0)
    psi += (now - then) * Math.log(now / then)
  }
  return psi
}

/** Shares of a quantity's bins over all parts but one; −1 leaves none out. */
const sharesOf = (parts: ReadonlyArray<Float32Array>, quantity: number, without: number): Float64Array => {
  const at = quantity * DRIFT_BINS
  const shares = new Float64Array(DRIFT_BINS)
  let total = 0
  parts.forEach((part, index) => {
    if (index === without) return
    for (let bin = 0; bin < DRIFT_BINS; bin++) {
      shares[bin] += part[at + bin]
      total += part[at + bin]
    }
  })
  if (total > 0) for (let bin = 0; bin < DRIFT_BINS; bin++) shares[bin] /= total
  return shares
}

/** By bin: the variance of its share of all rows, as the stretches' own shares tell it. */
const variancesOf = (blocks: ReadonlyArray<Float32Array>, quantity: number, shares: Float64Array) => {
  const at = quantity * DRIFT_BINS
  const sizes = blocks.map((block) => totalOf(block, at))
  const whole = sizes.reduce((sum, size) => sum + size, 0)
  const found = new Float64Array(DRIFT_BINS)
  blocks.forEach((block, index) => {
    for (let bin = 0; bin < DRIFT_BINS; bin++) {
      const off = (block[at + bin] - sizes[index] * shares[bin]) / whole
      found[bin] += (off * off * blocks.length) / (blocks.length - 1)
    }
  })
  return found
}

const stateOf = (psi: number, bound: number): DriftState =>
  psi < Math.max(PSI_WATCH, bound) ? "stable" : psi < Math.max(PSI_ACT, bound) ? "watch" : "drifted"

const severity: Readonly<Record<DriftState, number>> = { unknown: 0, stable: 1, watch: 2, drifted: 3 }

/** The worse of two states. */
export const worseOf = (a: DriftState, b: DriftState): DriftState => (severity[a] >= severity[b] ? a : b)

/** The answer where too little was seen. */
export const unknownDrift: DriftReport = {
  state: "unknown",
  from: null,
  to: null,
  rows: 0,
  blocks: 0,
  energy: { state: "unknown", psi: 0, bound: 0, ks: 0, ksLevel: 0 },
  features: [],
  week: null,
  weekBefore: null
}

/**
 * Judges a sample against the reference, the energy's shares first. `looks`: how often one window of data is judged.
 *
 * A quantity has moved where its PSI reaches 0.1 (watched) or 0.25 (drifted) and lies above what chance makes. For
 * small differences PSI is Σ (r − q)² / q, a sum of squares with mean zero below them where nothing has moved, and its
 * expectation V is the sum of the bins' variances over q. Rows of a stream depend on each other, so V is not bins over
 * rows: it is taken from how much the stretches differ (batch means), which holds for any dependence that is shorter
 * than a stretch. Of all such sums of one expectation, the one in which all bins move together, a single square, has
 * the heaviest tail: so the bound is V t², t the two-sided quantile of Student's t with one degree of freedom fewer than
 * there are stretches. The reference is a sample, too; its rows are taken to depend on each other as these do. The
 * false alarms allowed are shared out evenly among looks and quantities (Bonferroni).
 *
 * Where rows come by groups of devices, the least PSI that is left when any one group is taken out counts: what one
 * device does is an incident, what all do is a drift.
 */
export const judgeDrift = (
  sample: DriftSample,
  reference: ReadonlyArray<BinShares>,
  looks = 1
): DriftReport => {
  const blocks = sample.blocks.filter((block) => totalOf(block, 0) > 0)
  const { rows } = sample
  if (blocks.length < BLOCKS_MIN) return { ...unknownDrift, rows, blocks: blocks.length }
  const critical = studentQuantile(FALSE_ALARMS / (looks * reference.length), blocks.length - 1) ** 2
  const groups = sample.groups.filter((group) => totalOf(group, 0) > 0)
  const judged = reference.map((known, quantity) => {
    const now = sharesOf(blocks, quantity, -1)
    const spread = variancesOf(blocks, quantity, now)
    const both = 1 + rows / Math.max(1, known.rows)
    let expected = 0
    let variance = 0
    let independent = 0
    for (let bin = 0; bin < DRIFT_BINS; bin++) {
      expected += (spread[bin] * both) / Math.max(SHARE_MIN, known.shares[bin] ?? 0)
      variance += spread[bin]
      independent += now[bin] * (1 - now[bin])
    }
    let psi = psiOf(now, known.shares)
    if (groups.length > 1) {
      for (let without = 0; without < groups.length; without++) {
        psi = Math.min(psi, psiOf(sharesOf(groups, quantity, without), known.shares))
      }
    }
    const bound = critical * expected
    // So many independent rows would vary as much.
    const worth = variance > 0 ? Math.min(rows, independent / variance) : rows
    return { feature: known.name, state: stateOf(psi, bound), psi, bound, now, worth, both }
  })
  const [energy, ...features] = judged
  let ks = 0
  let ahead = 0
  for (let bin = 0; bin < MISSING_BIN; bin++) {
    ahead += energy.now[bin] - (reference[0].shares[bin] ?? 0)
    ks = Math.max(ks, Math.abs(ahead))
  }
  return {
    ...unknownDrift,
    state: judged.reduce<DriftState>((state, one) => worseOf(state, one.state), "stable"),
    rows,
    blocks: blocks.length,
    energy: {
      state: energy.state,
      psi: energy.psi,
      bound: energy.bound,
      ks,
      ksLevel: KS_LEVEL * Math.sqrt(energy.both / Math.max(1, energy.worth))
    },
    features: features
      .sort((a, b) => b.psi - a.psi)
      .slice(0, FEATURES_MAX)
      .map(({ feature, state, psi, bound }) => ({ feature, state, psi, bound }))
  }
}
