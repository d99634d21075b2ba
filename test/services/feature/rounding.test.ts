import { describe, expect, it } from "vitest"
import { roundInTurn } from "../../../src/services/feature/rounding.ts"

describe("rounding in turn", () => {
  it("adds up thousands of steps that 32 bits can't hold one by one", () => {
    let plain = 101_325
    let turned = 101_325
    for (let n = 0; n < 10_000; n++) {
      plain = Math.fround(plain + 0.001)
      turned = roundInTurn(turned + 0.001, n)
    }
    expect(plain).toBe(101_325)
    expect(turned).toBeCloseTo(101_335, 0)
  })

  it("gives one of the two neighbours in 32 bits", () => {
    for (let n = 0; n < 1_000; n++) {
      const value = 1 + n * 1.37e-9
      const rounded = roundInTurn(value, n)
      expect(Math.fround(rounded)).toBe(rounded)
      expect(Math.abs(rounded - value)).toBeLessThanOrEqual(2 ** -23)
    }
    expect(roundInTurn(0, 5)).toBe(0)
  })
})
