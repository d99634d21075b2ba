// Writes lie apart while that makes groups larger, and only then.
import { describe, expect, it } from "vitest"
import { CREDIT_MAX, makeSpacing, UNSPACED_GROUPS } from "../../../src/services/ingest/spacing.ts"

const SPACING = 4
const start = () => {
  const clock = { now: 1_000 }
  const spacing = makeSpacing(SPACING, () => clock.now)
  /** One group of `appends`, `pause` ms after the last write; answers how long it waited for company. */
  const group = (appends: number, pause: number): number => {
    clock.now += pause
    const wait = spacing.next()
    clock.now += wait
    spacing.closed(appends)
    spacing.written()
    return wait
  }
  /** Groups of one until one waits: it is the one that tries. */
  const untilItTries = (appends: number) => {
    let groups = 0
    while (group(appends, 1) === 0) groups++
    return groups
  }
  return { group, untilItTries }
}

describe("spacing", () => {
  it("never waits after a pause as long as itself", () => {
    const { group } = start()
    expect(Array.from({ length: 100 }, () => group(5, SPACING))).toEqual(new Array(100).fill(0))
  })

  it("keeps one caller, who waits for each append before the next, waiting once in so many groups", () => {
    const { group, untilItTries } = start()
    group(1, 0)
    expect(untilItTries(1)).toBe(UNSPACED_GROUPS)
    expect(untilItTries(1)).toBe(UNSPACED_GROUPS)
  })

  it("waits for what is left of the spacing while that brings company", () => {
    const { group, untilItTries } = start()
    group(1, 0)
    untilItTries(3)
    expect(Array.from({ length: 50 }, () => group(3, 1))).toEqual(new Array(50).fill(SPACING - 1))
  })

  it("stops when nothing comes any more, after as many waits as it has earned", () => {
    const { group, untilItTries } = start()
    group(1, 0)
    untilItTries(2)
    for (let n = 0; n < 100; n++) group(2, 1)
    expect(Array.from({ length: CREDIT_MAX }, () => group(1, 1))).toEqual(
      new Array(CREDIT_MAX).fill(SPACING - 1)
    )
    expect(group(1, 1)).toBe(0)
  })
})
