import { describe, expect, it } from "vitest"
import { alarmsAt, nabRaw, nabScore, probationOf } from "../../bench/nabScore.ts"

const standard = { tpWeight: 1, fnWeight: 1, fpWeight: 0.11 }
const series = { rows: 1_000, windows: [[400, 499]] as const }
const raw = (...alarms: ReadonlyArray<number>) => nabRaw(series, alarms, standard)

describe("the benchmark's score", () => {
  it("counts nothing in the first 15 % of a series, at most 750 rows", () => {
    expect(probationOf(1_000)).toBe(150)
    expect(probationOf(10_000)).toBe(750)
    expect(raw(0, 149)).toBe(-1)
    expect(raw(150)).toBeCloseTo(-1.11)
  })

  it("pays most for an alarm at a window's start, less for later ones, and for the best one alone", () => {
    expect(raw(400)).toBeCloseTo(1)
    expect(raw(450)).toBeCloseTo((2 / (1 + Math.exp(-2.5)) - 1) / (2 / (1 + Math.exp(-5)) - 1))
    expect(raw(499)).toBeLessThan(0.03)
    expect(raw(400, 450, 499)).toBeCloseTo(1)
  })

  it("charges a false alarm in full before the first window, little just behind one, in full far behind", () => {
    expect(raw(300)).toBeCloseTo(-1 - 0.11)
    expect(raw(500)).toBeGreaterThan(-1 - 0.01)
    expect(raw(550) - raw()).toBeCloseTo(0.11 * (2 / (1 + Math.exp(5 * (51 / 99))) - 1))
    expect(raw(900)).toBeCloseTo(-1 - 0.11)
  })

  it("is 0 for silence and 100 for one alarm at the start of every window", () => {
    const all = [series, { rows: 500, windows: [] }]
    expect(nabScore(all, [[], []], standard)).toBe(0)
    expect(nabScore(all, [[400], []], standard)).toBeCloseTo(100)
    expect(nabScore(all, [[], [200]], standard)).toBeCloseTo(-5.5)
  })

  it("weighs misses and false alarms as the profile says", () => {
    expect(nabRaw(series, [300], { tpWeight: 1, fnWeight: 2, fpWeight: 0.22 })).toBeCloseTo(-2.22)
  })
})

describe("alarms at a threshold", () => {
  const times = [0, 10, 20, 30, 40]

  it("are the rows that reach it", () => {
    expect(alarmsAt([1, 3, 2, 3, 1], times, 2, 0)).toEqual([1, 2, 3])
  })

  it("leave a quiet time after each that went out, by time and not by row", () => {
    expect(alarmsAt([1, 3, 2, 3, 3], times, 2, 20)).toEqual([1, 3])
  })

  it("never come from scores that are not numbers", () => {
    expect(alarmsAt([Number.NaN, Number.NaN], [0, 1], Number.NEGATIVE_INFINITY, 0)).toEqual([])
  })
})
