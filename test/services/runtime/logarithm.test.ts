// The table's logarithms against the built-in ones, over the whole range and at its seams.
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { logFromOne, logOnePlus } from "../../../src/services/runtime/logarithm.ts"

/** Doubles ≥ 1 by exponent and mantissa, so that every scale is met equally often. */
const fromOne = fc
  .tuple(fc.integer({ min: 0, max: 1_000 }), fc.double({ min: 1, max: 2, maxExcluded: true, noNaN: true }))
  .map(([exponent, mantissa]) => mantissa * 2 ** exponent)

describe("the logarithm from 1 on", () => {
  it("is wrong by at most 4e-16 and 4e-16 of itself", () => {
    fc.assert(
      fc.property(fromOne, (y) => {
        const exact = Math.log(y)
        expect(Math.abs(logFromOne(y) - exact)).toBeLessThanOrEqual(4e-16 + 4e-16 * exact)
      }),
      { seed: 2_101, numRuns: 20_000 }
    )
  })

  it("holds beside every seam of the table", () => {
    for (let row = 0; row <= 128; row++) {
      for (const step of [-Number.EPSILON, 0, Number.EPSILON]) {
        const y = (1 + row / 128) * (1 + step)
        if (y < 1) continue
        expect(Math.abs(logFromOne(y) - Math.log(y))).toBeLessThanOrEqual(5e-16)
      }
    }
  })
})

describe("the logarithm of one more", () => {
  it("is exactly 0 for 0", () => {
    expect(Object.is(logOnePlus(0), 0)).toBe(true)
  })

  it("is wrong by at most 8e-15 of itself for any number, however small or large", () => {
    const number = fc
      .tuple(fc.integer({ min: -1_000, max: 1_000 }), fc.double({ min: 1, max: 2, noNaN: true }))
      .map(([exponent, mantissa]) => mantissa * 2 ** exponent)
    fc.assert(
      fc.property(number, (x) => {
        const exact = Math.log1p(x)
        expect(Math.abs(logOnePlus(x) - exact)).toBeLessThanOrEqual(8e-15 * exact)
      }),
      { seed: 2_102, numRuns: 20_000 }
    )
  })

  it("of the largest numbers and of infinity is the built-in's", () => {
    for (const x of [1e300, Number.MAX_VALUE, Number.POSITIVE_INFINITY])
      expect(logOnePlus(x)).toBe(Math.log1p(x))
  })
})
