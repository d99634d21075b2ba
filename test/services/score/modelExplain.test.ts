import { describe, expect, it } from "vitest"
import type { Manifest } from "../../../src/schema/model/Manifest.ts"
import { modelExplain } from "../../../src/services/score/modelExplain.ts"
import type { RowExplanation } from "../../../src/services/score/Scorer.ts"
import { gaussian, makeTestCell, planOf, seeded, type TestEvent } from "../../support/folding.ts"

const plan = planOf({
  fields: {
    a: { type: "number" },
    b: { type: "number", scale: "log" },
    proto: { type: "category", size: 8 }
  },
  windows: [{ name: "count1m", over: "1m", count: true }]
})
const features: Manifest["features"] = [
  { kind: "residual", signal: "a" },
  { kind: "residual", signal: "b" },
  { kind: "value", field: "b" },
  { kind: "gap" },
  { kind: "stuck", field: "a" },
  { kind: "surprise", field: "proto" },
  { kind: "window", window: "count1m" }
]
const manifest = { features, vocabularies: {} } as unknown as Manifest

/** Thirty devices that report every ten seconds: `a` about 30 ± 1, `b` about 150, `proto` 1 or 2. */
const ordinary = (seed: number, count: number): ReadonlyArray<TestEvent> => {
  const normal = gaussian(seed)
  const even = seeded(seed)
  return Array.from({ length: count }, (_, i) => ({
    device: i % 30,
    at: Math.floor(i / 30) * 10_000 + (i % 30),
    numbers: [30 + normal(), 150 * Math.exp(0.1 * normal())],
    categories: [even() < 0.5 ? 1 : 2]
  }))
}

const next = { device: 3, at: 100 * 10_000 + 3, numbers: [31, 150], categories: [1] }

/** What is said of one event that follows 3,000 ordinary ones, where the model gave every feature one nat. */
const explain = (event: TestEvent, usual: ReadonlyArray<number> = features.map(() => 0)) => {
  const cell = makeTestCell(plan, { features })
  cell.run(ordinary(11, 3_000))
  cell.run([event])
  const explained: RowExplanation = {
    energy: features.length,
    contributions: Float32Array.from(features, (_, at) => features.length - at),
    expected: Float32Array.from(usual),
    prototype: 0
  }
  const row = cell.folded.rows.subarray(0, features.length)
  const parts = modelExplain(
    plan,
    manifest,
    { row, explained, traces: cell.folded.traces, event: 0, category: () => "quic" },
    features.length
  )
  return { parts, row, of: (name: string) => parts.find((part) => part.feature === name) }
}

describe("a model's explanation", () => {
  it("gives a residual in the field's own unit, beside the device's own mean", () => {
    const a = explain({ ...next, numbers: [60, 150] }).of("a vs own baseline")
    expect(a?.observed).toBe(60)
    expect(Number(a?.expected)).toBeGreaterThan(29)
    expect(Number(a?.expected)).toBeLessThan(31)
  })

  it("moves what is expected by as many deviations as the model's prototype lies off", () => {
    const event = { ...next, numbers: [38, 150], categories: [7] }
    const central = explain(event)
    const shifted = explain(event, [2, 0, 0, 0, 0, 0, 0])
    const z = central.row[0]
    const mean = Number(central.of("a vs own baseline")?.expected)
    const moved = Number(shifted.of("a vs own baseline")?.expected)
    expect(z).toBeGreaterThan(4)
    expect(moved - mean).toBeCloseTo((2 * (38 - mean)) / z, 1)
  })

  it("undoes logarithms", () => {
    const { of } = explain({ ...next, numbers: [30, 1e6] }, [0, 0, Math.log1p(150), 0, 0, 0, 0])
    expect(of("b vs own baseline")?.observed).toBeCloseTo(1e6, -3)
    expect(Number(of("b vs own baseline")?.expected)).toBeGreaterThan(120)
    expect(Number(of("b vs own baseline")?.expected)).toBeLessThan(180)
    expect(of("b")?.observed).toBeCloseTo(1e6, -3)
    expect(of("b")?.expected).toBeCloseTo(150, 1)
  })

  it("names the rare value, and counts the run of equal ones", () => {
    const { of } = explain({ ...next, numbers: [60, 150], categories: [7] })
    expect(of("proto rarity")).toMatchObject({ observed: "quic", expected: null })
    expect(of("a unchanged")).toMatchObject({ observed: 1 })
  })

  it("says that it speaks in deviations where the fold kept no baseline", () => {
    const { parts, row, of } = explain(next)
    expect(of("a vs own baseline, in deviations")?.observed).toBeCloseTo(row[0], 2)
    expect(parts.map((part) => part.energy)).toEqual([7, 6, 5, 4, 3, 2, 1])
  })

  it("keeps to the largest shares", () => {
    const { row } = explain(next)
    const explained: RowExplanation = {
      energy: 3,
      contributions: Float32Array.of(0, 1, 3, 0, -2, 0.0005, 0),
      expected: new Float32Array(7),
      prototype: 0
    }
    const traces = makeTestCell(plan, { features }).folded.traces
    const parts = modelExplain(plan, manifest, { row, explained, traces, event: 0, category: () => null }, 2)
    expect(parts.map((part) => part.energy)).toEqual([3, 1])
  })
})
