import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { EventFlag } from "../../../src/schema/event/Batch.ts"
import type { CellState } from "../../../src/schema/event/CellState.ts"
import { type DeviceColumns, DeviceFlag } from "../../../src/schema/event/DeviceColumns.ts"
import type { FeatureSpec } from "../../../src/schema/model/FeatureSpec.ts"
import { extremeNats } from "../../../src/services/feature/features.ts"
import { decodeCellState, encodeCellState } from "../../../src/services/state/cellState.ts"
import { takeDirty } from "../../../src/services/state/columns.ts"
import { applyRows, encodeRows } from "../../../src/services/state/delta.ts"
import { encodeIdPage, restoreIdPages } from "../../../src/services/state/idWindow.ts"
import { makeInterner } from "../../../src/services/state/interner.ts"
import {
  gaussian,
  internerOf,
  makeTestCell,
  planOf,
  type TestCell,
  type TestEvent
} from "../../support/folding.ts"

const rich = planOf({
  fields: {
    bytes: { type: "number", scale: "log" },
    temp: { type: "number" },
    failed: { type: "boolean" },
    proto: { type: "category", size: 4 }
  },
  windows: [
    { name: "count1m", over: "1m", count: true },
    { name: "bytes5m", over: "5m", sum: "bytes" }
  ],
  lateness: "20s",
  alerts: { budget: "1 in 20 events", quiet: "30s" },
  rules: [
    { name: "r0", when: "true", then: "allow" },
    { name: "r1", when: "true", then: "alert" },
    { name: "r2", when: "true", then: "escalate", severity: "high" }
  ]
})

const anyEvent: fc.Arbitrary<Omit<TestEvent, "at"> & { readonly step: number }> = fc.record({
  device: fc.integer({ min: 0, max: 5 }),
  step: fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 0, max: 4_000 }) },
    fc.integer({ min: -30_000, max: 90_000 })
  ),
  numbers: fc.tuple(
    fc.oneof(fc.integer({ min: 0, max: 3 }), fc.double({ noDefaultInfinity: true })),
    fc.oneof({ weight: 5, arbitrary: fc.double({ min: 19, max: 21, noNaN: true }) }, fc.constant(500)),
    fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.constantFrom(1, Number.NaN))
  ),
  categories: fc.tuple(fc.integer({ min: -1, max: 4 })),
  id: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 30 })),
  content: fc.integer({ min: 0, max: 1 }),
  hit: fc.oneof({ weight: 9, arbitrary: fc.constant(-1) }, fc.integer({ min: 0, max: 2 }))
})

const anyStream = fc.array(anyEvent, { minLength: 1, maxLength: 300 }).map((list) => {
  let at = 0
  return list.map(({ step, ...event }): TestEvent => ({ ...event, at: (at += step) }))
})

const columnsOf = ({ count, capacity, ...columns }: DeviceColumns) =>
  Object.entries(columns).flatMap(([name, values]) =>
    typeof values === "number" || name === "dirty"
      ? []
      : [[name, Array.from(values.subarray(0, count * (values.length / capacity)))]]
  )

const cellOf = ({ ids, ...cell }: CellState) => ({
  ...cell,
  overrides: [...cell.overrides],
  written: ids.written
})

const outcome = (cell: TestCell) => ({
  columns: columnsOf(cell.columns),
  cell: cellOf(cell.cell),
  counts: [cell.suppressed, cell.muted, cell.allowed, cell.late]
})

