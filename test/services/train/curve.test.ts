import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { fitCurve, surpriseAt } from "../../../src/services/train/curve.ts"
import { makeRandom } from "../../../src/services/train/random.ts"

const normals = (count: number, seed: number) => {
  const random = makeRandom(seed)
  return Float64Array.from({ length: count }, () => random.normal() ** 3)
}

describe("the surprise of an energy", () => {
  it("is −log of the conformal p-value at calibration energies where it bends, and near it up to the tail", () => {
    const energies = normals(3_000, 2).sort()
    const curve = fitCurve(energies)
    let bends = 0
    energies.forEach((energy, place) => {
      if (energy > curve.from) return
      const exact = -Math.log((1 + energies.length - place) / (energies.length + 1))
      expect(Math.abs(surpriseAt(curve, energy) - exact)).toBeLessThan(0.12)
      if (curve.starts.includes(energy)) {
        bends++
        expect(surpriseAt(curve, energy)).toBeCloseTo(exact, 6)
      }
    })
    expect(bends).toBeGreaterThan(50)
  })

  it("goes on beyond the 98 % quantile as the energies thin out", () => {
    const random = makeRandom(6)
    // Pareto of index 2: −log p = 2 log E.
    const curve = fitCurve(Float64Array.from({ length: 3_000 }, () => (1 - random.uniform()) ** -0.5))
    for (const energy of [10, 20, 60, 200, 1_000]) {
      const exact = 2 * Math.log(energy)
      expect(Math.abs(surpriseAt(curve, energy) - exact)).toBeLessThan(0.4 * exact)
    }
  })

  it("tells far energies apart with a hundred calibration rows as with thousands", () => {
    for (const count of [30, 120, 3_000]) {
      const curve = fitCurve(normals(count, 5))
      const far = [50, 100, 200, 400, 800].map((energy) => surpriseAt(curve, energy))
      far.slice(1).forEach((surprise, at) => {
        expect(surprise - far[at], `${count} rows`).toBeGreaterThan(0.5)
      })
    }
  })

  it("rises with the energy, from 0 on, without end, whatever the calibration energies are", () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 200 }),
        fc.array(fc.float({ min: -1e7, max: 1e7, noNaN: true }), { minLength: 2, maxLength: 20 }),
        (calibration, asked) => {
          const curve = fitCurve(calibration)
          const surprises = asked.toSorted((a, b) => a - b).map((energy) => surpriseAt(curve, energy))
          surprises.forEach((surprise, place) => {
            expect(surprise).toBeGreaterThanOrEqual(place === 0 ? 0 : surprises[place - 1])
          })
          const top = Math.max(...calibration) + 1e7
          expect(surpriseAt(curve, 10 * top)).toBeGreaterThan(surpriseAt(curve, top))
          expect(Number.isFinite(surpriseAt(curve, 3.4e38))).toBe(true)
        }
      ),
      { seed: 3 }
    )
  })

  it("claims no more than log(n + 1) where all energies are equal, besides its tail", () => {
    const curve = fitCurve(new Float64Array(19).fill(4))
    expect(surpriseAt(curve, 4)).toBeCloseTo(0, 9)
    expect(curve.rises.reduce((sum, rise) => sum + rise)).toBeCloseTo(Math.log(20), 9)
    expect(surpriseAt(curve, 5)).toBeGreaterThan(Math.log(20))
  })
})
