import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { type DeviceColumns, DeviceFlag } from "../../../src/schema/event/DeviceColumns.ts"
import { addRows, ensureDevice, makeDeviceColumns, takeDirty } from "../../../src/services/state/columns.ts"
import { applyRows, BadDelta, encodePage, encodeRows } from "../../../src/services/state/delta.ts"
import { makeInterner } from "../../../src/services/state/interner.ts"
import { internerOf, planOf, seeded } from "../../support/folding.ts"

const plan = planOf({
  fields: { a: { type: "number" }, b: { type: "boolean" }, c: { type: "category" } },
  windows: [{ name: "w", over: "1m", count: true }],
  baseline: { halfLife: "1d", spread: "lasting" }
})

/** Rows with something in every column. */
const filled = (count: number, seed: number): DeviceColumns => {
  const next = seeded(seed)
  const columns = makeDeviceColumns(plan, 4)
  if (count > 0) ensureDevice(columns, count - 1)
  fill(
    columns,
    next,
    Array.from({ length: count }, (_, row) => row)
  )
  return columns
}

const fill = (columns: DeviceColumns, next: () => number, rows: ReadonlyArray<number>): void => {
  for (const row of rows) {
    columns.lastTime[row] = next() * 2e12
    columns.events[row] = next() * 2 ** 32
    columns.threshold[row] = next() * 12
    columns.anchor[row] = next() * 12
    columns.quietUntil[row] = next() * 2 ** 32
    columns.flags[row] =
      (columns.flags[row] & DeviceFlag.dirty) | (Math.floor(next() * 64) & ~DeviceFlag.dirty)
    for (let k = 0; k < 4; k++) {
      columns.mean[row * 4 + k] = k === 3 ? Number.NaN : next() * 100
      columns.variance[row * 4 + k] = next()
      columns.drift[row * 4 + k] = next() * 254 - 127
    }
    for (let k = 0; k < 2; k++) {
      columns.valueHash[row * 2 + k] = next() * 256
      columns.run[row * 2 + k] = next() * 256
      columns.runMax[row * 2 + k] = next() * 256
    }
    for (let k = 0; k < 4; k++) columns.memory[row * 4 + k] = next() * 50
    for (let k = 0; k < 6; k++) columns.window[row * 6 + k] = next() * 50
  }
}

const fields = [
  "lastTime",
  "events",
  "mean",
  "variance",
  "drift",
  "valueHash",
  "run",
  "runMax",
  "window",
  "memory",
  "threshold",
  "anchor",
  "quietUntil",
  "flags"
] as const

/** What is stored of the rows; the dirty bit is not. */
const stateOf = (columns: DeviceColumns) =>
  fields.map((name) => {
    const width = columns[name].length / columns.capacity
    const values = Array.from(columns[name].subarray(0, columns.count * width))
    return [name, name === "flags" ? values.map((flags) => flags & ~DeviceFlag.dirty) : values]
  })

