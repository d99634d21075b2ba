import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import type { CellState } from "../../../src/schema/event/CellState.ts"
import { BadDelta, checksum } from "../../../src/services/state/badDelta.ts"
import { shareOf, topShares } from "../../../src/services/state/categoryShares.ts"
import { decodeCellState, encodeCellState, makeCellState } from "../../../src/services/state/cellState.ts"
import { planOf, seeded } from "../../support/folding.ts"

const plan = planOf({
  fields: { a: { type: "number" }, b: { type: "category", size: 5 }, c: { type: "category", size: 3 } },
  windows: [{ name: "w", over: "1m", count: true }]
})

const filled = (seed: number): CellState => {
  const next = seeded(seed)
  const cell = makeCellState(plan, 16)
  cell.watermark.newest = 1e12 * next()
  cell.ids.written = Math.floor(next() * 1e6)
  for (const array of [
    ...Object.values(cell.fleet),
    cell.shares.total,
    cell.shares.novel,
    cell.shares.usual,
    cell.energies.counts,
    cell.energies.totals,
    cell.energies.tail,
    cell.level
  ]) {
    for (let k = 0; k < array.length; k++) array[k] = next() * 10
  }
  cell.shares.weight[2] = 5
  cell.shares.weight[8] = 2
  cell.overrides.set(3, { thresholdShift: -1.5, mute: false, untilMillis: 17 })
  cell.overrides.set(1, { thresholdShift: 0, mute: true, untilMillis: 9 })
  return cell
}

describe("cell state as bytes", () => {
  it("comes back bit by bit", () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const cell = filled(seed)
        const copy = makeCellState(plan, 16)
        copy.shares.weight.fill(4)
        decodeCellState(encodeCellState(cell), copy)
        expect({ ...copy, overrides: [...copy.overrides].sort() }).toEqual({
          ...cell,
          overrides: [...cell.overrides].sort()
        })
      }),
      { seed: 7, numRuns: 50 }
    )
  })

  it("of a cell that has seen nothing comes back too, in a few kilobytes", () => {
    const copy = filled(1)
    const bytes = encodeCellState(makeCellState(plan, 16))
    decodeCellState(bytes, copy)
    expect(copy.watermark.newest).toBe(Number.NEGATIVE_INFINITY)
    expect(copy.overrides.size).toBe(0)
    expect(bytes.length).toBeLessThan(4_096)
  })

  it("is refused with BadDelta, before anything is written, where a byte differs or is missing", () => {
    const bytes = encodeCellState(filled(2))
    const untouched = (damaged: Uint8Array) => {
      const copy = makeCellState(plan, 16)
      expect(() => decodeCellState(damaged, copy)).toThrow(BadDelta)
      expect(copy).toEqual(makeCellState(plan, 16))
    }
    for (let length = 0; length < bytes.length; length += 7) untouched(bytes.subarray(0, length))
    for (let at = 0; at < bytes.length; at += 5) {
      const damaged = bytes.slice()
      damaged[at] ^= 4
      untouched(damaged)
    }
  })

  it.each([
    { version: 1, lacks: ["level", "watch"] as const },
    { version: 2, lacks: ["watch"] as const }
  ])("of version $version, which knew no $lacks, is read as far as it goes", ({ lacks, version }) => {
    const cell = filled(3)
    cell.watch.set([1, 3])
    const bytes = encodeCellState(cell)
    // What it lacks stands behind watermark, ids and the other fixed arrays.
    const fixed = [...Object.values(cell.fleet), cell.shares.total, cell.shares.novel, cell.shares.usual]
    const before = [...fixed, cell.energies.totals, cell.energies.tail, cell.energies.counts]
    if (version > 1) before.push(cell.level)
    const at = 32 + 8 * (3 + before.reduce((sum, array) => sum + array.length, 0))
    const missing = 8 * lacks.reduce((sum, name) => sum + cell[name].length, 0)
    const old = new Uint8Array(bytes.length - missing)
    old.set(bytes.subarray(0, at))
    old.set(bytes.subarray(at + missing), at)
    const head = new Uint32Array(old.buffer, 0, 8)
    head[1] = version
    head[6] = old.length
    head[7] = checksum(old.buffer, 7)
    const copy = makeCellState(plan, 16)
    decodeCellState(old, copy)
    const made = makeCellState(plan, 16)
    expect({ ...copy, overrides: [...copy.overrides].sort() }).toEqual({
      ...cell,
      ...Object.fromEntries(lacks.map((name) => [name, made[name]])),
      overrides: [...cell.overrides].sort()
    })
  })

  it("is refused for another plan or another number of ids", () => {
    const bytes = encodeCellState(filled(2))
    expect(() => decodeCellState(bytes, makeCellState(planOf(), 16))).toThrow(
      /categories; the stream now has/
    )
    expect(() => decodeCellState(bytes, makeCellState(plan, 17))).toThrow(/event ids/)
  })
})

describe("category shares", () => {
  it("tell how common values are", () => {
    const { shares } = makeCellState(plan)
    expect(shareOf(shares, 0, 1)).toBe(0)
    shares.weight[2] = 3
    shares.weight[3] = 1
    shares.total[0] = 4
    expect(shareOf(shares, 0, 1)).toBe(0.75)
    expect(topShares(shares, 0, 5)).toEqual([
      [1, 0.75],
      [2, 0.25]
    ])
  })
})
