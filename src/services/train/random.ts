// A seeded generator (xoshiro128**, Blackman and Vigna 2018): the same seed draws the same numbers everywhere.

export interface Random {
  /** Uniform in [0, 1), 32 bits. */
  readonly uniform: () => number
  /** Uniform integer in [0, below). */
  readonly below: (below: number) => number
  /** Standard normal (Box and Muller 1958). */
  readonly normal: () => number
}

/** `stream` names an independent sequence of the same seed, so that one step's draws never move another's. */
export const makeRandom = (seed: number, stream = 0): Random => {
  // SplitMix32 spreads the seed over the state; all-zero states cannot come of it.
  let mixed = (Math.imul(seed | 0, 0x9e3779b1) ^ Math.imul(stream + 1, 0x85ebca6b)) >>> 0
  const word = () => {
    mixed = (mixed + 0x9e3779b9) >>> 0
    let z = mixed
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }
  let a = word()
  let b = word()
  let c = word()
  let d = word() | 1
  const next = () => {
    const product = Math.imul(b, 5)
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0
    const shifted = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    d = (d << 11) | (d >>> 21)
    return result
  }
  const uniform = () => next() / 4294967296
  return {
    uniform,
    below: (below) => Math.floor(uniform() * below),
    normal: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform())
  }
}

/** 0 … count − 1 in random order (Fisher and Yates). */
export const permutation = (count: number, random: Random): Int32Array => {
  const order = Int32Array.from({ length: count }, (_, at) => at)
  for (let at = count - 1; at > 0; at--) {
    const other = random.below(at + 1)
    const kept = order[at]
    order[at] = order[other]
    order[other] = kept
  }
  return order
}