describe("device rows as bytes", () => {
  it("come back bit by bit, from any page size", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 1, max: 25 }),
        fc.integer(),
        (count, page, seed) => {
          const columns = filled(count, seed)
          const interner = internerOf(count)
          const copy = makeDeviceColumns(plan, 1)
          const ids = makeInterner()
          for (let from = 0; from < count; from += page) {
            applyRows(copy, ids, encodePage(columns, interner, from, from + page))
          }
          expect(copy.count).toBe(count)
          expect(stateOf(copy)).toEqual(stateOf(columns))
          expect(takeDirty(copy)).toHaveLength(0)
          for (let d = 0; d < count; d++) expect(ids.text(d)).toBe(`d${d}`)
        }
      ),
      { seed: 4, numRuns: 100 }
    )
  })

  it("base page and later deltas give the newest state, also when a delta is applied twice", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 10 }), { maxLength: 6 }),
        (rounds) => {
          const next = seeded(9)
          const columns = filled(5, 9)
          const copy = makeDeviceColumns(plan, 1)
          const ids = makeInterner()
          applyRows(copy, ids, encodePage(columns, internerOf(5), 0, 100))
          takeDirty(columns)
          for (const round of rounds) {
            for (const row of round) ensureDevice(columns, row)
            const touched = takeDirty(columns)
            fill(columns, next, Array.from(touched))
            fill(columns, next, round)
            const rows = Int32Array.from(new Set([...touched, ...round])).sort()
            const delta = encodeRows(columns, internerOf(columns.count), rows)
            expect(applyRows(copy, ids, delta)).toBe(rows.length)
            applyRows(copy, ids, delta)
          }
          expect(stateOf(copy)).toEqual(stateOf(columns))
        }
      ),
      { seed: 5, numRuns: 100 }
    )
  })

  it("rows that are not accepted get their id and stay as they are", () => {
    const columns = filled(3, 1)
    const copy = makeDeviceColumns(plan)
    const ids = makeInterner()
    expect(applyRows(copy, ids, encodePage(columns, internerOf(3), 0, 3), (row) => row !== 1)).toBe(2)
    expect(ids.count).toBe(3)
    expect(copy.lastTime[1]).toBe(0)
    expect(copy.lastTime[2]).toBe(columns.lastTime[2])
  })

  it("are refused where the stream's baseline now keeps more, or less", () => {
    const columns = filled(3, 1)
    const bytes = encodePage(columns, internerOf(3), 0, 3)
    const other = planOf({
      fields: { a: { type: "number" }, b: { type: "boolean" }, c: { type: "category" } },
      windows: [{ name: "w", over: "1m", count: true }]
    })
    expect(() => applyRows(makeDeviceColumns(other), makeInterner(), bytes)).toThrow(
      /4 more values; the stream now has .* and 0/
    )
  })

  it("may lie anywhere in memory", () => {
    const columns = filled(3, 1)
    const bytes = encodePage(columns, internerOf(3), 0, 3)
    const shifted = new Uint8Array(bytes.length + 3)
    shifted.set(bytes, 3)
    const copy = makeDeviceColumns(plan)
    applyRows(copy, makeInterner(), shifted.subarray(3))
    expect(stateOf(copy)).toEqual(stateOf(columns))
  })

  it("are refused with BadDelta, before anything is written, where a byte differs or is missing", () => {
    const bytes = encodePage(filled(4, 2), internerOf(4), 0, 4)
    const untouched = (damaged: Uint8Array) => {
      const copy = makeDeviceColumns(plan)
      const ids = makeInterner()
      expect(() => applyRows(copy, ids, damaged)).toThrow(BadDelta)
      expect([copy.count, ids.count]).toEqual([0, 0])
    }
    for (let length = 0; length < bytes.length; length++) untouched(bytes.subarray(0, length))
    for (let at = 0; at < bytes.length; at++) {
      const damaged = bytes.slice()
      damaged[at] ^= 1 << (at % 8)
      untouched(damaged)
    }
  })

  it("never crash otherwise, whatever the bytes are", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => {
        expect(() => applyRows(makeDeviceColumns(plan), makeInterner(), noise)).toThrow(BadDelta)
      }),
      { seed: 6, numRuns: 300 }
    )
  })

  it("may lie anywhere in memory, and are read where they lie", () => {
    const bytes = encodePage(filled(4, 2), internerOf(4), 0, 4)
    const within = new Uint8Array(bytes.length + 3)
    within.set(bytes, 3)
    const before = bytes.slice()
    for (const piece of [bytes, within.subarray(3)]) {
      const interner = makeInterner()
      const copy = makeDeviceColumns(plan)
      expect(applyRows(copy, interner, piece)).toBe(4)
      expect(encodePage(copy, interner, 0, 4)).toEqual(before)
    }
    expect(bytes).toEqual(before)
  })

  it("are refused where the shape, the order or the devices don't fit", () => {
    const columns = filled(4, 2)
    const page = (from: number, to: number) => encodePage(columns, internerOf(4), from, to)
    expect(() => applyRows(makeDeviceColumns(planOf()), makeInterner(), page(0, 4))).toThrow(
      /3 signals|4 signals/
    )
    expect(() => applyRows(makeDeviceColumns(plan), makeInterner(), page(2, 4))).toThrow(
      /row 2 comes before row 0/
    )
    const others = makeInterner()
    others.intern(new TextEncoder().encode("other"), 0, 5)
    const copy = makeDeviceColumns(plan)
    addRows(copy, 1)
    expect(() => applyRows(copy, others, page(0, 4))).toThrow(/another device/)
    expect(() => applyRows(makeDeviceColumns(plan), others, page(1, 4))).not.toThrow()
    const full = makeInterner({ max: 2 })
    expect(() => applyRows(makeDeviceColumns(plan), full, page(0, 4))).toThrow(/no more devices fit/)
    const twisted = makeInterner()
    const last = internerOf(4).bytesOf(3)
    twisted.intern(last, 0, last.length)
    expect(() => applyRows(makeDeviceColumns(plan), twisted, page(1, 4))).toThrow(
      /row 3 comes twice or is known under another row/
    )
  })
})
