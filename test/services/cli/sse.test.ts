import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { makeSseParser } from "../../../src/services/cli/sse.ts"

const feed = (pieces: ReadonlyArray<string>) => {
  const parse = makeSseParser()
  return pieces.flatMap((piece) => parse(piece))
}

describe("makeSseParser", () => {
  it("joins data lines, keeps the last id, skips comments", () => {
    expect(feed([": hello\n\nid: a\nevent: alert\ndata: 1\ndata: 2\n\n", "data: 3\n\n"])).toEqual([
      { event: "alert", data: "1\n2", id: "a" },
      { event: "message", data: "3", id: "a" }
    ])
  })

  it("gives the same events however the text is cut, with any line break", () => {
    const text = 'id: 1\r\nevent: alert\r\ndata: {"a":1}\r\n\r\n:\r\ndata\r\rid:2\ndata:x\n\n'
    const whole = feed([text])
    expect(whole.map((event) => event.data)).toEqual(['{"a":1}', "", "x"])
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: text.length }), { maxLength: 12 }), (cuts) => {
        const at = [0, ...[...cuts].sort((a, b) => a - b), text.length]
        expect(feed(at.slice(1).map((end, i) => text.slice(at[i], end)))).toEqual(whole)
      }),
      { seed: 7 }
    )
  })
})
