import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { thresholdFor } from "../../../src/services/decide/budget.ts"
import {
  binEdge,
  countEnergy,
  EXTREME_ENERGY,
  energyBin,
  fitTail,
  HISTOGRAM_EVENTS_MIN,
  histogramPvalue,
  histogramThreshold,
  makeCalibration,
  THRESHOLD_MIN
} from "../../../src/services/decide/conformal.ts"
import { makeCellState } from "../../../src/services/state/cellState.ts"
import { gaussian, planOf, seeded } from "../../support/folding.ts"

const exponential = (seed: number, count: number, scale = 1) => {
  const next = seeded(seed)
  return Array.from({ length: count }, () => -scale * Math.log(1 - next()))
}

const calibrationOf = (energies: ReadonlyArray<number>) => {
  const sorted = [...energies].sort((a, b) => a - b)
  return { energies: sorted, ...fitTail(sorted) }
}

describe("conformal p-values", () => {
  it("count the calibration energies at least as high", () => {
    const scale = makeCalibration({ energies: [1, 2, 2, 3], tailFrom: 10, tailScale: 1, tailShape: 0 })
    expect([0, 1, 1.5, 2, 2.5, 3, 4].map(scale.pvalue)).toEqual([1, 1, 0.8, 0.8, 0.4, 0.4, 0.2])
  })

  it("never rise with the energy, are above 0, and are 1 for what is not a number", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -50, max: 500, noNaN: true }), { maxLength: 300 }),
        fc.array(fc.double({ min: -100, max: 1e6, noNaN: true }), { minLength: 2, maxLength: 30 }),
        (energies, asked) => {
          const scale = makeCalibration(calibrationOf(energies))
          const pvalues = asked.sort((a, b) => a - b).map(scale.pvalue)
          pvalues.forEach((p, i) => {
            expect(p).toBeGreaterThan(0)
            expect(p).toBeLessThanOrEqual(1)
            if (i > 0) expect(p).toBeLessThanOrEqual(pvalues[i - 1])
          })
          expect(scale.pvalue(Number.NaN)).toBe(1)
          expect(scale.pvalue(Number.POSITIVE_INFINITY)).toBeGreaterThan(0)
        }
      ),
      { seed: 40, numRuns: 200 }
    )
  })

  it("thresholds are their inverse: at the threshold p is within the budget, just below it is not", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 100, noNaN: true }), { minLength: 5, maxLength: 200 }),
        fc.double({ min: 1e-7, max: 0.5, noNaN: true }),
        (energies, budget) => {
          const scale = makeCalibration(calibrationOf(energies))
          const threshold = thresholdFor(scale, budget)
          if (threshold === Number.NEGATIVE_INFINITY) return
          expect(scale.pvalue(threshold + 1e-6 * (1 + Math.abs(threshold)))).toBeLessThanOrEqual(budget)
          expect(scale.pvalue(threshold - 1e-6 * (1 + Math.abs(threshold)))).toBeGreaterThan(
            budget * (1 - 1e-3)
          )
        }
      ),
      { seed: 41, numRuns: 300 }
    )
  })

  it("the budget is kept on fresh energies, also where it is below the calibration's resolution", () => {
    const scale = makeCalibration(calibrationOf(exponential(42, 3_000)))
    const fresh = exponential(43, 400_000)
    for (const budget of [1e-2, 1e-3, 1e-4]) {
      const threshold = thresholdFor(scale, budget)
      const share = fresh.filter((energy) => energy >= threshold).length / fresh.length
      expect(share).toBeGreaterThan(budget / 3)
      expect(share).toBeLessThan(budget * 3)
    }
  })

  it("a fitted tail finds shape and scale of a generalised Pareto", () => {
    const next = seeded(44)
    const pareto = Array.from({ length: 200_000 }, () => (2 / 0.3) * ((1 - next()) ** -0.3 - 1))
    const { tailShape, tailScale, tailFrom } = fitTail(pareto)
    expect(tailShape).toBeCloseTo(0.3, 1)
    // Excesses over a threshold u keep the shape; the scale there is 2 + 0.3 u.
    expect(tailScale / (2 + 0.3 * tailFrom)).toBeCloseTo(1, 1)
  })

  it("a tail can be fitted to anything", () => {
    expect(fitTail([])).toEqual({ tailFrom: 0, tailScale: 1, tailShape: 0 })
    for (const energies of [
      [5],
      [5, 5, 5, 5],
      new Array(2_000).fill(3),
      [Number.NaN, 2, Number.POSITIVE_INFINITY]
    ]) {
      const tail = fitTail(energies)
      expect(tail.tailScale).toBeGreaterThan(0)
      expect(tail.tailShape).toBeGreaterThanOrEqual(0)
      expect(Number.isFinite(tail.tailFrom)).toBe(true)
    }
  })
})

