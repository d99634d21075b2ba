// Small steps of values stored in 32 bits: rounded up or down in turn, so that on average nothing is lost.

const float = new Float32Array(1)
const bits = new Uint32Array(float.buffer)

/** Distance between a value and its neighbour in 32 bits. */
const spacing = (value: number): number => {
  float[0] = value
  bits[0] &= 0x7f80_0000
  return float[0] * 1.1920928955078125e-7
}

/** Even in [−0.5, 0.5) over consecutive `n`: the golden-ratio sequence (Weyl). No randomness is needed. */
const even = (n: number): number => {
  const product = n * 0.618_033_988_749_894_9
  return product - Math.floor(product) - 0.5
}

/**
 * A value rounded to 32 bits, up or down in turn. A step far below the spacing of 32-bit numbers would be lost
 * every time (a pressure of 101 325 with a half-life of a day at ten events a second never moved); this way it
 * is made in full every so often. `n` counts the device's events.
 */
export const roundInTurn = (value: number, n: number): number => Math.fround(value + spacing(value) * even(n))
