import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { measure } from "../../../src/services/train/evaluate.ts"

const nobody = (count: number) => new Array<number>(count).fill(0)

describe("metrics", () => {
  it("are exact on a hand-made ranking", () => {
    const metrics = measure([4, 3, 2, 1], [1, 0, 1, 0], [1, 1, 0, 0])
    expect(metrics.rocAuc).toBe(0.75)
    expect(metrics.averagePrecision).toBeCloseTo((1 + 2 / 3) / 2, 12)
    expect(metrics).toMatchObject({ rows: 4, anomalies: 2, caught: 1, falseAlarms: 1, detectionRate: 0.5 })
  })

  it("give a score that says nothing one half, whatever the order of the rows", () => {
    const labels = [1, 0, 0, 1, 0, 0, 0, 0]
    const metrics = measure(nobody(8), labels, nobody(8))
    expect(metrics.rocAuc).toBe(0.5)
    expect(metrics.averagePrecision).toBe(0.25)
    expect(metrics.truePositiveRateAt1Percent).toBe(0)
  })

  it("count detections where one normal row in a hundred alarms", () => {
    const labels = [...nobody(200), 1, 1, 1]
    const scores = [...labels.slice(0, 200).map((_, at) => at), 500, 198.5, 100]
    expect(measure(scores, labels, nobody(203)).truePositiveRateAt1Percent).toBeCloseTo(2 / 3, 12)
  })

  it("agree with counting pairs", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 6 }), fc.boolean()), { minLength: 2 }),
        (rows) => {
          const scores = rows.map(([score]) => score)
          const labels = rows.map(([, anomaly]) => (anomaly ? 1 : 0))
          const up = scores.filter((_, at) => labels[at] === 1)
          const down = scores.filter((_, at) => labels[at] === 0)
          fc.pre(up.length > 0 && down.length > 0)
          let pairs = 0
          for (const a of up) for (const b of down) pairs += a > b ? 1 : a === b ? 0.5 : 0
          expect(measure(scores, labels, nobody(rows.length)).rocAuc).toBeCloseTo(
            pairs / (up.length * down.length),
            10
          )
        }
      ),
      { seed: 4 }
    )
  })

  it("answer NaN where there is nothing to tell apart", () => {
    expect(measure([1, 2], [0, 0], [0, 0]).rocAuc).toBeNaN()
  })
})