describe("fold and decide", () => {
  it("give the same bits however the events are cut into batches", () => {
    fc.assert(
      fc.property(anyStream, fc.array(fc.nat(), { maxLength: 20 }), (events, cuts) => {
        const whole = makeTestCell(rich)
        whole.run(events)
        const split = makeTestCell(rich)
        split.run(
          events,
          cuts.map((cut) => cut % (events.length + 1)).sort((a, b) => a - b)
        )
        expect(outcome(split)).toEqual(outcome(whole))
        expect(split.alerts).toEqual(whole.alerts)
        expect(split.folded.rows).toEqual(whole.folded.rows)
        expect(split.folded.energy).toEqual(whole.folded.energy)
        expect(split.folded.windows).toEqual(whole.folded.windows)
        expect(split.folded.elapsed).toEqual(whole.folded.elapsed)
        expect(split.events.flags).toEqual(whole.events.flags)
      }),
      { seed: 10, numRuns: 150 }
    )
  })

  it("go on from a checkpoint as if nothing had happened", () => {
    fc.assert(
      fc.property(anyStream, fc.nat(), (events, cut) => {
        const at = cut % (events.length + 1)
        const whole = makeTestCell(rich)
        whole.run(events.slice(0, at))
        const before = whole.alerts.length
        const rest = makeTestCell(rich)
        const interner = internerOf(whole.columns.count)
        const rows = takeDirty(whole.columns)
        applyRows(rest.columns, makeInterner(), encodeRows(whole.columns, interner, rows))
        decodeCellState(encodeCellState(whole.cell), rest.cell)
        restoreIdPages(rest.cell.ids, new Map([[0, encodeIdPage(whole.cell.ids, 0)]]))
        for (const cell of [whole, rest]) {
          Object.assign(cell, { suppressed: 0, muted: 0, allowed: 0, late: 0 })
          cell.run(events.slice(at))
        }
        expect(outcome(rest)).toEqual(outcome(whole))
        expect(rest.alerts).toEqual(whole.alerts.slice(before))
        expect(rest.folded.rows).toEqual(whole.folded.rows)
      }),
      { seed: 11, numRuns: 100 }
    )
  })

  it("give finite features (a missing value aside), energies and state for any numbers", () => {
    fc.assert(
      fc.property(anyStream, (events) => {
        const cell = makeTestCell(rich)
        const energies = cell.run(events)
        expect(energies.every(Number.isFinite)).toBe(true)
        cell.folded.rows.forEach((value, at) => {
          const column = at % cell.fold.width
          if (column < 3 && Number.isNaN(value)) return
          expect(Number.isFinite(value)).toBe(true)
        })
        expect(cell.columns.variance.every((value) => value >= 0 && Number.isFinite(value))).toBe(true)
        expect(cell.columns.mean.some((value) => Math.abs(value) === Number.POSITIVE_INFINITY)).toBe(false)
      }),
      { seed: 12, numRuns: 100 }
    )
  })
})

const columnOf = (cell: TestCell, column: number): ReadonlyArray<number> =>
  Array.from({ length: cell.folded.capacity }, (_, i) => cell.folded.rows[i * cell.fold.width + column])

describe("features", () => {
  it("are what their specifications say", () => {
    const features: ReadonlyArray<FeatureSpec> = [
      { kind: "value", field: "bytes" },
      { kind: "value", field: "temp" },
      { kind: "gap" },
      { kind: "count" },
      { kind: "window", window: "count1m" },
      { kind: "stuck", field: "temp" },
      { kind: "category", field: "proto" },
      { kind: "value", field: "bytes" }
    ]
    const cell = makeTestCell(rich, { features, resolve: (_, id) => (id === 2 ? 7 : -1) })
    cell.run([
      { device: 0, at: 0, numbers: [-3, 20], categories: [2] },
      { device: 0, at: 2_000, numbers: [Number.NaN, 20], categories: [-1] },
      { device: 0, at: 1_000, numbers: [0, 21], categories: [1] }
    ])
    // A missing value is shown as the device's own mean.
    expect(columnOf(cell, 0)).toEqual([Math.fround(-Math.log(4)), Math.fround(-Math.log(4)), 0])
    expect(columnOf(cell, 7)).toEqual(columnOf(cell, 0))
    expect(columnOf(cell, 1)).toEqual([20, 20, 21])
    expect(columnOf(cell, 2)).toEqual([0, Math.fround(Math.log(3)), 0])
    expect(columnOf(cell, 3)).toEqual([0, 1, 2])
    expect(columnOf(cell, 4)).toEqual([0, Math.fround(Math.LN2), Math.fround(Math.log(3))])
    expect(columnOf(cell, 5)).toEqual([0, 0, 0])
    expect(columnOf(cell, 6)).toEqual([7, -2, -1])
  })

  it("ask for a category's place in the vocabulary once", () => {
    const asked: Array<number> = []
    const features: ReadonlyArray<FeatureSpec> = [{ kind: "category", field: "proto" }]
    const resolve = (_: number, id: number) => {
      asked.push(id)
      return id
    }
    const cell = makeTestCell(rich, { features, resolve })
    cell.run([3, 3, 0, 4, 3, 0].map((id, i) => ({ device: 0, at: i, categories: [id] })))
    expect(asked).toEqual([3, 0, 4])
    expect(columnOf(cell, 0)).toEqual([3, 3, 0, 4, 3, 0])
  })

  it("that the stream doesn't have are refused by name", () => {
    const ask = (feature: FeatureSpec) => () => makeTestCell(rich, { features: [feature] })
    expect(ask({ kind: "value", field: "speed" })).toThrow(/the number `speed`/)
    expect(ask({ kind: "residual", signal: "speed" })).toThrow(/the signal `speed`/)
    expect(ask({ kind: "window", window: "speed" })).toThrow(/the window `speed`/)
    expect(ask({ kind: "surprise", field: "bytes" })).toThrow(/the rarity of `bytes`/)
  })
})

