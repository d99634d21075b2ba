// Liveness is progress: it fails only where work waits, nothing outside is missing, and nothing moves.
import { describe, expect, it } from "vitest"
import { makeHealth, STUCK_AFTER_MILLIS } from "../../../src/services/observe/Health.ts"

const start = () => {
  const clock = { now: 1_000 }
  const health = makeHealth(() => clock.now)
  return { clock, health }
}

describe("liveness", () => {
  it("fails for a cell with work that has not moved for more than a minute, and names it", () => {
    const { clock, health } = start()
    health.progress("flows/0", { lag: 5, lastProgressAt: 1_000, paused: false })
    clock.now += STUCK_AFTER_MILLIS
    expect(health.liveness()).toEqual({ live: true, stuck: [] })
    clock.now += 500
    expect(health.liveness()).toEqual({
      live: false,
      stuck: [{ cell: "flows/0", lag: 5, secondsWithoutProgress: 60.5 }]
    })
    health.progress("flows/0", { lag: 4, lastProgressAt: clock.now, paused: false })
    expect(health.liveness().live).toBe(true)
  })

  it("is not deceived by a cell that reports without moving", () => {
    const { clock, health } = start()
    for (let n = 0; n < 70; n++) {
      health.progress("flows/0", { lag: 5, lastProgressAt: 1_000, paused: false })
      clock.now += 1_000
    }
    expect(health.liveness().live).toBe(false)
  })

  it("holds through an idle night, and starts counting when work comes", () => {
    const { clock, health } = start()
    health.progress("flows/0", { lag: 0, lastProgressAt: 1_000, paused: false })
    clock.now += 3_600_000
    expect(health.liveness().live).toBe(true)
    health.progress("flows/0", { lag: 3, lastProgressAt: 1_000, paused: false })
    expect(health.liveness().live).toBe(true)
    clock.now += STUCK_AFTER_MILLIS + 1
    expect(health.liveness().live).toBe(false)
  })

  it("holds while something outside is missing, and for a minute after it is back", () => {
    const { clock, health } = start()
    health.progress("flows/0", { lag: 3, lastProgressAt: 1_000, paused: true })
    clock.now += 3_600_000
    expect(health.liveness().live).toBe(true)
    health.progress("flows/0", { lag: 3, lastProgressAt: 1_000, paused: false })
    clock.now += STUCK_AFTER_MILLIS
    expect(health.liveness().live).toBe(true)
    clock.now += 1
    expect(health.liveness().live).toBe(false)
  })

  it("forgets a cell that has gone to another runner", () => {
    const { clock, health } = start()
    health.progress("flows/0", { lag: 3, lastProgressAt: 1_000, paused: false })
    clock.now += 2 * STUCK_AFTER_MILLIS
    health.forgetCell("flows/0")
    expect(health.liveness().live).toBe(true)
  })
})

describe("readiness", () => {
  it("needs at least one part, and every required one", () => {
    const { health } = start()
    expect(health.readiness()).toEqual({ ready: false, components: [] })
    health.report("log", { ready: true, reason: null })
    health.report("collector", { ready: false, reason: "away", required: false })
    expect(health.readiness().ready).toBe(true)
    health.report("log", { ready: false, reason: "no broker" })
    expect(health.readiness()).toMatchObject({
      ready: false,
      components: [{ component: "collector" }, { component: "log", reason: "no broker", required: true }]
    })
    health.forget("log")
    expect(health.readiness().components.length).toBe(1)
  })
})