const histogramOf = () => makeCellState(planOf()).energies

describe("energies of the stream's own past", () => {
  it("fall into bins whose edges enclose them", () => {
    for (const energy of [-5, 0, 0.06, 0.07, 1, 3.3, 15.9, 16, 400, 7_000]) {
      const bin = energyBin(energy)
      expect(energy).toBeGreaterThanOrEqual(binEdge(bin) * (1 - 1e-12))
      expect(energy).toBeLessThanOrEqual(Math.max(1 / 16, binEdge(bin + 1)) * (1 + 1e-12))
    }
    expect(energyBin(1e300)).toBe(energyBin(1e200))
    expect(energyBin(Number.NEGATIVE_INFINITY)).toBe(0)
  })

  it("let only the extreme alert until enough is known", () => {
    const histogram = histogramOf()
    expect(histogramThreshold(histogram)).toBe(EXTREME_ENERGY)
    for (const energy of exponential(45, 1_000)) countEnergy(histogram, energy, 1e-4)
    expect(histogramThreshold(histogram)).toBe(EXTREME_ENERGY)
    expect(histogramPvalue(histogram, 15)).toBeCloseTo(1 / 1_001)
  })

  it("do not let a stream of wide energies alert early", () => {
    const histogram = histogramOf()
    for (const energy of exponential(46, 1_000, 6)) countEnergy(histogram, energy, 1e-4)
    expect(histogramThreshold(histogram)).toBeGreaterThan(20)
  })

  it("keep the budget within a factor of three on a stationary stream", () => {
    const histogram = histogramOf()
    const energies = exponential(47, 400_000, 2)
    let alarms = 0
    energies.forEach((energy, i) => {
      if (i > 50_000 && energy >= histogramThreshold(histogram)) alarms++
      countEnergy(histogram, energy, 1e-3)
    })
    expect(alarms / 350_000).toBeGreaterThan(1e-3 / 3)
    expect(alarms / 350_000).toBeLessThan(3e-3)
    const p = histogramPvalue(histogram, 2 * Math.log(1e5))
    expect(p).toBeGreaterThan(2e-6)
    expect(p).toBeLessThan(5e-5)
  })

  it("are not dragged by a flood of anomalies", () => {
    const histogram = histogramOf()
    for (const energy of exponential(48, 20_000)) countEnergy(histogram, energy, 1e-4)
    const before = histogramThreshold(histogram)
    const next = gaussian(49)
    for (const energy of exponential(50, 20_000)) {
      countEnergy(histogram, energy, 1e-4)
      countEnergy(histogram, 60 + 5 * next(), 1e-4)
    }
    expect(histogramThreshold(histogram)).toBeLessThan(before * 1.5)
  })

  it("widen step by step where the stream's own energies are wider than was assumed", () => {
    const histogram = histogramOf()
    for (const energy of exponential(51, 10_000)) countEnergy(histogram, energy, 1e-3)
    const narrow = histogramThreshold(histogram)
    let alarms = 0
    exponential(52, 300_000, 3).forEach((energy, i) => {
      if (i > 200_000 && energy >= histogramThreshold(histogram)) alarms++
      countEnergy(histogram, energy, 1e-3)
    })
    expect(histogramThreshold(histogram)).toBeGreaterThan(narrow * 1.3)
    expect(alarms / 100_000).toBeLessThan(0.02)
  })

  it("forget the distant past, and ask for a response only well above normal", () => {
    const histogram = histogramOf()
    for (let i = 0; i < 2 ** 20 + 5_000; i++) countEnergy(histogram, (i % 1_000) / 1_000, 1e-2)
    expect(histogram.totals[0]).toBeLessThan(2 ** 20)
    expect(histogramThreshold(histogram)).toBe(THRESHOLD_MIN)
    expect(histogram.counts.reduce((a, b) => a + b, 0)).toBeCloseTo(histogram.totals[0])
  })

  it("never have a p-value of 0 or one that rises", () => {
    const histogram = histogramOf()
    for (const energy of exponential(53, HISTOGRAM_EVENTS_MIN + 3_000)) countEnergy(histogram, energy, 1e-3)
    let last = 1
    for (let energy = -1; energy < 200; energy += 0.5) {
      const p = histogramPvalue(histogram, energy)
      expect(p).toBeGreaterThan(0)
      expect(p).toBeLessThanOrEqual(last)
      last = p
    }
    expect(histogramPvalue(histogram, Number.NaN)).toBe(1)
  })
})
