import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { measure } from "../../../../src/services/train/evaluate.ts"
import {
  binomialBand,
  calibrationCurve,
  nominals,
  type Point,
  precisionRecallCurve,
  rocCurve
} from "../../../../src/services/train/report/curves.ts"

const ascending = (...energies: ReadonlyArray<number>) => Float32Array.from(energies).sort()

const areaBelow = (points: ReadonlyArray<Point>) =>
  points
    .slice(1)
    .reduce((sum, point, at) => sum + ((point.x - points[at].x) * (point.y + points[at].y)) / 2, 0)

const stepsBelow = (points: ReadonlyArray<Point>) =>
  points.reduce((sum, point, at) => sum + (point.x - (at === 0 ? 0 : points[at - 1].x)) * point.y, 0)

describe("the ROC curve", () => {
  it("climbs with every anomaly and goes right with every normal row, from the highest energy down", () => {
    expect(rocCurve(ascending(1, 3), ascending(2, 4))).toEqual([
      { x: 0, y: 0 },
      { x: 0, y: 0.5 },
      { x: 0.5, y: 0.5 },
      { x: 0.5, y: 1 },
      { x: 1, y: 1 }
    ])
  })

  it("takes rows of one energy in one slanting step", () => {
    expect(rocCurve(ascending(1, 1), ascending(1))).toEqual([
      { x: 0, y: 0 },
      { x: 1, y: 1 }
    ])
  })

  it("keeps its area with few points where there are many rows", () => {
    const normals = Float32Array.from({ length: 50_000 }, (_, at) => at)
    const anomalies = Float32Array.from({ length: 50_000 }, (_, at) => (at % 2 === 0 ? at : 60_000 + at))
    const points = rocCurve(normals, anomalies.sort())
    expect(points.length).toBeLessThan(1_000)
    expect(areaBelow(points)).toBeCloseTo(0.75, 4)
  })

  it("keeps the points from which it leaps", () => {
    const anomalies = Float32Array.from({ length: 1_001 }, (_, at) => 2 + at)
    expect(rocCurve(new Float32Array(1_000).fill(1), anomalies).slice(-2)).toEqual([
      { x: 0, y: 1 },
      { x: 1, y: 1 }
    ])
  })
})

describe("the precision-recall curve", () => {
  it("has a point for every recall that is reached, with the precision there", () => {
    expect(precisionRecallCurve(ascending(1, 3), ascending(2, 4))).toEqual([
      { x: 0.5, y: 1 },
      { x: 1, y: 2 / 3 }
    ])
  })

  it("encloses the average precision, as the ROC curve does its area", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 30 }),
        fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 30 }),
        (normals, anomalies) => {
          const labels = [...normals.map(() => 0), ...anomalies.map(() => 1)]
          const metrics = measure([...normals, ...anomalies], labels, labels)
          const [down, up] = [ascending(...normals), ascending(...anomalies)]
          expect(stepsBelow(precisionRecallCurve(down, up))).toBeCloseTo(metrics.averagePrecision, 10)
          expect(areaBelow(rocCurve(down, up))).toBeCloseTo(metrics.rocAuc, 10)
        }
      ),
      { seed: 5 }
    )
  })
})

describe("the calibration curve", () => {
  it("has the binomial distribution's own quantiles as its band", () => {
    // Central 95 % of ten, and of a hundred, throws of a coin; of 1,000 throws that succeed once in a hundred.
    expect(binomialBand(10, 0.5, 0.95)).toEqual([2, 8])
    expect(binomialBand(100, 0.5, 0.95)).toEqual([40, 60])
    expect(binomialBand(1_000, 0.01, 0.95)).toEqual([4, 17])
    expect(binomialBand(10, 1, 0.95)).toEqual([10, 10])
  })

  it("looks as far down as a share of the normal rows means something", () => {
    const counts = nominals.map((nominal) => nominal * 1_000)
    const curve = calibrationCurve(counts, 1_000)
    expect(curve.at(-1)?.nominal).toBe(0.001)
    expect(curve.map((point) => point.nominal)).toContain(0.01)
    for (const point of curve) {
      expect(point.observed).toBeCloseTo(point.nominal, 12)
      expect(point.low).toBeLessThanOrEqual(point.nominal)
      expect(point.high).toBeGreaterThanOrEqual(point.nominal)
    }
  })
})