describe("residuals", () => {
  const plan = planOf({ baseline: { halfLife: "1h" } })

  it("follow the declared formula: scored first, shrunk towards the population, clipped, then learnt", () => {
    const next = gaussian(13)
    const events = Array.from({ length: 400 }, (_, i) => ({
      device: 0,
      at: i * 7_000,
      numbers: [i === 300 ? 1e6 : 14 + next()]
    }))
    const split = { a: { mean: 10, variance: 4, within: 1 }, gap: { mean: 1, variance: 1 } }
    const cell = makeTestCell(plan, { population: split, features: [{ kind: "residual", signal: "a" }] })
    cell.run(events)
    const [within, between] = [1, 3]
    let m = 0
    let v = 0
    let extreme = false
    events.forEach(({ numbers: [x] }, n) => {
      const w = Math.min(200 / (n + 200), within / (within + n * between))
      const centre = n === 0 ? 10 : m + w * (10 - m)
      const spread = v + (24 / (n + 24)) * (within - v) + w * between + 1e-3 * within
      const deviation = Math.sqrt(n === 0 ? 4 * 1.001 : spread)
      const z = Math.max(-20, Math.min(20, (x - centre) / deviation))
      expect(cell.folded.rows[n]).toBeCloseTo(z, 3)
      const rate = Math.max(n === 0 ? 0 : 1 - 2 ** (-7_000 / 3_600_000), 1 / (n + 1)) * (extreme ? 1 / 8 : 1)
      const from = n === 0 ? 10 : m
      const step = Math.max(-3 * deviation, Math.min(3 * deviation, x - from))
      m = from + (n === 0 ? 1 : rate) * step
      v = n === 0 ? 0 : (1 - rate) * (v + rate * step * step)
      extreme = cell.folded.energy[n] > extremeNats(2)
    })
    expect(cell.columns.mean[0]).toBeCloseTo(m, 3)
    expect(cell.columns.variance[0]).toBeCloseTo(v, 3)
  })

  it("say nothing while neither a population nor a fleet is known", () => {
    const cell = makeTestCell(plan, { features: [{ kind: "residual", signal: "a" }] })
    const energies = cell.run(
      Array.from({ length: 30 }, (_, i) => ({ device: i, at: i, numbers: [i * 1e6] }))
    )
    expect(columnOf(cell, 0).every((z) => z === 0)).toBe(true)
    expect(Math.max(...energies)).toBeLessThanOrEqual(0)
  })

  it("of a new device are held against the fleet", () => {
    const next = gaussian(14)
    const cell = makeTestCell(plan, { features: [{ kind: "residual", signal: "a" }] })
    const fleet = Array.from({ length: 2_000 }, (_, i) => ({
      device: i % 50,
      at: i * 100,
      numbers: [50 + 5 * next()]
    }))
    cell.run([
      ...fleet,
      { device: 60, at: 200_000, numbers: [60] },
      { device: 61, at: 200_001, numbers: [150] }
    ])
    expect(cell.folded.rows[2_000]).toBeCloseTo(2, 0)
    expect(cell.folded.rows[2_001]).toBeGreaterThan(15)
  })

  it("go on following a value whose steps are far below the spacing of 32-bit numbers", () => {
    const next = gaussian(15)
    const day = planOf({ baseline: { halfLife: "1d" } })
    const cell = makeTestCell(day, { population: { a: { mean: 101_325, variance: 1e4 } } })
    const pressure = (i: number) => (i < 50_000 ? 101_325 : 101_425) + 100 * next()
    cell.run(Array.from({ length: 100_000 }, (_, i) => ({ device: 0, at: i * 86, numbers: [pressure(i)] })))
    // Steps of at most 0.006, most below half the spacing of 0.0078; the mean of all values is half-way.
    expect(cell.columns.mean[0]).toBeGreaterThan(101_325 + 45)
    expect(cell.columns.mean[0]).toBeLessThan(101_325 + 55)
  })
})

