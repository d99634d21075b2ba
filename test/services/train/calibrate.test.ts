import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { fitTail, makeScore, pvalueOf, quantile } from "../../../src/services/train/calibrate.ts"
import { makeRandom } from "../../../src/services/train/random.ts"

const normals = (count: number, seed: number) => {
  const random = makeRandom(seed)
  return Float64Array.from({ length: count }, () => random.normal())
}

describe("calibration", () => {
  it("gives a normal row a p-value that is uniform", () => {
    const calibration = fitTail(normals(3_000, 1))
    const fresh = normals(50_000, 2)
    for (const share of [0.5, 0.1, 0.02, 0.005, 0.001]) {
      const below = fresh.filter((energy) => pvalueOf(calibration, energy) <= share).length / fresh.length
      // Counting 3,000 energies, the share beyond the k-th highest has a deviation of √k/k of itself.
      const tolerance = 3 / Math.sqrt(share * 3_001)
      expect(Math.abs(below / share - 1), `share ${share}: ${below}`).toBeLessThan(tolerance)
    }
  })

  it("finds the shape of a heavy tail and none in an exponential one", () => {
    const random = makeRandom(9)
    const pareto = fitTail(Float64Array.from({ length: 20_000 }, () => (1 - random.uniform()) ** -0.3))
    expect(pareto.tailShape).toBeGreaterThan(0.15)
    expect(pareto.tailShape).toBeLessThan(0.45)
    const exponential = fitTail(Float64Array.from({ length: 20_000 }, () => -Math.log(1 - random.uniform())))
    expect(exponential.tailShape).toBeLessThan(0.12)
    expect(Math.abs(exponential.tailScale - 1)).toBeLessThan(0.2)
  })

  it("never gives a p-value of 0, above 1, or one that grows with the energy", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 400 }),
        fc.array(fc.double({ min: -1e9, max: 1e9, noNaN: true }), { minLength: 2, maxLength: 20 }),
        (energies, asked) => {
          const calibration = fitTail(Float64Array.from(energies))
          const score = makeScore(calibration)
          const ascending = asked.sort((a, b) => a - b)
          const pvalues = ascending.map((energy) => pvalueOf(calibration, energy))
          for (let at = 0; at < pvalues.length; at++) {
            expect(pvalues[at]).toBeGreaterThan(0)
            expect(pvalues[at]).toBeLessThanOrEqual(1)
            expect(Number.isFinite(score(ascending[at]))).toBe(true)
            if (at === 0) continue
            expect(pvalues[at]).toBeLessThanOrEqual(pvalues[at - 1])
            expect(score(ascending[at])).toBeGreaterThanOrEqual(score(ascending[at - 1]))
          }
        }
      ),
      { seed: 12 }
    )
  })

  it("does not claim more than a small sample can tell", () => {
    const calibration = fitTail(Float64Array.from({ length: 20 }, (_, at) => at))
    expect(pvalueOf(calibration, 19)).toBeCloseTo(2 / 21, 12)
    expect(pvalueOf(calibration, 19.001)).toBeCloseTo(1 / 21, 4)
    expect(pvalueOf(calibration, 30)).toBeGreaterThan(0.005)
    expect(pvalueOf(calibration, 1e6)).toBeGreaterThan(0)
  })

  it("ranks rows of one p-value by their energy, also far beyond the calibration", () => {
    const score = makeScore(fitTail(normals(3_000, 3)))
    for (const energy of [-50, -1, 0.1234, 3, 80, 2e5])
      expect(score(energy + 0.01 * Math.abs(energy))).toBeGreaterThan(score(energy))
  })

  it("takes quantiles between neighbours", () => {
    expect(quantile([0, 10, 20], 0.25)).toBe(5)
    expect(quantile([3], 0.98)).toBe(3)
  })
})
