// What the energies of rows held back from fitting say of a new one: p-values, the tail beyond them, a score.
import type { Calibration } from "../../schema/model/Manifest.ts"

/** Share of normal energies beyond `tailFrom`. */
export const TAIL_SHARE = 0.02
/** Fewer excesses than this cannot tell a heavy tail from chance: the tail is then exponential. */
const SHAPE_EXCESSES_MIN = 20
/** Share of the excesses that count as the highest of the others. */
const WINSORISED = 0.05
/** A heavier tail than this has no variance, and no sample of this size shows one. */
const SHAPE_MAX = 0.5

/** Value at a share of an ascending array, between its neighbours in proportion. */
export const quantile = (ascending: ArrayLike<number>, share: number): number => {
  const at = share * (ascending.length - 1)
  const below = Math.floor(at)
  const above = Math.min(below + 1, ascending.length - 1)
  return ascending[below] + (at - below) * (ascending[above] - ascending[below])
}

/**
 * Fits the tail by probability-weighted moments (Hosking and Wallis 1987). `energies` need no order and are
 * not kept. The shape is at least 0, so that no energy, however high, gets a p-value of 0. With fewer than 50
 * energies the tail starts above the largest, where an exponential reaches `TAIL_SHARE`.
 */
export const fitTail = (energies: Float64Array): Calibration => {
  const ascending = Float64Array.from(energies).sort()
  const count = ascending.length
  const spread = Math.max(quantile(ascending, 0.98) - quantile(ascending, 0.5), 1e-6)
  const top = ascending[count - 1]
  if (1 / (count + 1) > TAIL_SHARE) {
    // From the median on, an exponential falls by half every (median → 98 %) / log2(25).
    const scale = spread / Math.log(25)
    const tailFrom = top + scale * Math.log(1 / (count + 1) / TAIL_SHARE)
    return { energies: [...ascending], tailFrom, tailScale: scale, tailShape: 0 }
  }
  const from = Math.min(count - 1, Math.ceil((1 - TAIL_SHARE) * count))
  const tailFrom = ascending[from - 1]
  // Held-back rows may hold anomalies: the highest few count as the highest of the rest (winsorised), or a
  // single one would set the tail, and with it the threshold of every small budget.
  const trusted = ascending[count - 1 - Math.ceil((count - from) * WINSORISED)]
  const excesses = ascending.subarray(from).map((energy) => Math.min(energy, trusted) - tailFrom)
  const mean = excesses.reduce((sum, excess) => sum + excess, 0) / excesses.length
  if (!(mean > 1e-9))
    return { energies: [...ascending], tailFrom, tailScale: spread / Math.log(25), tailShape: 0 }
  let weighted = 0
  for (let at = 0; at < excesses.length; at++) {
    weighted += ((excesses.length - at - 0.65) / excesses.length) * excesses[at]
  }
  weighted /= excesses.length
  const fitted = excesses.length < SHAPE_EXCESSES_MIN ? 0 : 2 - mean / (mean - 2 * weighted)
  const tailShape = Math.max(0, Math.min(SHAPE_MAX, Number.isFinite(fitted) ? fitted : SHAPE_MAX))
  return { energies: [...ascending], tailFrom, tailScale: mean * (1 - tailShape), tailShape }
}

/** How many of the ascending energies are at least this high. */
const atLeast = (ascending: ReadonlyArray<number>, energy: number): number => {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (ascending[middle] < energy) low = middle + 1
    else high = middle
  }
  return ascending.length - low
}

/** −ln p of an energy; finite for every finite energy, also where p itself would underflow. */
export const surprise = (calibration: Calibration, energy: number): number => {
  const { energies, tailFrom, tailScale, tailShape } = calibration
  const empirical = (at: number) => (1 + atLeast(energies, at)) / (energies.length + 1)
  if (energy <= tailFrom) return -Math.log(empirical(energy))
  const excess = (energy - tailFrom) / tailScale
  const beyond = tailShape === 0 ? excess : Math.log1p(tailShape * excess) / tailShape
  return Math.max(-Math.log(empirical(tailFrom)), -Math.log(TAIL_SHARE) + beyond)
}

/** Conformal p-value: (1 + calibration energies ≥ this one) / (n + 1), beyond `tailFrom` the fitted tail. */
export const pvalueOf = (calibration: Calibration, energy: number): number =>
  Math.max(Number.MIN_VALUE, Math.exp(-surprise(calibration, energy)))

/**
 * A table row's score: −log10 p, plus a logarithm that keeps order beyond the calibration range, plus a sliver
 * of the energy that breaks the ties between rows of one p-value. It rises strictly with the energy.
 */
export const makeScore = (calibration: Calibration): ((energy: number) => number) => {
  const median = quantile(calibration.energies, 0.5)
  const high = quantile(calibration.energies, 0.99)
  const spread = Math.max(high - median, 1e-6)
  return (energy) =>
    surprise(calibration, energy) / Math.LN10 +
    0.05 * Math.log10(1 + Math.max(0, (energy - high) / spread)) +
    1e-4 * Math.asinh(energy - median)
}