describe("late and repeated events", () => {
  const plan = planOf({ lateness: "60s" })

  it("late ones are scored and marked, and change nothing", () => {
    const cell = makeTestCell(plan)
    cell.run([
      { device: 0, at: 0, numbers: [1] },
      { device: 0, at: 100_000, numbers: [1] }
    ])
    const before = columnsOf(cell.columns)
    cell.run([{ device: 0, at: 39_999, numbers: [9] }])
    expect(cell.events.flags[0] & EventFlag.late).toBe(EventFlag.late)
    expect(cell.late).toBe(1)
    expect(columnsOf(cell.columns)).toEqual(before)
    expect(cell.folded.rows[0]).toBe(9)
  })

  it("the watermark itself is not late", () => {
    const cell = makeTestCell(plan)
    cell.run([
      { device: 0, at: 100_000, numbers: [1] },
      { device: 0, at: 40_000, numbers: [1] }
    ])
    expect(Array.from(cell.events.flags, (flags) => flags & EventFlag.late)).toEqual([0, 0])
    expect(cell.columns.events[0]).toBe(2)
    expect(cell.folded.elapsed[1]).toBe(0)
  })

  it("duplicates and conflicts leave no trace", () => {
    const cell = makeTestCell(plan)
    cell.run([{ device: 0, at: 0, numbers: [1], id: 4, content: 1 }])
    const before = outcome(cell)
    cell.run([
      { device: 0, at: 5, numbers: [7], id: 4, content: 1 },
      { device: 0, at: 5, numbers: [7], id: 4, content: 2 }
    ])
    expect(outcome(cell)).toEqual(before)
    expect(Array.from(cell.folded.rows)).toEqual(new Array(cell.folded.rows.length).fill(0))
    expect(cell.decisions.scored).toBe(0)
  })
})

describe("what a device learns", () => {
  const plan = planOf({ baseline: { halfLife: "1h" } })
  const population = { a: { mean: 0, variance: 1 }, gap: { mean: 4, variance: 1 } }
  const minutes = (from: number, count: number, value: () => number) =>
    Array.from({ length: count }, (_, i) => ({ device: 0, at: (from + i) * 60_000, numbers: [value()] }))

  it("is nothing while it is quarantined", () => {
    const next = gaussian(16)
    const cell = makeTestCell(plan, { population })
    cell.run(minutes(0, 300, next))
    cell.columns.flags[0] |= DeviceFlag.quarantined
    const { mean, variance } = cell.columns
    const before = [mean[0], variance[0]]
    cell.run(minutes(300, 100, () => 50))
    expect([cell.columns.mean[0], cell.columns.variance[0]]).toEqual(before)
    expect(cell.columns.events[0]).toBe(400)
  })

  it("comes slowly from a regime that alarms, yet in the end such a regime is normal", () => {
    const next = gaussian(17)
    const cell = makeTestCell(plan, { population })
    cell.run(minutes(0, 1_000, next))
    const burst = cell.run(minutes(1_000, 60, () => 30 + next()))
    expect(Math.min(...burst)).toBeGreaterThan(extremeNats(2))
    expect(cell.columns.flags[0] & DeviceFlag.alarmed).not.toBe(0)
    expect(cell.columns.mean[0]).toBeLessThan(1)
    const regime = cell.run(minutes(1_060, 3_000, () => 30 + next()))
    expect(Math.max(...regime.slice(-100))).toBeLessThan(extremeNats(2))
    expect(cell.columns.flags[0] & DeviceFlag.alarmed).toBe(0)
  })
})

