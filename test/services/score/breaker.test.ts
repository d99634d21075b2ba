import { describe, expect, it } from "vitest"
import {
  admits,
  type Breaker,
  breakerLimits,
  closedBreaker,
  failed,
  passedBy,
  succeeded
} from "../../../src/services/score/breaker.ts"

const limits = breakerLimits(3, 4)
const fail = (breaker: Breaker, offset: number) => failed(breaker, offset, "timeout", limits)

const openAt = (offset: number) => fail(fail(fail(closedBreaker, offset - 2), offset - 1), offset)

/** Batches that go by until the probe. */
const untilProbe = (breaker: Breaker): readonly [number, Breaker] => {
  let batches = 0
  let next = breaker
  while (next.state === "open") next = passedBy(next, 1_000 + batches++)
  return [batches, next]
}

describe("a breaker", () => {
  it("opens at the third failure in a row, with the offset and the reason", () => {
    const open = openAt(30)
    expect(open).toEqual({ state: "open", failures: 0, openings: 1, wait: 4, since: 30, reason: "timeout" })
    expect(admits(open)).toBe(false)
  })

  it("forgets failures that a good batch interrupts", () => {
    const twice = fail(fail(closedBreaker, 1), 2)
    expect(twice.failures).toBe(2)
    expect(fail(fail(succeeded(twice, 3), 4), 5).state).toBe("closed")
    expect(succeeded(closedBreaker, 9)).toBe(closedBreaker)
  })

  it("probes after four batches, and closes where the probe goes well", () => {
    const [batches, half] = untilProbe(openAt(30))
    expect(batches).toBe(4)
    expect(half).toMatchObject({ state: "half-open", since: 1_003 })
    expect(admits(half)).toBe(true)
    expect(succeeded(half, 1_010)).toEqual({ ...closedBreaker, since: 1_010 })
  })

  it("waits twice as long after each probe that fails, up to 64 times", () => {
    let breaker = openAt(30)
    const waits: Array<number> = []
    for (let probe = 0; probe < 9; probe++) {
      const [batches, half] = untilProbe(breaker)
      waits.push(batches)
      breaker = fail(half, 2_000)
    }
    expect(waits).toEqual([4, 8, 16, 32, 64, 128, 256, 256, 256])
  })

  it("takes the same turns for the same batches", () => {
    const run = () => {
      let breaker = closedBreaker
      for (let offset = 0; offset < 500; offset++) {
        breaker = !admits(breaker)
          ? passedBy(breaker, offset)
          : offset % 7 < 4
            ? fail(breaker, offset)
            : succeeded(breaker, offset)
      }
      return breaker
    }
    expect(run()).toEqual(run())
  })
})
