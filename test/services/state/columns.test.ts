import { describe, expect, it } from "vitest"
import { DeviceFlag } from "../../../src/schema/event/DeviceColumns.ts"
import {
  bytesPerDevice,
  columnsBytes,
  ensureDevice,
  makeDeviceColumns,
  markDirty,
  returnDirty,
  takeDirty
} from "../../../src/services/state/columns.ts"
import { makeInterner } from "../../../src/services/state/interner.ts"
import { planOf } from "../../support/folding.ts"

const eightNumbers = planOf({
  fields: Object.fromEntries(Array.from({ length: 8 }, (_, k) => [`n${k}`, { type: "number" }])),
  windows: [{ name: "count1m", over: "1m", count: true }]
})

describe("device columns", () => {
  it("keep what was written when they grow, and give new rows unknown means", () => {
    const columns = makeDeviceColumns(eightNumbers, 2)
    ensureDevice(columns, 1)
    columns.lastTime[1] = 5
    columns.mean[1 * 10 + 9] = 0.5
    columns.window[1 * 6 + 5] = 3
    columns.threshold[1] = 2
    ensureDevice(columns, 1_000)
    expect(columns.count).toBe(1_001)
    expect(columns.lastTime[1]).toBe(5)
    expect(columns.mean[1 * 10 + 9]).toBe(0.5)
    expect(columns.window[1 * 6 + 5]).toBe(3)
    expect(columns.threshold[1]).toBe(2)
    expect(columns.mean[1_000 * 10]).toBeNaN()
    expect(columns.variance[1_000 * 10]).toBe(0)
  })

  it("take at most 200 bytes a device with the interner, from a hundred thousand devices on", () => {
    const columns = makeDeviceColumns(eightNumbers)
    const interner = makeInterner()
    const encoder = new TextEncoder()
    const id = new Uint8Array(12)
    for (let d = 0; d < 300_000; d++) {
      encoder.encodeInto(`dev-${String(d).padStart(8, "0")}`, id)
      ensureDevice(columns, interner.intern(id, 0, 12))
      if (d < 100_000 || d % 1_000 !== 0) continue
      expect((columnsBytes(columns) + interner.memoryBytes()) / columns.count).toBeLessThanOrEqual(200)
    }
    expect(bytesPerDevice(columns)).toBe(columnsBytes(columns) / 300_000)
  })

  it("list each touched row once, ascending, and start over when the list was taken", () => {
    const columns = makeDeviceColumns(eightNumbers, 1_024)
    ensureDevice(columns, 500)
    expect(takeDirty(columns)).toHaveLength(501)
    for (const row of [7, 3, 7, 400]) markDirty(columns, row)
    expect(Array.from(takeDirty(columns))).toEqual([3, 7, 400])
    expect(columns.flags[7] & DeviceFlag.dirty).toBe(0)
    expect(takeDirty(columns)).toHaveLength(0)
  })

  it("find the touched rows by their flags where more were touched than the list holds", () => {
    const columns = makeDeviceColumns(eightNumbers, 1_024)
    ensureDevice(columns, 1_023)
    takeDirty(columns)
    for (let row = 1_000; row >= 0; row -= 2) markDirty(columns, row)
    expect(columns.dirtyCount).toBeGreaterThan(columns.dirty.length)
    expect(Array.from(takeDirty(columns))).toEqual(Array.from({ length: 501 }, (_, i) => i * 2))
  })

  it("list rows again whose checkpoint failed", () => {
    const columns = makeDeviceColumns(eightNumbers)
    ensureDevice(columns, 9)
    const rows = takeDirty(columns)
    markDirty(columns, 4)
    returnDirty(columns, rows)
    expect(Array.from(takeDirty(columns))).toEqual(Array.from(rows))
  })
})
