// What the energies of rows held back from fitting say of a new one: p-values, the tail beyond them, a score.
import type { Calibration } from "../../schema/model/Manifest.ts"

/** Share of normal energies beyond the tail's start. */
export const TAIL_SHARE = 0.02
/** A tail is fitted to this many energies where the share has fewer. */
const EXCESSES_MIN = 10
/** Fewer excesses than this cannot tell a heavy tail from chance. */
const SHAPE_EXCESSES_MIN = 20
/** Share of the excesses that count as the highest of the others. */
const WINSORISED = 0.05
/** A heavier tail than this has no variance, and no sample of this size shows one. */
const SHAPE_MAX = 0.5
/** A tail this many times thinner than the bulk would have it is a knot of equal energies. */
const THINNEST = 0.1
/** Of this many calibration energies the highest one may be an anomaly's; the tail takes its place. */
const TRUSTED_PER_ANOMALY = 1_000

/** Value at a share of an ascending array, between its neighbours in proportion. */
export const quantile = (ascending: ArrayLike<number>, share: number): number => {
  const at = share * (ascending.length - 1)
  const below = Math.floor(at)
  const above = Math.min(below + 1, ascending.length - 1)
  return ascending[below] + (at - below) * (ascending[above] - ascending[below])
}

/** How fast the highest energies of a sample thin out: beyond `from` as (1 + shape · y / scale)^(−1/shape). */
export interface Excesses {
  /** How many energies the fit is of; `from` is the highest below them. */
  readonly count: number
  readonly from: number
  readonly scale: number
  /** Above 0. */
  readonly shape: number
}

/**
 * Fits the highest 2 % of ascending energies, at least ten, at most half of them. The scale is that of an
 * exponential of which the highest few are known to be high, not how high: held-back rows may hold anomalies, and
 * a single one would set the tail. What k draws say of a further one is no exponential but a Pareto tail of shape
 * 1/k (its scale is only estimated); where probability-weighted moments (Hosking and Wallis 1987) find a
 * heavier one, that.
 */
export const fitExcesses = (ascending: Float64Array): Excesses => {
  const size = ascending.length
  const count = Math.min(size >> 1, Math.max(EXCESSES_MIN, Math.ceil(TAIL_SHARE * size)))
  const from = ascending[size - 1 - count]
  // Below this, single precision cannot tell two energies apart.
  const least = 1e-6 * Math.max(1e-3, Math.abs(ascending[0]), Math.abs(ascending[size - 1]))
  const bulk = (from - quantile(ascending, 0.5)) / Math.log(size / 2 / Math.max(1, count))
  const thinnest = Math.max(least, Number.isFinite(bulk) ? THINNEST * bulk : 0)
  if (count === 0) return { count, from, scale: thinnest, shape: SHAPE_MAX }
  const distrusted = count === 1 ? 0 : Math.ceil(count * WINSORISED)
  const trusted = ascending[size - 1 - distrusted]
  const excesses = ascending.subarray(size - count).map((energy) => Math.min(energy, trusted) - from)
  const sum = excesses.reduce((total, excess) => total + excess, 0)
  const mean = sum / count
  let weighted = 0
  for (let at = 0; at < count; at++) weighted += ((count - at - 0.65) / count) * (excesses[at] / count)
  const moments = 2 - mean / (mean - 2 * weighted)
  const fitted = count < SHAPE_EXCESSES_MIN || !(mean > least) ? 0 : moments
  const heavy = Math.max(0, Math.min(SHAPE_MAX, Number.isFinite(fitted) ? fitted : SHAPE_MAX))
  const scale = Math.max(thinnest, (sum / (count - distrusted)) * (1 - heavy))
  return { count, from, scale, shape: Math.min(SHAPE_MAX, Math.max(heavy, 1 / (count - distrusted))) }
}

/** Calibration by these energies, in any order. The tail starts at their 98 % quantile, or at the highest of few. */
export const fitTail = (energies: Float64Array): Calibration => {
  const ascending = Float64Array.from(energies).sort()
  const { count, from, scale, shape } = fitExcesses(ascending)
  const top = ascending[ascending.length - 1]
  const few = count > Math.ceil(TAIL_SHARE * ascending.length)
  // Excesses over a higher start keep the shape; their scale grows with it.
  return {
    energies: [...ascending],
    tailFrom: few ? top : from,
    tailScale: few ? scale + shape * (top - from) : scale,
    tailShape: shape
  }
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

/**
 * −ln p of an energy; finite for every finite energy, also where p itself would underflow. Counted up to the
 * highest energy but the distrusted ones, so that it holds for any energies that are exchangeable; from there on
 * the tail thins out what was counted.
 */
export const surprise = (calibration: Calibration, energy: number): number => {
  const { energies, tailFrom, tailScale, tailShape } = calibration
  const count = energies.length
  const distrusted = Math.floor(count / TRUSTED_PER_ANOMALY)
  const from = Math.max(tailFrom, energies[count - 1 - distrusted])
  if (energy <= from) return -Math.log((1 + atLeast(energies, energy)) / (count + 1))
  let above = distrusted
  while (above > 0 && energies[count - above] <= from) above--
  const nats = (excess: number) => (tailShape === 0 ? excess : Math.log1p(tailShape * excess) / tailShape)
  const counted = -Math.log((1 + above) / (count + 1))
  const near = counted + nats((energy - from) / (tailScale + tailShape * (from - tailFrom)))
  if (!(from > tailFrom)) return near
  // The few highest are a matter of chance; the tail from the 98 % quantile rests on all excesses. The larger share holds.
  const far = -Math.log(TAIL_SHARE) + nats((energy - tailFrom) / tailScale)
  return Math.min(near, Math.max(far, counted))
}

/** Conformal p-value: (1 + calibration energies ≥ this one) / (n + 1), beyond the trusted ones the fitted tail. */
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
