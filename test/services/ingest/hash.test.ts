// The hashes of ids and contents are the published functions, wherever the bytes lie.
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { hashId, murmur3, viewOf, xxHash32 } from "../../../src/services/ingest/hash.ts"

const of = (hash: typeof xxHash32, text: string): number => {
  const bytes = Buffer.from(text, "latin1")
  return hash(viewOf(bytes), 0, bytes.length) >>> 0
}

describe("hashes", () => {
  it.each([
    ["", 0x02cc5d05],
    ["a", 0x550d7456],
    ["abc", 0x32d153ff],
    ["Nobody inspects the spammish repetition", 0xe2293b2f]
  ])("xxHash32 of `%s`", (text, hash) => {
    expect(of(xxHash32, text)).toBe(hash)
  })

  it.each([
    ["", 0],
    ["test", 0xba6bd213],
    ["Hello, world!", 0xc0363e43],
    ["The quick brown fox jumps over the lazy dog", 0x2e4ff723]
  ])("MurmurHash3 of `%s`", (text, hash) => {
    expect(of(murmur3, text)).toBe(hash)
  })

  it("depends on the bytes alone, not on where they lie", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), fc.nat(9), fc.nat(9), (bytes, before, after) => {
        const moved = new Uint8Array(before + bytes.length + after).fill(0xa5)
        moved.set(bytes, before)
        const low = new Int32Array(2)
        const high = new Int32Array(2)
        hashId(viewOf(bytes), 0, bytes.length, low, high, 0)
        hashId(viewOf(moved), before, before + bytes.length, low, high, 1)
        expect([low[1], high[1]]).toEqual([low[0], high[0]])
        expect([low[0], high[0]]).not.toEqual([0, 0])
      }),
      { seed: 7, numRuns: 500 }
    )
  })
})
