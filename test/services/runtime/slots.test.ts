// How a region's cells are divided among its runners.
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { groupOf, SLOTS, slotOfCell } from "../../../src/schema/protocol/slots.ts"
import { assignSlots, cellsBySlot } from "../../../src/services/runtime/slots.ts"

const counts = (cells: ReadonlyArray<ReadonlyArray<string>>, owners: ReadonlyArray<string | undefined>) => {
  const byOwner: Record<string, number> = {}
  owners.forEach((owner, slot) => {
    if (owner !== undefined) byOwner[owner] = (byOwner[owner] ?? 0) + cells[slot].length
  })
  return Object.values(byOwner).sort((a, b) => b - a)
}
const nobody = Array.from({ length: SLOTS }, () => undefined)
const moved = (
  a: ReadonlyArray<string | undefined>,
  b: ReadonlyArray<string | undefined>,
  slots: ReadonlySet<number>
) => a.filter((owner, slot) => slots.has(slot) && owner !== b[slot]).length
const eight = cellsBySlot([{ stream: "flows", partitions: 8 }])
const cellSlots = new Set(Array.from({ length: 8 }, (_, p) => slotOfCell("flows", p)))

describe("slots", () => {
  it("gives partitions of a stream slots of their own, the same for ever", () => {
    expect(Array.from({ length: 3 }, (_, p) => slotOfCell("flows", p))).toEqual(
      [0, 1, 2].map((p) => (slotOfCell("flows", 0) + p) % SLOTS)
    )
    expect(slotOfCell("flows", 0)).toBe(18)
    expect(groupOf(7)).toBe("slot-07")
  })

  it.each([
    [1, [8]],
    [2, [4, 4]],
    [3, [3, 3, 2]],
    [5, [2, 2, 2, 1, 1]]
  ])("divides 8 cells among %i runners evenly", (count, expected) => {
    const runners = Array.from({ length: count }, (_, i) => `r${i}`)
    expect(counts(eight, assignSlots(eight, runners, nobody))).toEqual(expected)
  })

  it("moves only what a runner that joins or leaves makes it move", () => {
    const two = assignSlots(eight, ["a", "b"], nobody)
    const three = assignSlots(eight, ["a", "b", "c"], two)
    expect(counts(eight, three)).toEqual([3, 3, 2])
    expect(moved(two, three, cellSlots)).toBe(2)
    const back = assignSlots(eight, ["a", "b"], three)
    expect(counts(eight, back)).toEqual([4, 4])
    expect(moved(three, back, cellSlots)).toBe(2)
    // The same runners again: nothing moves.
    expect(assignSlots(eight, ["b", "a"], back)).toEqual(back)
  })

  it("divides each of several streams evenly, too", () => {
    const streams = [
      { stream: "flows", partitions: 8 },
      { stream: "sensors", partitions: 8 }
    ]
    const cells = cellsBySlot(streams)
    const owners = assignSlots(cells, ["a", "b"], assignSlots(cells, ["a"], nobody))
    expect(counts(cells, owners)).toEqual([8, 8])
    for (const { stream, partitions } of streams) {
      const own = Array.from({ length: partitions }, (_, p) => owners[slotOfCell(stream, p)])
      expect(own.filter((owner) => owner === "a")).toHaveLength(4)
    }
  })

  it("has no owner for anything where there is no runner", () => {
    expect(assignSlots(eight, [], nobody)).toEqual(nobody)
  })

  it("is even for any streams and runners, and never moves what may stay", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }),
        fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 6 }),
        (partitions, memberships) => {
          const cells = cellsBySlot(partitions.map((count, i) => ({ stream: `s${i}`, partitions: count })))
          const heaviest = Math.max(...cells.map((slot) => slot.length))
          let owners: ReadonlyArray<string | undefined> = nobody
          for (const count of memberships) {
            const runners = Array.from({ length: count }, (_, i) => `r${i}`)
            const next = assignSlots(cells, runners, owners)
            const loads = runners.map((runner) =>
              next.reduce((sum, owner, slot) => sum + (owner === runner ? cells[slot].length : 0), 0)
            )
            const empty = runners.map(
              (runner) => next.filter((owner, slot) => owner === runner && cells[slot].length === 0).length
            )
            expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(heaviest)
            expect(Math.max(...empty) - Math.min(...empty)).toBeLessThanOrEqual(1)
            expect(assignSlots(cells, runners, next)).toEqual(next)
            owners = next
          }
        }
      ),
      { numRuns: 200, seed: 7 }
    )
  })
})
