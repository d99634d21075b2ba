// Logarithms of the hot loop: a table and a short polynomial in place of a call out of the compiled code. Nothing but
// IEEE additions and products, so every machine gets the same bits.

/** Leading bits of the mantissa that choose a row of the table. */
const BITS = 7
const ROWS = 1 << BITS

const double = new Float64Array(1)
/** [1] holds sign, exponent and the upper mantissa: every platform that Node runs on is little-endian. */
const words = new Int32Array(double.buffer)

/** Reciprocal of the middle of each stretch of [1, 2), and the logarithm of that middle. */
const reciprocals = new Float64Array(ROWS)
const logarithms = new Float64Array(ROWS)
for (let row = 0; row < ROWS; row++) {
  reciprocals[row] = 1 / (1 + (row + 0.5) / ROWS)
  logarithms[row] = -Math.log(reciprocals[row])
}
/** 2^−e, and e · log 2. */
const scales = Float64Array.from({ length: 1_024 }, (_, e) => 2 ** -e)
const exponents = Float64Array.from({ length: 1_024 }, (_, e) => e * Math.LN2)

/**
 * log y for finite y ≥ 1; wrong by at most 4e-16 and 4e-16 of itself. y = 2^e · c · (1 + r), |r| ≤ 2^−8, c a middle:
 * the series' first term left out is below 2e-18.
 */
export const logFromOne = (y: number): number => {
  double[0] = y
  const high = words[1]
  const e = (high >> 20) - 1_023
  const row = (high >> (20 - BITS)) & (ROWS - 1)
  const r = y * scales[e] * reciprocals[row] - 1
  const square = r * r
  const series = r - square * (0.5 - r * (1 / 3) + square * (0.25 - r * 0.2 + square * (1 / 6)))
  return exponents[e] + (logarithms[row] + series)
}

/** log(1 + x) for x ≥ 0, wrong by at most 8e-15 of itself; below 1/16, where 1 + x loses digits, the built-in's. */
export const logOnePlus = (x: number): number => {
  if (x === 0) return 0
  return x >= 0.0625 && x < 1e300 ? logFromOne(1 + x) : Math.log1p(x)
}
