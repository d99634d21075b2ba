import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import {
  addToWindow,
  advanceWindow,
  bucketOf,
  bucketSpan,
  windowAt
} from "../../../src/services/feature/window.ts"
import { makeTestCell, planOf, T0 } from "../../support/folding.ts"

describe("window ring", () => {
  it("sums the current sub-bucket and the five before it, as a plain list would", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: -3, max: 5 })), {
          maxLength: 60
        }),
        (steps) => {
          const ring = new Float32Array(6)
          const added: Array<readonly [bucket: number, amount: number]> = []
          let newest = 100
          for (const [forward, amount] of steps) {
            const bucket = newest + forward
            advanceWindow(ring, 0, newest, bucket)
            newest = bucket
            const expected = added
              .filter(([at]) => at > bucket - 6)
              .reduce((sum, [, value]) => sum + value, 0)
            expect(windowAt(ring, 0, newest, bucket)).toBe(expected)
            addToWindow(ring, 0, newest, bucket, amount)
            added.push([bucket, amount])
          }
        }
      ),
      { seed: 8, numRuns: 200 }
    )
  })

  it("reads the past and the future without changing anything", () => {
    const ring = new Float32Array([0, 0, 0, 0, 0, 0])
    for (let bucket = 10; bucket <= 15; bucket++) addToWindow(ring, 0, 15, bucket, 1)
    expect([9, 10, 12, 15, 17, 20, 21].map((bucket) => windowAt(ring, 0, 15, bucket))).toEqual([
      0, 1, 3, 6, 4, 1, 0
    ])
  })

  it("drops what is too old for the ring", () => {
    const ring = new Float32Array(6)
    addToWindow(ring, 0, 15, 9, 1)
    expect(Array.from(ring)).toEqual([0, 0, 0, 0, 0, 0])
  })

  it("works on both sides of 1970", () => {
    expect(bucketOf(-1, bucketSpan(60_000))).toBe(-1)
    const ring = new Float32Array(6)
    addToWindow(ring, 0, -1, -3, 2)
    expect(windowAt(ring, 0, -1, -1)).toBe(2)
  })
})

describe("windows of a stream", () => {
  const plan = planOf({
    fields: { bytes: { type: "number" } },
    windows: [
      { name: "count1m", over: "1m", count: true },
      { name: "bytes1m", over: "1m", sum: "bytes" }
    ]
  })

  it("are given to rules as they were before the event, by event time", () => {
    const cell = makeTestCell(plan)
    const start = Math.ceil(T0 / 60_000) * 60_000 - T0
    cell.run([
      { device: 0, at: start, numbers: [5] },
      { device: 0, at: start + 1_000, numbers: [7] },
      { device: 1, at: start + 2_000, numbers: [100] },
      { device: 0, at: start + 30_000 },
      { device: 0, at: start + 40_000, numbers: [1] },
      { device: 0, at: start + 65_000, numbers: [1] },
      { device: 0, at: start + 500_000, numbers: [1] }
    ])
    const rows = Array.from({ length: 7 }, (_, i) => [
      cell.folded.windows[i * 2],
      cell.folded.windows[i * 2 + 1]
    ])
    expect(rows).toEqual([
      [0, 0],
      [1, 5],
      [0, 0],
      [2, 12],
      [3, 12],
      [2, 1],
      [0, 0]
    ])
  })

  it("put an event that comes out of order where it belongs", () => {
    const cell = makeTestCell(plan)
    const start = Math.ceil(T0 / 60_000) * 60_000 - T0
    cell.run([
      { device: 0, at: start + 30_000, numbers: [1] },
      { device: 0, at: start + 5_000, numbers: [10] },
      { device: 0, at: start + 31_000, numbers: [1] },
      { device: 0, at: start + 62_000, numbers: [1] }
    ])
    expect([0, 1, 2, 3].map((i) => cell.folded.windows[i * 2 + 1])).toEqual([0, 0, 11, 2])
  })
})
