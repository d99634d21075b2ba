import { describe, expect, it } from "vitest"
import { breakerLimits, closedBreaker, failed, probing } from "../../../src/services/score/breaker.ts"
import { chooseRung } from "../../../src/services/score/ladder.ts"

const declared = ["deep", "fast", "baseline", "rules"] as const
const open = failed(closedBreaker, 5, "failed", breakerLimits(1, 1), 0)

describe("the ladder", () => {
  it("takes the first rung that the model has", () => {
    expect(chooseRung(declared, ["fast"], {})).toEqual({
      step: "fast",
      passed: [{ step: "deep", cause: "no-model" }]
    })
    expect(chooseRung(declared, ["deep", "fast"], {}).step).toBe("deep")
    expect(chooseRung(declared, [], {}).step).toBe("baseline")
  })

  it("steps down where a breaker is open, and as long as it is probed", () => {
    expect(chooseRung(declared, ["fast"], { fast: open })).toEqual({
      step: "baseline",
      passed: [
        { step: "deep", cause: "no-model" },
        { step: "fast", cause: "breaker-open" }
      ]
    })
    expect(chooseRung(declared, ["fast"], { fast: probing(open) }).step).toBe("baseline")
    expect(chooseRung(declared, ["fast"], { fast: closedBreaker }).step).toBe("fast")
  })

  it("leaves two stages with either energy's breaker, and never gives the deep one every event", () => {
    const both = ["deep", "fast"] as const
    expect(chooseRung(declared, both, { deep: open }, true).step).toBe("fast")
    expect(chooseRung(declared, both, { fast: open }, true).step).toBe("baseline")
    expect(chooseRung(declared, both, { fast: open }, false).step).toBe("deep")
    expect(chooseRung(declared, both, { fast: closedBreaker }, true).step).toBe("deep")
  })

  it("keeps to what is declared, and ends at the rules", () => {
    expect(chooseRung(["rules"], ["fast"], {}).step).toBe("rules")
    expect(chooseRung(["fast"], [], {}).step).toBe("rules")
  })
})
