// Drift: as few false alarms as promised on data that depends on itself, and found where there is one.
import { describe, expect, it } from "vitest"
import type { Manifest } from "../../../src/schema/model/Manifest.ts"
import { FALSE_ALARMS, judgeDrift, studentQuantile } from "../../../src/services/rollout/drift.ts"
import { type DriftScale, makeDriftScale } from "../../../src/services/rollout/driftScale.ts"
import { makeTableDrift } from "../../../src/services/rollout/tableDrift.ts"
import { fitTail } from "../../../src/services/train/calibrate.ts"
import { makeRandom, type Random } from "../../../src/services/train/random.ts"
import { makeReference } from "../../../src/services/train/reference.ts"

const WIDTH = 6
const features: Manifest["features"] = Array.from({ length: WIDTH }, (_, at) => ({
  kind: "value",
  field: `f${at}`
}))

/** Rows of one source whose features each follow their own past: x = ρ x' + √(1 − ρ²) e; normal, whatever ρ. */
const makeSource = (random: Random, memory: number) => {
  const row = Float32Array.from({ length: WIDTH }, () => random.normal())
  return (): Float32Array => {
    for (let k = 0; k < WIDTH; k++)
      row[k] = memory * row[k] + Math.sqrt(1 - memory * memory) * random.normal()
    return row
  }
}
const energyOf = (row: Float32Array) => row.reduce((sum, value) => sum + value * value, 0) / 2

const scaleOf = (next: () => Float32Array, count = 6_000): DriftScale => {
  const rows = new Float32Array(count * WIDTH)
  for (let at = 0; at < count; at++) rows.set(next(), at * WIDTH)
  const energies = Float64Array.from({ length: count / 2 }, (_, at) =>
    energyOf(rows.subarray(at * WIDTH, (at + 1) * WIDTH))
  )
  const manifest = { features, reference: makeReference({ rows, count, width: WIDTH }) }
  return makeDriftScale(manifest, fitTail(energies)) as DriftScale
}

const reportOf = (scale: DriftScale, next: () => Float32Array, count: number) => {
  const drift = makeTableDrift(scale)
  for (let at = 0; at < count; at++) {
    const row = next()
    drift.count(energyOf(row), row)
  }
  return drift.report()
}

describe("the bound of chance", () => {
  it("has Student's quantiles", () => {
    // Tables of the two-sided quantile.
    expect(studentQuantile(0.05, 1)).toBeCloseTo(12.706, 2)
    expect(studentQuantile(0.01, 2)).toBeCloseTo(9.925, 2)
    expect(studentQuantile(0.05, 3)).toBeCloseTo(3.182, 2)
    expect(studentQuantile(0.001, 7)).toBeCloseTo(5.408, 2)
    expect(studentQuantile(0.001, 10)).toBeCloseTo(4.587, 2)
  })

  it.each([
    ["independent rows", 0, 300],
    ["independent rows, many", 0, 5_000],
    ["rows that follow their past", 0.9, 600],
    ["rows that follow it for long", 0.98, 5_000]
  ])("lets as few false alarms through as promised: %s", (_, memory, count) => {
    const runs = 150
    let alarms = 0
    for (let run = 0; run < runs; run++) {
      const random = makeRandom(run + 1, 70)
      const scale = scaleOf(makeSource(random, memory))
      if (reportOf(scale, makeSource(random, memory), count).state !== "stable") alarms++
    }
    // Three deviations above the promise.
    expect(alarms / runs).toBeLessThanOrEqual(FALSE_ALARMS + 3 * Math.sqrt(FALSE_ALARMS / runs))
  })
})

describe("a drift of a table", () => {
  it.each([
    [0, 1_500],
    [0.9, 12_000]
  ])("of one feature by one deviation is found and named; memory %d, within %d rows", (memory, count) => {
    const runs = 30
    let found = 0
    for (let run = 0; run < runs; run++) {
      const random = makeRandom(run + 1, 71)
      const scale = scaleOf(makeSource(random, memory))
      const next = makeSource(random, memory)
      const shifted = new Float32Array(WIDTH)
      const report = reportOf(
        scale,
        () => {
          shifted.set(next())
          shifted[2] += 1
          return shifted
        },
        count
      )
      if (report.state === "drifted" && report.features[0].feature === "f2") found++
    }
    expect(found / runs).toBeGreaterThan(0.9)
  })

  it("of missing values, and of a constant that is one no more", () => {
    const random = makeRandom(5, 72)
    const source = makeSource(random, 0)
    const row = new Float32Array(WIDTH)
    const plain = () => {
      row.set(source())
      row[4] = 7
      return row
    }
    const scale = scaleOf(plain)
    const report = reportOf(
      scale,
      () => {
        plain()
        if (random.uniform() < 0.5) row[1] = Number.NaN
        if (random.uniform() < 0.3) row[4] = 8
        return row
      },
      4_000
    )
    expect(report.features.filter(({ state }) => state === "drifted").map(({ feature }) => feature)).toEqual(
      expect.arrayContaining(["f1", "f4"])
    )
    expect(reportOf(scale, plain, 4_000).state).toBe("stable")
  })

  it("is unknown of too few rows, and of a model without a reference", () => {
    const scale = scaleOf(makeSource(makeRandom(6, 73), 0))
    expect(reportOf(scale, makeSource(makeRandom(7, 73), 0), 60).state).toBe("unknown")
    expect(makeDriftScale({ features, reference: undefined }, fitTail(Float64Array.of(1, 2)))).toBeUndefined()
  })
})

describe("groups of devices", () => {
  const shares = Array.from({ length: 11 }, (_, bin) => (bin < 10 ? 0.1 : 0))
  const reference = [{ name: "energy", shares, rows: 3_000 }]
  const even = (weight: number, shift = 0) =>
    Float32Array.from(shares, (share, bin) => weight * (bin === 9 ? share + shift : share * (1 - shift)))
  const blocks = (shift: number) => Array.from({ length: 8 }, () => even(500, shift))

  it("tell what one does from what all do", () => {
    const all = judgeDrift(
      { blocks: blocks(0.4), groups: Array.from({ length: 4 }, () => even(1_000, 0.4)), rows: 4_000 },
      reference
    )
    expect(all.state).toBe("drifted")
    // As much in the sum, all of it in one group.
    const one = judgeDrift(
      { blocks: blocks(0.4), groups: [even(1_000), even(1_000), even(1_000), even(2_000, 0.9)], rows: 4_000 },
      reference
    )
    expect(one.state).toBe("stable")
  })
})
