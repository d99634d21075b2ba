import { describe, expect, it } from "vitest"
import {
  ABOVE_ANCHOR_MAX,
  adaptThreshold,
  aimedShare,
  RISE_PER_HALF_LIFE,
  STEP_MAX,
  THRESHOLD_SHIFT_MAX
} from "../../../src/services/decide/adaptive.ts"
import { addRows, makeDeviceColumns } from "../../../src/services/state/columns.ts"
import { planOf, seeded } from "../../support/folding.ts"

const HALF_LIFE = 86_400_000
const MINUTE = 60_000
const share = aimedShare(1e-4)

const device = () => {
  const columns = makeDeviceColumns(planOf())
  addRows(columns, 1)
  return columns
}

/** Feeds energies above the stream's threshold, one a minute; tells which alarmed. */
const feed = (columns: ReturnType<typeof device>, energies: ReadonlyArray<number>, elapsed = MINUTE) =>
  energies.map((above) => {
    const alarmed = above >= 0 && above >= columns.threshold[0]
    adaptThreshold(columns, 0, above, elapsed, HALF_LIFE, share)
    return alarmed
  })

describe("a device's own threshold", () => {
  it("stays at the stream's while the device's energies stay below it", () => {
    const columns = device()
    feed(columns, new Array(10_000).fill(-0.5))
    expect([columns.threshold[0], columns.anchor[0]]).toEqual([0, 0])
  })

  it("rises until a device whose normal energies lie above the stream's stops alarming", () => {
    const columns = device()
    const next = seeded(60)
    const days = 7
    const alarms = feed(
      columns,
      Array.from({ length: days * 1_440 }, () => -2 + 5 * next())
    )
    const rate = (from: number, to: number) => alarms.slice(from, to).filter(Boolean).length / (to - from)
    expect(rate(0, 60)).toBeGreaterThan(0.3)
    expect(rate(4 * 1_440, days * 1_440)).toBeLessThan(0.01)
    expect(columns.threshold[0]).toBeGreaterThan(2.5)
    expect(columns.threshold[0]).toBeLessThan(3.5)
  })

  it("still alarms when energies are ramped up slowly over weeks", () => {
    const columns = device()
    const days = 28
    const ramp = Array.from({ length: days * 1_440 }, (_, i) => (i / 1_440) * 0.5)
    const alarms = feed(columns, ramp)
    const lastWeek = alarms.slice(-7 * 1_440)
    expect(lastWeek.every(Boolean)).toBe(true)
    expect(columns.threshold[0]).toBeLessThanOrEqual(THRESHOLD_SHIFT_MAX)
    expect(columns.threshold[0]).toBeLessThan(ABOVE_ANCHOR_MAX + 4)
  })

  it("never exceeds its cap, however long it is pushed", () => {
    const columns = device()
    feed(columns, new Array(200_000).fill(1_000), 60 * MINUTE)
    expect(columns.threshold[0]).toBe(THRESHOLD_SHIFT_MAX)
  })

  it("can't be raised by a flood: what counts is the event time that passes", () => {
    const columns = device()
    feed(columns, new Array(100_000).fill(50), 0)
    expect(columns.threshold[0]).toBe(0)
    feed(columns, new Array(1_000).fill(50), 1)
    expect(columns.threshold[0]).toBeLessThan(1e-3)
  })

  it("moves by a bounded step, also after a long silence", () => {
    const columns = device()
    feed(columns, [50], 30 * HALF_LIFE)
    expect(columns.threshold[0]).toBe(STEP_MAX)
    expect(RISE_PER_HALF_LIFE).toBeGreaterThan(STEP_MAX)
  })

  it("comes down again, slowly", () => {
    const columns = device()
    feed(columns, new Array(500).fill(50))
    const risen = columns.threshold[0]
    feed(columns, new Array(30 * 1_440).fill(-5))
    expect(columns.threshold[0]).toBeLessThan(risen)
    expect(columns.threshold[0]).toBeGreaterThanOrEqual(0)
  })
})
