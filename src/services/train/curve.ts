// From a member's energy to its surprise −log p, as a rising line through points that a graph can follow.
import { quantile } from "./calibrate.ts"

/** Pieces of the line. */
export const PIECES = 64
/** Weight of the logarithm that keeps order beyond the calibration range. */
export const TAIL_WEIGHT = 0.05

/**
 * t(E) = Σ_i rises_i · clip((E − starts_i) / widths_i, 0, 1) + 0.05 · log(1 + max(0, (E − high) / spread)).
 * Each piece adds between 0 and its rise, so the line rises everywhere and no large numbers cancel.
 */
export interface Curve {
  /** `PIECES` each; pieces not needed rise by 0. */
  readonly starts: Float64Array
  readonly widths: Float64Array
  readonly rises: Float64Array
  /** 99 % quantile of the calibration energies, and how far it lies above the median. */
  readonly high: number
  readonly spread: number
}

/** Places among n ascending energies where the line bends: half evenly in rank, half evenly in log p. */
const places = (count: number): ReadonlyArray<number> => {
  const half = (PIECES - 2) / 2
  const even = Array.from({ length: half }, (_, at) => Math.floor((at * (count - 1)) / half))
  const tail = Array.from(
    { length: half + 1 },
    (_, at) => count - 1 - Math.round(count ** (1 - at / half) - 1)
  )
  return [...new Set([...even, ...tail])].sort((a, b) => a - b)
}

/**
 * Fits the line to energies of rows held back from fitting. At a bend t is −log((1 + #{energies ≥ E}) / (n + 1));
 * between bends it is straight, so that energies between two calibration rows are told apart as well. The last
 * piece leads from the highest energy to log(n + 1), where p cannot become smaller.
 */
export const fitCurve = (energies: ArrayLike<number>): Curve => {
  const ascending = Float64Array.from(energies).sort()
  const count = ascending.length
  const high = quantile(ascending, 0.99)
  const middle = quantile(ascending, 0.5)
  const top = ascending[count - 1]
  // Below this, single precision cannot tell two energies apart.
  const least = 1e-6 * Math.max(1e-3, Math.abs(ascending[0]), Math.abs(top))
  const spread = Math.max(high - middle, least)
  const bends: Array<{ readonly energy: number; readonly surprise: number }> = []
  for (const place of places(count)) {
    const energy = ascending[place]
    const before = bends.at(-1)
    if (before !== undefined && energy - before.energy < least) continue
    const atLeast = count - ascending.indexOf(energy)
    bends.push({ energy, surprise: -Math.log((1 + atLeast) / (count + 1)) })
  }
  const last = Math.max(top, bends[bends.length - 1].energy)
  const slope = (top - middle) / Math.log(count + 1)
  bends.push({ energy: last + Math.max(slope, least), surprise: Math.log(count + 1) })
  const starts = new Float64Array(PIECES)
  const widths = new Float64Array(PIECES).fill(1)
  const rises = new Float64Array(PIECES)
  for (let piece = 0; piece < bends.length - 1; piece++) {
    starts[piece] = bends[piece].energy
    widths[piece] = bends[piece + 1].energy - bends[piece].energy
    rises[piece] = bends[piece + 1].surprise - bends[piece].surprise
  }
  return { starts, widths, rises, high, spread }
}
