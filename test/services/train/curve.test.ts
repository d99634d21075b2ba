import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { type Curve, fitCurve, PIECES } from "../../../src/services/train/curve.ts"
import { makeRandom } from "../../../src/services/train/random.ts"

/** The line in double precision. */
const at = (curve: Curve, energy: number) => {
  let sum = 0.05 * Math.log(1 + Math.max(0, (energy - curve.high) / curve.spread))
  for (let piece = 0; piece < PIECES; piece++) {
    sum += curve.rises[piece] * Math.min(1, Math.max(0, (energy - curve.starts[piece]) / curve.widths[piece]))
  }
  return sum
}

const normals = (count: number, seed: number) => {
  const random = makeRandom(seed)
  return Float64Array.from({ length: count }, () => random.normal() ** 3)
}

describe("the surprise of an energy", () => {
  it("is −log of the conformal p-value at calibration energies where it bends, and near it at all others", () => {
    const energies = normals(3_000, 2).sort()
    const curve = fitCurve(energies)
    let bends = 0
    energies.forEach((energy, place) => {
      const exact = -Math.log((1 + energies.length - place) / (energies.length + 1))
      const tail = 0.05 * Math.log(1 + Math.max(0, (energy - curve.high) / curve.spread))
      expect(Math.abs(at(curve, energy) - tail - exact)).toBeLessThan(0.12)
      if (curve.starts.includes(energy)) {
        bends++
        expect(at(curve, energy) - tail).toBeCloseTo(exact, 6)
      }
    })
    expect(bends).toBeGreaterThan(50)
  })

  it("rises with the energy, from 0 on, without end, whatever the calibration energies are", () => {
    fc.assert(
      fc.property(
        fc.array(fc.float({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 200 }),
        fc.array(fc.float({ min: -1e7, max: 1e7, noNaN: true }), { minLength: 2, maxLength: 20 }),
        (calibration, asked) => {
          const curve = fitCurve(calibration)
          const surprises = asked.toSorted((a, b) => a - b).map((energy) => at(curve, energy))
          surprises.forEach((surprise, place) => {
            expect(surprise).toBeGreaterThanOrEqual(place === 0 ? 0 : surprises[place - 1])
          })
          const top = Math.max(...calibration) + 1e7
          expect(at(curve, 10 * top)).toBeGreaterThan(at(curve, top))
        }
      ),
      { seed: 3 }
    )
  })

  it("claims no more than log(n + 1) besides its tail, and copes with equal energies", () => {
    const curve = fitCurve(new Float64Array(19).fill(4))
    expect(at(curve, 4)).toBeCloseTo(0, 9)
    expect(curve.rises.reduce((sum, rise) => sum + rise)).toBeCloseTo(Math.log(20), 9)
    expect(at(curve, 5)).toBeGreaterThan(Math.log(20))
  })
})
