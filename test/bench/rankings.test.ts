import { describe, expect, it } from "vitest"
import {
  alarmRate,
  falseAlarmsWhereMissed,
  incidentsHit,
  incidentsOf,
  meanSquares,
  precisionInDailyTop,
  softLabels,
  vusPr
} from "../../bench/rankings.ts"

const labels = [0, 0, 1, 1, 0, 0, 0, 1, 0, 0]

describe("incidents", () => {
  it("are runs of anomalous rows, also at the ends", () => {
    expect(incidentsOf(labels)).toEqual([
      [2, 3],
      [7, 7]
    ])
    expect(incidentsOf([1, 0, 1])).toEqual([
      [0, 0],
      [2, 2]
    ])
    expect(incidentsOf([0, 0])).toEqual([])
  })

  it("count as hit by one flagged row; flags outside do not", () => {
    expect(incidentsHit([0, 0, 0, 1, 0, 0, 1, 0, 0, 0], labels)).toBe(1)
    expect(incidentsHit([1, 1, 0, 0, 1, 1, 1, 0, 1, 1], labels)).toBe(0)
  })
})

describe("the volume under the precision-recall surface", () => {
  it("softens labels by half the buffer on each side, by the root of the distance", () => {
    const soft = softLabels([0, 0, 0, 1, 0, 0, 0], 4)
    expect([...soft].map((share) => Number((share * share).toFixed(9)))).toEqual([
      0, 0.5, 0.75, 1, 0.75, 0.5, 0
    ])
    expect([...softLabels(labels, 0)]).toEqual(labels)
  })

  it("is 1 for scores that fall with the distance from the incident, and rewards near misses", () => {
    const one = Array.from({ length: 400 }, (_, row) => (row === 200 ? 1 : 0))
    const towards = one.map((_, row) => -Math.abs(row - 200))
    const near = one.map((_, row) => -Math.abs(row - 203))
    const far = one.map((_, row) => -Math.abs(row - 300))
    // Far buffers hold rows with small shares, which even the right order cannot make whole anomalies.
    expect(vusPr(towards, one)).toBeGreaterThan(0.85)
    expect(vusPr(near, one)).toBeGreaterThan(0.75)
    expect(vusPr(near, one)).toBeLessThan(vusPr(towards, one))
    expect(vusPr(far, one)).toBeLessThan(0.2)
  })

  it("takes equal scores together: a constant has the precision of chance", () => {
    const flat = new Float64Array(1_000)
    const one = Array.from({ length: 1_000 }, (_, row) => (row >= 500 && row < 510 ? 1 : 0))
    expect(vusPr(flat, one)).toBeLessThan(0.1)
  })
})

describe("rates", () => {
  it("of alarms count normal rows alone", () => {
    expect(alarmRate([1, 0, 1, 1, 0, 0, 0, 0, 0, 0], labels)).toBeCloseTo(1 / 7)
  })

  it("of false alarms are read where the lowest share of the anomalies is missed", () => {
    const truth = [1, 1, 1, 1, 0, 0, 0, 0]
    const scores = [9, 8, 7, 1, 8.5, 6, 5, 2]
    expect(falseAlarmsWhereMissed(scores, truth, 0.25)).toBe(0.25)
    expect(falseAlarmsWhereMissed(scores, truth, 0)).toBe(1)
  })

  it("of a daily list are averaged over days, a short list as if it were full", () => {
    const days = [1, 1, 1, 2, 2, 2]
    const scores = [5, 4, 3, 3, 4, 5]
    expect(precisionInDailyTop(scores, [1, 0, 1, 1, 1, 1], days, 2)).toBe(0.75)
    expect(precisionInDailyTop([1], [1], [1], 2)).toBe(0.5)
  })
})

it("mean squares weigh each column by its calibration spread, at most 20 of them", () => {
  const calibration = [
    [0, 5],
    [2, 5]
  ]
  expect([
    ...meanSquares(calibration, [
      [1, 5],
      [3, 5],
      [1, 6]
    ])
  ]).toEqual([0, 2, 200])
})
