// F1 F2 F3 F36 as schedules: whoever owns a cell, freezes, dies or is followed, all ends as if nothing had been. I1-I4 I9.
import { describe, expect, it } from "vitest"
import { mutations } from "./mutations.ts"
import { simulate, type Verdict } from "./simulate.ts"

/** Schedules of a run of the tests; `.ci/run` plays 2,000, and `npm run simulate -- --seeds N --from S` others and more. */
const SCHEDULES = 80
const AT_ONCE = 40
/** Schedules within which each wrong protocol must have been found out. */
const FOUND_WITHIN = 160

/** A schedule is played without a pause, and vitest takes a worker that is silent for a minute for lost. */
const breathe = () =>
  new Promise<void>((resolve) => {
    setImmediate(() => setImmediate(resolve))
  })

const say = ({ broken, schedule, seed }: Verdict): string =>
  `seed ${seed} (npm run simulate -- --from ${seed} --seeds 1)\n${schedule()}\n${broken.join("\n")}`

describe("a cell's takeover", () => {
  it.each(Array.from({ length: SCHEDULES / AT_ONCE }, (_, at) => 1 + at * AT_ONCE))(
    "ends as if nothing had been, by the schedules from seed %i on",
    { timeout: 120_000 },
    async (from) => {
      const faults: Record<string, number> = {}
      for (let seed = from; seed < from + AT_ONCE; seed++) {
        const verdict = simulate(seed)
        await breathe()
        expect(verdict.broken.length, say(verdict)).toBe(0)
        for (const [fault, times] of Object.entries(verdict.faults)) {
          faults[fault] = (faults[fault] ?? 0) + times
        }
      }
      // Void, not green, where nothing happened.
      for (const fault of ["kill", "freeze", "takeover", "hand over"]) {
        expect(faults[fault]).toBeGreaterThan(AT_ONCE)
      }
      // Only where a model is in use is it looked for.
      expect(faults["model away"]).toBeGreaterThan(AT_ONCE / 4)
    }
  )

  it("is played the same way again by the same seed", () => {
    const [once, again] = [simulate(7), simulate(7)]
    expect(again.schedule()).toBe(once.schedule())
    expect(simulate(8).schedule()).not.toBe(once.schedule())
  })
})

describe("a wrong protocol", () => {
  it.each(Object.entries(mutations))("is found out: %s", { timeout: 120_000 }, async (_, mutation) => {
    let seed = 1
    while (seed < FOUND_WITHIN && simulate(seed, mutation).broken.length === 0) {
      seed++
      await breathe()
    }
    expect(seed).toBeLessThan(FOUND_WITHIN)
  })
})
