import { describe, expect, it } from "vitest"
import type { BaselineEvidence } from "../../../src/schema/event/CellState.ts"
import { baselineExplain } from "../../../src/services/score/baselineExplain.ts"
import { makeBaselineEnergy } from "../../../src/services/score/energy.ts"
import {
  gaussian,
  makeTestCell,
  planOf,
  seeded,
  type TestCell,
  type TestEvent
} from "../../support/folding.ts"

const plan = planOf({
  fields: {
    a: { type: "number" },
    b: { type: "number", scale: "log" },
    on: { type: "boolean" },
    proto: { type: "category", size: 8 }
  },
  windows: [{ name: "count1m", over: "1m", count: true }],
  baseline: { halfLife: "1h" }
})

const evidenceOf = (
  parts: Partial<Record<keyof BaselineEvidence, ReadonlyArray<number>>>
): BaselineEvidence => ({
  squared: Float64Array.from(parts.squared ?? [0, 0, 0, 0, 0]),
  stuck: Float64Array.from(parts.stuck ?? [0, 0, 0]),
  surprise: Float64Array.from(parts.surprise ?? [0]),
  sum: Float64Array.of([...(parts.stuck ?? []), ...(parts.surprise ?? [])].reduce((a, b) => a + b, 0))
})

describe("baseline energy", () => {
  const energy = makeBaselineEnergy(plan)
  const usual = energy.of(evidenceOf({}))

  it("is the sum of its terms", () => {
    const next = seeded(20)
    for (let run = 0; run < 100; run++) {
      const evidence = evidenceOf({
        squared: Array.from({ length: 5 }, () => 400 * next() ** 4),
        stuck: [next(), 0, 0],
        surprise: [3 * next()]
      })
      const nats = new Float32Array(energy.width + 2)
      energy.terms(evidence, nats, 2)
      expect(nats.reduce((a, b) => a + b, 0)).toBeCloseTo(energy.of(evidence), 3)
    }
  })

  it("rises with every kind of evidence", () => {
    expect(usual).toBeLessThan(0)
    expect(energy.of(evidenceOf({ squared: [64, 0, 0, 0, 0] })) - usual).toBeGreaterThan(8)
    expect(energy.of(evidenceOf({ squared: [400, 0, 0, 0, 0] })) - usual).toBeGreaterThan(16)
    expect(energy.of(evidenceOf({ squared: [0, 0, 0, 0, 64] })) - usual).toBeGreaterThan(8)
    expect(energy.of(evidenceOf({ stuck: [5, 0, 0] })) - usual).toBeCloseTo(5)
    expect(energy.of(evidenceOf({ surprise: [7] })) - usual).toBeCloseTo(7)
  })

  it("of a boolean is −log of how probable its value is", () => {
    const p = 0.01
    expect(energy.of(evidenceOf({ squared: [0, 0, (1 - p) / p, 0, 0] })) - usual).toBeCloseTo(-Math.log(p))
    expect(energy.of(evidenceOf({ squared: [0, 0, p / (1 - p), 0, 0] })) - usual).toBeCloseTo(
      -Math.log(1 - p)
    )
  })

  it("stays finite with hundreds of signals at their limit", () => {
    const wide = planOf({
      fields: Object.fromEntries(Array.from({ length: 500 }, (_, k) => [`n${k}`, { type: "number" }]))
    })
    const evidence = {
      squared: new Float64Array(501).fill(800),
      stuck: new Float64Array(500),
      surprise: new Float64Array(0),
      sum: new Float64Array(1)
    }
    const total = makeBaselineEnergy(wide).of(evidence)
    expect(total).toBeGreaterThan(501 * 15)
    expect(Number.isFinite(total)).toBe(true)
  })
})

/** Twenty devices, one event a second each; device d's `a` lies about 10 · d. */
const ordinary = (seed: number, events: number, from = 0): Array<TestEvent> => {
  const next = gaussian(seed)
  return Array.from({ length: events }, (_, i) => ({
    device: i % 20,
    at: (from + i) * 50,
    numbers: [10 * (i % 20) + next(), Math.exp(5 + 0.5 * next()), 0],
    categories: [1 + ((i * 7) % 3)]
  }))
}

