// Repeatable randomness: one seed, one sequence, on every machine.

/** A sequence of pseudo-random numbers; each call moves it on by one or more steps. */
export interface Random {
  /** In [0, 1), 32 bits of resolution. */
  readonly uniform: () => number
  /** In 0 … bound − 1; bound from 1 to 2^32. */
  readonly integer: (bound: number) => number
  /** In [low, high). */
  readonly between: (low: number, high: number) => number
  /** Standard normal, clipped to ±4. */
  readonly normal: () => number
  /** Exponential with mean 1: the wait for the next of independent happenings. */
  readonly exponential: () => number
}

/** Where `normal` is cut, in standard deviations: no draw lies further out, so none is an outlier by accident. */
export const NORMAL_MAX = 4

/**
 * xoshiro128** (Blackman and Vigna 2018), its state filled from the seed by splitmix32; normals by the polar
 * method (Marsaglia 1964). Only 32-bit integer steps, divisions, log and sqrt: the integer sequence has the
 * same bits everywhere.
 * @param seed any number; its integer part modulo 2^32 counts
 * @param stream tells sequences of one seed apart
 */
export const makeRandom = (seed: number, stream = 0): Random => {
  let mix = (Math.imul(Math.trunc(seed) | 0, 0x9e3779b1) ^ Math.imul(stream + 1, 0x85ebca6b)) | 0
  const fill = (): number => {
    mix = (mix + 0x9e3779b9) | 0
    let z = mix
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return z ^ (z >>> 15)
  }
  let a = fill()
  let b = fill()
  let c = fill()
  let d = fill() | 1
  let spare = Number.NaN

  const step = (): number => {
    const x = Math.imul(b, 5)
    const result = Math.imul((x << 7) | (x >>> 25), 9)
    const t = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= t
    d = (d << 11) | (d >>> 21)
    return result >>> 0
  }
  const uniform = (): number => step() / 4_294_967_296
  const clip = (x: number): number => Math.max(-NORMAL_MAX, Math.min(NORMAL_MAX, x))

  return {
    uniform,
    integer: (bound) => Math.floor(uniform() * bound),
    between: (low, high) => low + (high - low) * uniform(),
    normal: () => {
      if (!Number.isNaN(spare)) {
        const kept = spare
        spare = Number.NaN
        return kept
      }
      let u = 0
      let v = 0
      let s = 0
      do {
        u = 2 * uniform() - 1
        v = 2 * uniform() - 1
        s = u * u + v * v
      } while (s >= 1 || s === 0)
      const factor = Math.sqrt((-2 * Math.log(s)) / s)
      spare = clip(v * factor)
      return clip(u * factor)
    },
    exponential: () => -Math.log(1 - uniform())
  }
}
