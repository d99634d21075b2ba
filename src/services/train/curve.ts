// From a member's energy to its surprise −log p, as a rising line through points that a graph can follow, and a tail.
import { fitExcesses, TAIL_SHARE } from "./calibrate.ts"
import { LANES } from "./encoder.ts"

/** Pieces of the line. */
export const PIECES = 64
/**
 * A member's tail is taken to be at least this heavy. Sixty excesses tell a shape to ±0.15 at best, and a thinner
 * tail would let the one member whose energy reaches farthest decide alone.
 */
const SHAPE_MIN = 0.25

/**
 * t(E) = Σ_i rises_i · clip((E − starts_i) / widths_i, 0, 1) + log(1 + shape · max(0, E − from) / scale) / shape.
 * Each piece adds between 0 and its rise, so the line rises everywhere and no large numbers cancel.
 */
export interface Curve {
  /** As many each, a multiple of `LANES`; pieces not needed rise by 0. */
  readonly starts: Float64Array
  readonly widths: Float64Array
  readonly rises: Float64Array
  /** The generalised Pareto tail that follows the line. */
  readonly from: number
  readonly scale: number
  readonly shape: number
}

/** Places among the lowest `last` + 1 of n energies where the line bends: half evenly in rank, half in log p. */
const places = (count: number, last: number): ReadonlyArray<number> => {
  const half = (PIECES - 2) / 2
  const even = Array.from({ length: half }, (_, at) => Math.floor((at * last) / half))
  const fewest = count - last
  const tail = Array.from(
    { length: half + 1 },
    (_, at) => count - Math.round(count * (fewest / count) ** (at / half))
  )
  return [...new Set([...even, ...tail])].sort((a, b) => a - b)
}

/**
 * Fits line and tail to energies of rows held back from fitting. At a bend t is −log((1 + #{energies ≥ E}) /
 * (n + 1)); between bends it is straight, so that energies between two calibration rows are told apart as well.
 * Where few energies are left to count, the tail goes on as they thin out: with a hundred rows or with thousands,
 * a row twice as far out is more surprising.
 */
export const fitCurve = (energies: ArrayLike<number>): Curve => {
  const ascending = Float64Array.from(energies).sort()
  const count = ascending.length
  const excesses = fitExcesses(ascending)
  const least = 1e-6 * Math.max(1e-3, Math.abs(ascending[0]), Math.abs(ascending[count - 1]))
  const surprise = (atLeast: number) => -Math.log((1 + atLeast) / (count + 1))
  const bends: Array<{ readonly energy: number; readonly surprise: number }> = []
  for (const place of places(count, count - 1 - excesses.count)) {
    const energy = ascending[place]
    const before = bends.at(-1)
    if (before !== undefined && energy - before.energy < least) continue
    bends.push({ energy, surprise: surprise(count - ascending.indexOf(energy)) })
  }
  const last = bends[bends.length - 1]
  // Where many energies equal the last, what lies above them is rarer at once.
  const above = surprise(ascending.filter((energy) => energy > last.energy).length)
  const from = last.energy + Math.max(least, excesses.scale * (above - last.surprise))
  bends.push({ energy: from, surprise: above })
  const starts = new Float64Array(PIECES)
  const widths = new Float64Array(PIECES).fill(1)
  const rises = new Float64Array(PIECES)
  for (let piece = 0; piece < bends.length - 1; piece++) {
    starts[piece] = bends[piece].energy
    widths[piece] = bends[piece + 1].energy - bends[piece].energy
    rises[piece] = bends[piece + 1].surprise - bends[piece].surprise
  }
  return { starts, widths, rises, from, scale: excesses.scale, shape: Math.max(SHAPE_MIN, excesses.shape) }
}

/**
 * Of an energy that is −log p itself: t(E) = E up to the nats that 2 % of rows exceed, from there on as heavy a tail
 * as any member's at least is.
 */
export const nativeCurve = (): Curve => {
  const from = -Math.log(TAIL_SHARE)
  const first = (value: number, others: number) => new Float64Array(LANES).fill(others).fill(value, 0, 1)
  return {
    starts: first(0, 0),
    widths: first(from, 1),
    rises: first(from, 0),
    from,
    scale: 1,
    shape: SHAPE_MIN
  }
}

/** t(E) in double precision. */
export const surpriseAt = ({ starts, widths, rises, from, scale, shape }: Curve, energy: number): number => {
  let sum = Math.log1p((shape * Math.max(0, energy - from)) / scale) / shape
  for (let piece = 0; piece < starts.length; piece++) {
    sum += rises[piece] * Math.min(1, Math.max(0, (energy - starts[piece]) / widths[piece]))
  }
  return sum
}