describe("an event that deviates", () => {
  const warm = (): TestCell => {
    const cell = makeTestCell(plan)
    cell.run(ordinary(21, 12_000))
    return cell
  }
  const highest = (seed: number) => Math.max(...warm().run(ordinary(seed, 2_000, 12_000)))
  const ceiling = highest(22)
  /** The event of device 3 that follows the ordinary ones, changed. */
  const odd = (change: Partial<TestEvent>) => ({ ...ordinary(23, 20, 12_000)[3], ...change })
  const top = (cell: TestCell, row: number) =>
    baselineExplain(plan, cell.folded.traces, row, (column, id) => `value ${column}/${id}`)[0]

  it("none of the ordinary ones is far from normal", () => {
    expect(ceiling).toBeLessThan(14)
  })

  it("a spike of one number shows at once, and is what explains it", () => {
    const cell = warm()
    const [energy] = cell.run([odd({ numbers: [60, 150, 0] })])
    expect(energy).toBeGreaterThan(ceiling)
    const first = top(cell, 0)
    expect(first.feature).toBe("a vs own baseline")
    expect(first.observed).toBe(60)
    expect(first.expected).toBeCloseTo(30, 0)
  })

  it("contributions sum to the energy, and logarithms are undone", () => {
    const cell = warm()
    const [energy] = cell.run([odd({ numbers: [60, 1e6, 0], categories: [5] })])
    const parts = baselineExplain(plan, cell.folded.traces, 0, (column, id) => `value ${column}/${id}`)
    expect(parts.reduce((sum, part) => sum + part.energy, 0)).toBeCloseTo(energy, 3)
    expect(parts.map((part) => part.energy)).toEqual(parts.map((part) => part.energy).sort((a, b) => b - a))
    const bytes = parts.find((part) => part.feature === "b vs own baseline")
    expect(bytes?.observed).toBeCloseTo(1e6, -2)
    expect(Number(bytes?.expected)).toBeGreaterThan(100)
    expect(Number(bytes?.expected)).toBeLessThan(220)
    expect(parts.find((part) => part.feature === "proto rarity")?.observed).toBe("value 0/5")
  })

  it("a drift that no single event shows", () => {
    const cell = warm()
    const shifted = ordinary(24, 600, 12_000).map((event) =>
      event.device === 3
        ? { ...event, numbers: [(event.numbers?.[0] ?? 0) + 3.5, event.numbers?.[1] ?? 0, 0] }
        : event
    )
    const energies = cell.run(shifted)
    const drifting = shifted.flatMap((event, i) => (event.device === 3 && i > 200 ? [energies[i]] : []))
    const others = shifted.flatMap((event, i) => (event.device !== 3 && i > 200 ? [energies[i]] : []))
    const mean = (values: ReadonlyArray<number>) => values.reduce((a, b) => a + b, 0) / values.length
    expect(mean(drifting)).toBeGreaterThan(mean(others) + 8)
  })

  it("a stuck value, with the length of its run", () => {
    const cell = warm()
    const stuck = ordinary(25, 600, 12_000).map((event) =>
      event.device === 3 ? { ...event, numbers: [30.25, event.numbers?.[1] ?? 0, 0] } : event
    )
    const energies = cell.run(stuck)
    expect(energies[583]).toBeGreaterThan(ceiling - 6)
    const first = top(cell, 583)
    expect(first).toMatchObject({ feature: "a unchanged", energy: 12, observed: 30 })
    expect(Number(first.expected)).toBeLessThanOrEqual(3)
  })

  it("a flood, by its gap and its window", () => {
    const cell = warm()
    const energies = cell.run(Array.from({ length: 200 }, (_, i) => odd({ at: 12_000 * 50 + i })))
    expect(Math.max(...energies)).toBeGreaterThan(ceiling)
    const parts = baselineExplain(plan, cell.folded.traces, 199, () => "")
    expect(parts.slice(0, 4).map((part) => part.feature)).toContain("gap")
  })

  it("a rare category", () => {
    const cell = warm()
    const [before, after] = cell.run([odd({}), odd({ at: 12_020 * 50, categories: [7] })])
    expect(after - before).toBeGreaterThan(7)
  })

  it("a device that is new is held against the fleet with less confidence", () => {
    const energyOf = (event: TestEvent) => warm().run([event])[0]
    const known = energyOf(odd({ numbers: [400, 150, 0] }))
    const fresh = energyOf(odd({ device: 20, numbers: [400, 150, 0] }))
    const plain = energyOf(odd({ device: 20, numbers: [100, 150, 0] }))
    expect(fresh).toBeGreaterThan(plain)
    expect(fresh).toBeLessThan(known)
  })

  it("an ordinary energy has no explanation to give", () => {
    const cell = warm()
    cell.run([odd({ numbers: [30, 150, 0] })])
    expect(baselineExplain(plan, cell.folded.traces, 0, () => "")).toEqual([])
  })
})
