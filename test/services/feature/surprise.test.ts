import { describe, expect, it } from "vitest"
import { countCategory, surpriseAbove, surpriseOf } from "../../../src/services/feature/surprise.ts"
import { makeCategoryShares } from "../../../src/services/state/categoryShares.ts"
import { seeded } from "../../support/folding.ts"

const count = (shares: ReturnType<typeof makeCategoryShares>, id: number, times = 1) => {
  for (let i = 0; i < times; i++) countCategory(shares, 0, id, surpriseOf(shares, 0, id))
}

describe("surprise", () => {
  it("is −log of a value's share", () => {
    const shares = makeCategoryShares([4])
    count(shares, 1, 900)
    count(shares, 2, 100)
    expect(surpriseOf(shares, 0, 1)).toBeCloseTo(-Math.log(0.9), 2)
    expect(surpriseOf(shares, 0, 2)).toBeCloseTo(-Math.log(0.1), 1)
  })

  it("of the unseen is low where new values keep coming, high where none came for long", () => {
    const many = makeCategoryShares([1_000])
    for (let id = 1; id <= 500; id++) count(many, id, 2)
    const few = makeCategoryShares([1_000])
    for (let i = 0; i < 1_000; i++) count(few, 1 + (i % 2))
    expect(surpriseOf(many, 0, 999)).toBeLessThan(1)
    expect(surpriseOf(few, 0, 999)).toBeGreaterThan(5)
    expect(surpriseOf(makeCategoryShares([4]), 0, 1)).toBeCloseTo(Math.log(2))
  })

  it("of the unseen grows with the events since the last new value, however many came at first", () => {
    const shares = makeCategoryShares([1_000])
    for (let id = 1; id <= 8; id++) count(shares, id)
    for (let i = 0; i < 25_000; i++) count(shares, 1 + (i % 8))
    // Eight of 25,000 were new, and none of the last 25,000.
    expect(surpriseOf(shares, 0, 999)).toBeCloseTo(Math.log(25_009 / 0.5), 1)
    for (let id = 9; id < 109; id++) count(shares, id)
    expect(surpriseOf(shares, 0, 999)).toBeCloseTo(Math.log(25_109 / 200), 1)
  })

  it("takes missing and other as values of their own", () => {
    const shares = makeCategoryShares([2])
    count(shares, -1, 50)
    count(shares, 0, 50)
    expect(surpriseOf(shares, 0, -1)).toBeCloseTo(Math.log(2), 1)
    expect(surpriseOf(shares, 0, 0)).toBeCloseTo(Math.log(2), 1)
    expect(surpriseOf(shares, 0, 2)).toBeGreaterThan(3)
  })

  it("above the usual is what counts: a column of a thousand even values says nothing", () => {
    const shares = makeCategoryShares([1_000])
    const next = seeded(30)
    for (let i = 0; i < 50_000; i++) count(shares, 1 + Math.floor(next() * 1_000))
    expect(surpriseOf(shares, 0, 5)).toBeGreaterThan(6)
    expect(surpriseAbove(shares, 0, surpriseOf(shares, 0, 5))).toBeLessThan(0.7)
    expect(surpriseAbove(shares, 0, 100)).toBe(12)
  })

  it("lets the past fade", () => {
    const shares = makeCategoryShares([3])
    count(shares, 1, 100_000)
    count(shares, 2, 400_000)
    expect(shares.total[0]).toBeLessThan(131_072)
    expect(surpriseOf(shares, 0, 1)).toBeGreaterThan(2.5)
    expect(surpriseOf(shares, 0, 2)).toBeLessThan(0.1)
  })
})
