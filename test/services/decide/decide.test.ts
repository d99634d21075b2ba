import { describe, expect, it } from "vitest"
import { DeviceFlag } from "../../../src/schema/event/DeviceColumns.ts"
import { judgeModel, judgeRules, severityOf } from "../../../src/services/decide/budget.ts"
import { fitTail } from "../../../src/services/decide/conformal.ts"
import { type CellOptions, makeTestCell, planOf, T0, type TestEvent } from "../../support/folding.ts"

const rule = (name: string, then: string, severity = "medium") => ({ name, when: "true", then, severity })
const plan = planOf({
  alerts: { budget: "1 in 1000 events", quiet: "10m" },
  rules: [rule("fine", "allow"), rule("odd", "alert", "low"), rule("bad", "escalate", "high")]
})
const [ALLOW, ALERT, ESCALATE] = [0, 1, 2]

/** Energies 0 … 9.99: the tail at a budget of 1 in 1,000 begins at about 10. */
const energies = Array.from({ length: 1_000 }, (_, i) => i / 100)
const judge = judgeModel({ energies, ...fitTail(energies) }, plan.budget)
const threshold = judge.threshold(makeTestCell(plan).cell.energies)

/** The number of an event is taken for its model's energy. */
const scored: CellOptions = { judge, model: (rows, width, row) => rows[row * width] }
const at = (millis: number, energy: number, more: Partial<TestEvent> = {}): TestEvent => ({
  device: 0,
  at: millis,
  numbers: [energy],
  ...more
})
const MINUTE = 60_000

describe("decisions", () => {
  it("an energy at the budget's threshold alerts, one below does not", () => {
    const cell = makeTestCell(plan, scored)
    cell.run([at(0, threshold - 0.01), at(1, threshold + 0.01, { device: 1 })])
    expect(cell.alerts.map(({ event, rule }) => [event, rule])).toEqual([[1, -1]])
    expect(cell.alerts[0].pvalue).toBeLessThanOrEqual(1e-3)
    expect(cell.alerts[0].threshold).toBeCloseTo(threshold)
    expect(cell.decisions.scored).toBe(2)
  })

  it("an energy that is not a number alerts nobody", () => {
    const cell = makeTestCell(plan, { judge, model: () => Number.NaN })
    cell.run([at(0, 1)])
    expect(cell.alerts).toEqual([])
  })

  it("allow wins over energies; alert and escalate need none", () => {
    const cell = makeTestCell(plan, scored)
    cell.run([
      at(0, 500, { hit: ALLOW }),
      at(1, 0, { device: 1, hit: ALERT }),
      at(2, 0, { device: 2, hit: ESCALATE })
    ])
    expect(cell.allowed).toBe(1)
    expect(
      cell.alerts.map(({ event, rule, escalated, severity }) => [event, rule, escalated, severity])
    ).toEqual([
      [1, ALERT, false, 0],
      [2, ESCALATE, true, 2]
    ])
  })

  it("with rules alone energies decide nothing", () => {
    const cell = makeTestCell(plan, { judge: judgeRules, model: () => 1e6 })
    cell.run([at(0, 1), at(1, 1, { hit: ALERT })])
    expect(cell.alerts.map(({ event, pvalue }) => [event, pvalue])).toEqual([[1, Number.NaN]])
  })

  it("severity grows with how far the p-value lies below the budget", () => {
    expect([1, 0.2, 0.05, 0.005, 1e-5].map((ratio) => severityOf(ratio * 1e-4, 1e-4))).toEqual([
      0, 0, 1, 2, 3
    ])
  })
})

