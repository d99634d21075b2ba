import { describe, expect, it } from "vitest"
import {
  admits,
  type Breaker,
  breakerLimits,
  closedBreaker,
  failed,
  foundOpen,
  isDue,
  probeFailed,
  probing,
  succeeded
} from "../../../src/services/score/breaker.ts"

const limits = breakerLimits(3, 1_000)
const fail = (breaker: Breaker, offset: number, now = 0) => failed(breaker, offset, "timeout", limits, now)

const openAt = (offset: number, now = 0) =>
  fail(fail(fail(closedBreaker, offset - 2, now), offset - 1, now), offset, now)

describe("a breaker", () => {
  it("opens at the third failure in a row, with the offset and the reason", () => {
    const open = openAt(30, 500)
    expect(open).toEqual({
      state: "open",
      failures: 0,
      openings: 1,
      probeAt: 1_500,
      since: 30,
      reason: "timeout"
    })
    expect(admits(open)).toBe(false)
    expect(fail(open, 31)).toBe(open)
  })

  it("forgets failures that a good batch interrupts", () => {
    const twice = fail(fail(closedBreaker, 1), 2)
    expect(twice.failures).toBe(2)
    expect(fail(fail(succeeded(twice), 4), 5).state).toBe("closed")
    expect(succeeded(closedBreaker)).toBe(closedBreaker)
  })

  it("is due for a probe after a second, once, and lets no batch through meanwhile", () => {
    const open = openAt(30, 500)
    expect(isDue(open, 1_499)).toBe(false)
    expect(isDue(open, 1_500)).toBe(true)
    const under = probing(open)
    expect(under.state).toBe("half-open")
    expect(isDue(under, 9_000)).toBe(false)
    expect(admits(under)).toBe(false)
  })

  it("waits twice as long after each probe that fails, up to sixteen seconds: a model that is well is back within thirty", () => {
    let breaker = openAt(30)
    const waits: Array<number> = []
    for (let probe = 0; probe < 7; probe++) {
      waits.push(breaker.probeAt)
      breaker = probeFailed(probing(breaker), "timeout", true, limits, 0)
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 16_000, 16_000])
    expect(breaker).toMatchObject({ state: "open", since: 30 })
  })

  it("learns nothing from a probe while its worker is replaced: the next comes after a second, whatever came before", () => {
    let breaker = openAt(30)
    for (let probe = 0; probe < 4; probe++)
      breaker = probeFailed(probing(breaker), "timeout", true, limits, 0)
    const { openings } = breaker
    for (let probe = 0; probe < 50; probe++) {
      breaker = probeFailed(probing(breaker), "replacing", false, limits, 70_000)
      expect(breaker).toMatchObject({ state: "open", openings, probeAt: 71_000 })
    }
  })

  it("that is found open is due at once", () => {
    expect(isDue(foundOpen("timeout"), 0)).toBe(true)
  })
})
