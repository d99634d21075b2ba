import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { EventFlag } from "../../../src/schema/event/Batch.ts"
import { BadDelta } from "../../../src/services/state/badDelta.ts"
import {
  encodeIdPage,
  ID_PAGE_ENTRIES,
  ID_WINDOW_MAX,
  idPagesSince,
  makeIdWindow,
  markRepeats,
  restoreIdPages,
  seen
} from "../../../src/services/state/idWindow.ts"
import { eventsOf, planOf } from "../../support/folding.ts"

describe("id window", () => {
  it("tells new, duplicate and conflicting events apart", () => {
    const ids = makeIdWindow(8)
    expect(seen(ids, 1, 2, 77)).toBe(0)
    expect(seen(ids, 1, 2, 77)).toBe(1)
    expect(seen(ids, 1, 2, 78)).toBe(2)
    expect(seen(ids, 2, 1, 77)).toBe(0)
  })

  it("holds no more than its slots can name", () => {
    for (const capacity of [0, ID_WINDOW_MAX + 1, Number.NaN]) {
      expect(() => makeIdWindow(capacity)).toThrow(RangeError)
    }
  })

  it("takes events without an id as new, every time", () => {
    const ids = makeIdWindow(8)
    expect(seen(ids, 0, 0, 1)).toBe(0)
    expect(seen(ids, 0, 0, 1)).toBe(0)
    expect(ids.written).toBe(0)
  })

  it("remembers exactly the last ids, as a plain list would", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20 }),
        fc.array(fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 2 })), {
          maxLength: 400
        }),
        (capacity, events) => {
          const ids = makeIdWindow(capacity)
          let list: Array<readonly [number, number]> = []
          for (const [id, content] of events) {
            const known = list.find(([other]) => other === id)
            expect(seen(ids, id, id * 3, content)).toBe(
              known === undefined ? 0 : known[1] === content ? 1 : 2
            )
            if (known === undefined) list = [...list, [id, content] as const].slice(-capacity)
          }
        }
      ),
      { seed: 3, numRuns: 200 }
    )
  })

  it("flags repeats in a batch", () => {
    const plan = planOf()
    const events = eventsOf(plan, [
      { device: 0, at: 0, id: 5, content: 1 },
      { device: 0, at: 1, id: 5, content: 1 },
      { device: 0, at: 2, id: 5, content: 2 },
      { device: 0, at: 3 }
    ])
    expect(markRepeats(makeIdWindow(8), events, 0, 4)).toBe(2)
    expect(Array.from(events.flags)).toEqual([0, EventFlag.duplicate, EventFlag.conflict, 0])
  })

  it("is restored from pages, of which only the changed ones need storing again", () => {
    const ids = makeIdWindow(10_000)
    const stored = new Map<number, Uint8Array>()
    let saved = 0
    for (let n = 1; n <= 23_456; n++) {
      seen(ids, n, n >> 3, n)
      if (n % 1_000 !== 0 && n !== 23_456) continue
      const pages = idPagesSince(ids, saved)
      expect(pages.length).toBeLessThanOrEqual(2)
      for (const page of pages) stored.set(page, encodeIdPage(ids, page))
      saved = ids.written
    }
    const copy = makeIdWindow(10_000)
    copy.written = ids.written
    restoreIdPages(copy, stored)
    for (let n = 23_456; n > 13_456; n--) expect(seen(copy, n, n >> 3, n)).toBe(1)
    expect(seen(copy, 13_456, 13_456 >> 3, 13_456)).toBe(0)
  })

  it("refuses pages that are missing, cut or damaged", () => {
    const ids = makeIdWindow(ID_PAGE_ENTRIES * 2)
    for (let n = 1; n <= ID_PAGE_ENTRIES + 5; n++) seen(ids, n, 0, 0)
    const [first, second] = [encodeIdPage(ids, 0), encodeIdPage(ids, 1)]
    const restore = (pages: ReadonlyMap<number, Uint8Array>) => {
      const copy = makeIdWindow(ID_PAGE_ENTRIES * 2)
      copy.written = ids.written
      restoreIdPages(copy, pages)
    }
    expect(() => restore(new Map([[0, first]]))).toThrow(BadDelta)
    expect(() =>
      restore(
        new Map([
          [0, first],
          [1, second.subarray(4)]
        ])
      )
    ).toThrow(BadDelta)
    const damaged = second.slice()
    damaged[9] ^= 1
    expect(() =>
      restore(
        new Map([
          [0, first],
          [1, damaged]
        ])
      )
    ).toThrow(/damaged/)
    expect(() =>
      restore(
        new Map([
          [0, first],
          [1, second]
        ])
      )
    ).not.toThrow()
  })
})