describe("quiet time", () => {
  it("counts further alerts of a device instead of raising them, by event time", () => {
    const cell = makeTestCell(plan, scored)
    const high = threshold + 0.1
    cell.run([
      at(0, high),
      at(MINUTE, high),
      at(2 * MINUTE, high, { device: 1 }),
      at(9 * MINUTE, high),
      at(11 * MINUTE, high)
    ])
    expect(cell.alerts.map(({ event }) => event)).toEqual([0, 2, 4])
    expect(cell.suppressed).toBe(2)
    expect(cell.columns.quietUntil[1]).toBe(Math.ceil((T0 + 12 * MINUTE) / 1_000))
  })

  it("is broken by an escalating rule, every time, and not by an alerting one", () => {
    const cell = makeTestCell(plan, scored)
    cell.run([
      at(0, 0, { hit: ALERT }),
      at(1_000, 0, { hit: ALERT }),
      at(2_000, 0, { hit: ESCALATE }),
      at(3_000, 0, { hit: ESCALATE }),
      at(4_000, 0, { hit: ALERT })
    ])
    expect(cell.alerts.map(({ event }) => event)).toEqual([0, 2, 3])
    expect(cell.suppressed).toBe(2)
  })

  it("is broken by a severity two steps above the last one raised, once", () => {
    const cell = makeTestCell(plan, scored)
    cell.run([at(0, threshold + 0.05), at(1_000, 40), at(2_000, 40), at(3_000, threshold + 0.1)])
    expect(cell.alerts.map(({ event, severity }) => [event, severity])).toEqual([
      [0, 0],
      [1, 3]
    ])
    expect(cell.suppressed).toBe(2)
  })
})

describe("overrides", () => {
  const override = (thresholdShift: number, mute: boolean) => {
    const cell = makeTestCell(plan, scored)
    cell.run([at(0, 0)])
    cell.cell.overrides.set(0, { thresholdShift, mute, untilMillis: T0 + 5 * MINUTE })
    cell.columns.flags[0] |= DeviceFlag.overridden
    return cell
  }

  it("shift a device's threshold until event time passes their end", () => {
    const cell = override(3, false)
    cell.run([at(1_000, threshold + 2), at(5 * MINUTE, threshold + 2), at(5 * MINUTE + 1, threshold + 2)])
    expect(cell.alerts.map(({ event }) => event)).toEqual([2])
    expect(cell.cell.overrides.size).toBe(0)
    expect(cell.columns.flags[0] & DeviceFlag.overridden).toBe(0)
  })

  it("may lower it too", () => {
    const cell = override(-3, false)
    cell.run([at(1_000, threshold - 2)])
    expect(cell.alerts.map((alert) => alert.threshold)).toEqual([threshold - 3])
  })

  it("mute energies and alert rules, not escalating ones", () => {
    const cell = override(0, true)
    cell.run([at(1_000, 500), at(2_000, 500, { hit: ALERT }), at(3_000, 500, { hit: ESCALATE })])
    expect(cell.alerts.map(({ event }) => event)).toEqual([2])
    expect(cell.muted).toBe(2)
  })
})

describe("what decisions teach", () => {
  const day = planOf({ alerts: { budget: "1 in 1000 events", quiet: "10m" }, baseline: { halfLife: "1d" } })
  const minutes = (count: number, energy: (i: number) => number) =>
    Array.from({ length: count }, (_, i) => at(i * MINUTE, energy(i)))

  it("a device whose normal energies lie above the stream's threshold is left alone after a while", () => {
    const cell = makeTestCell(day, scored)
    cell.run(minutes(2 * 1_440, () => threshold + 2))
    const times = cell.alerts.map(({ event }) => event)
    const learning = times.filter((event) => event < 720)
    expect(learning.length).toBeGreaterThan(5)
    expect(times.length - learning.length).toBeLessThanOrEqual(2)
  })

  it("a slow ramp is still found", () => {
    const cell = makeTestCell(day, scored)
    cell.run(minutes(20 * 1_440, (i) => 5 + i / 1_440))
    const last = cell.alerts[cell.alerts.length - 1]
    expect(last.event).toBeGreaterThan(20 * 1_440 - 20)
  })

  it("nothing, while the device is quarantined or muted", () => {
    const cell = makeTestCell(day, scored)
    cell.run([at(0, 0), at(MINUTE, threshold + 5)])
    const { threshold: thresholds } = cell.columns
    const before = thresholds[0]
    expect(before).toBeGreaterThan(0)
    cell.columns.flags[0] |= DeviceFlag.quarantined
    const counted = cell.cell.energies.totals[2]
    cell.run(Array.from({ length: 50 }, (_, i) => at((2 + i) * MINUTE, threshold + 5)))
    expect(cell.columns.threshold[0]).toBe(before)
    expect(cell.cell.energies.totals[2]).toBe(counted)
  })
})
