import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import { INTERNED_BYTES_MAX, makeInterner } from "../../../src/services/state/interner.ts"

const encoder = new TextEncoder()
const bytes = (text: string) => encoder.encode(text)

describe("interner", () => {
  it("gives ids in order of arrival and the same id to the same bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "grapheme", maxLength: 20 }), { maxLength: 300 }), (texts) => {
        const interner = makeInterner()
        const known = new Map<string, number>()
        for (const text of texts) {
          const id = bytes(text)
          expect(interner.find(id, 0, id.length)).toBe(known.get(text) ?? -1)
          if (!known.has(text)) known.set(text, known.size)
          expect(interner.intern(id, 0, id.length)).toBe(known.get(text))
        }
        expect(interner.count).toBe(known.size)
        for (const [text, id] of known) expect(interner.text(id)).toBe(text)
      }),
      { seed: 1, numRuns: 200 }
    )
  })

  it("reads a string out of the middle of other bytes", () => {
    const interner = makeInterner()
    const line = bytes('{"device":"pump-7"}')
    expect(interner.intern(line, 11, 17)).toBe(0)
    expect(interner.text(0)).toBe("pump-7")
    expect(interner.find(bytes("pump-7"), 0, 6)).toBe(0)
  })

  it("keeps 200,000 ids apart, whatever the seed", () => {
    for (const seed of [undefined, 7]) {
      const interner = makeInterner(seed === undefined ? {} : { seed })
      let misplaced = 0
      for (let i = 0; i < 200_000; i++) {
        const id = bytes(`device-${i}`)
        if (interner.intern(id, 0, id.length) !== i) misplaced++
      }
      expect(misplaced).toBe(0)
      for (let i = 0; i < 200_000; i += 997) expect(interner.text(i)).toBe(`device-${i}`)
      expect(interner.find(bytes("device-200000"), 0, 13)).toBe(-1)
    }
  })

  it("gives the same ids in the same memory where room was made at once", () => {
    const names = Array.from({ length: 100_000 }, (_, i) => bytes(`device-${i}`))
    const grown = makeInterner()
    const reserved = makeInterner()
    reserved.intern(names[0], 0, names[0].length)
    reserved.reserve(names.length)
    const idsOf = (interner: typeof grown) => names.map((name) => interner.intern(name, 0, name.length))
    expect(idsOf(grown)).toEqual(names.map((_, id) => id))
    expect(idsOf(reserved)).toEqual(names.map((_, id) => id))
    expect(reserved.memoryBytes()).toBe(grown.memoryBytes())
    const full = makeInterner({ max: 1 })
    full.reserve(1_000)
    expect([full.intern(names[0], 0, 8), full.intern(names[1], 0, 8)]).toEqual([0, -1])
  })

  it("answers −1 when full, and for a string too long to store", () => {
    const interner = makeInterner({ max: 2 })
    expect(interner.intern(bytes("a"), 0, 1)).toBe(0)
    expect(interner.intern(new Uint8Array(INTERNED_BYTES_MAX + 1), 0, INTERNED_BYTES_MAX + 1)).toBe(-1)
    expect(interner.intern(bytes("b"), 0, 1)).toBe(1)
    expect(interner.intern(bytes("c"), 0, 1)).toBe(-1)
    expect(interner.intern(bytes("a"), 0, 1)).toBe(0)
    expect(interner.text(5)).toBe("")
  })

  it("restores what it serialized, in pieces", () => {
    const from = makeInterner()
    for (let i = 0; i < 1_000; i++) from.intern(bytes(`x${i * i}`), 0, `x${i * i}`.length)
    const to = makeInterner()
    expect(to.restore(from.serialize(0, 400))).toBe(400)
    expect(to.restore(from.serialize(400, 5_000))).toBe(600)
    expect(to.count).toBe(from.count)
    for (let i = 0; i < 1_000; i++) expect(to.text(i)).toBe(from.text(i))
  })

  it("says so when serialized bytes are cut, and doesn't crash on anything", () => {
    const from = makeInterner()
    from.intern(bytes("alpha"), 0, 5)
    const all = from.serialize(0, 1)
    for (let cut = 1; cut < all.length; cut++) expect(makeInterner().restore(all.subarray(0, cut))).toBe(-1)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
        expect(makeInterner().restore(noise)).toBeGreaterThanOrEqual(-1)
      }),
      { seed: 2, numRuns: 200 }
    )
  })
})