describe("a run of equal values", () => {
  const plan = planOf({ baseline: { halfLife: "1d" } })
  /** Nats of the run at each event; `repeats` of the fleet are as seldom as one in a thousand values. */
  const runOf = (values: ReadonlyArray<number>) => {
    const cell = makeTestCell(plan, { features: [{ kind: "stuck", field: "a" }] })
    cell.cell.fleet.compared[0] = 1_000
    cell.cell.fleet.repeat[0] = 0.001
    cell.run(values.map((value, i) => ({ device: 0, at: i * 60_000, numbers: [value] })))
    return Array.from(values.keys(), (i) => Math.round(Math.expm1(cell.folded.rows[i])))
  }
  const next = gaussian(41)
  const noise = (count: number) => Array.from({ length: count }, () => next())

  it("tells of a device whose sixty values all differed, once it is longer than those let expect", () => {
    const beyond = runOf([...noise(60), ...Array.from({ length: 24 }, () => 1)])
    // 60 (e^(6/60) − 1) = 6.3
    expect(beyond.slice(60, 66)).toEqual([0, 0, 0, 0, 0, 0])
    expect(beyond.slice(66)).toEqual(Array.from({ length: 18 }, (_, i) => i + 1))
  })

  it("is normal where a device has said nothing else, or too little to tell", () => {
    expect(Math.max(...runOf(Array.from({ length: 400 }, () => 1)))).toBe(0)
    expect(Math.max(...runOf([...noise(20), ...Array.from({ length: 150 }, () => 1)]))).toBe(0)
  })

  it("is normal where it is as long as the device's own runs let expect", () => {
    const held = (times: number) => noise(20).flatMap((value) => Array.from({ length: times }, () => value))
    expect(Math.max(...runOf([...held(4), ...Array.from({ length: 16 }, () => 1), ...noise(3)]))).toBe(0)
  })

  it("that has alarmed moves the longest normal one by a quarter of the way", () => {
    const beyond = runOf([
      ...noise(60),
      ...Array.from({ length: 41 }, () => 1),
      ...noise(60),
      2,
      2,
      2,
      2,
      2,
      2,
      2,
      2,
      2,
      2,
      2,
      2
    ])
    expect(beyond[100]).toBe(35)
    expect(Math.max(...beyond.slice(101, 161))).toBe(0)
    expect(Math.max(...beyond.slice(161))).toBeLessThanOrEqual(2)
  })
})

describe("a drift", () => {
  it("is the moving average of residuals, of a missing value the one before", () => {
    const plan = planOf({ baseline: { halfLife: "1d" } })
    const population = { a: { mean: 0, variance: 1, within: 1 }, gap: { mean: 4, variance: 1 } }
    const cell = makeTestCell(plan, { population, features: [{ kind: "drift", signal: "a" }] })
    const next = gaussian(43)
    const quiet = Array.from({ length: 500 }, (_, i) => ({ device: 0, at: i * 60_000, numbers: [next()] }))
    cell.run(quiet)
    expect(Math.abs(cell.folded.rows[499])).toBeLessThan(1)
    cell.run([
      ...Array.from({ length: 30 }, (_, i) => ({
        device: 0,
        at: (500 + i) * 60_000,
        numbers: [3 + next()]
      })),
      { device: 0, at: 530 * 60_000 }
    ])
    const { rows } = cell.folded
    expect(rows[29]).toBeGreaterThan(1.5)
    expect(rows[30]).toBe(rows[29])
    expect(rows[29]).toBe(cell.columns.drift[0] / 32)
  })
})
