// Event times as text: RFC 3339, to the millisecond.
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { parseTimestamp } from "../../../src/services/ingest/time.ts"

const parse = (text: string): number => {
  // Other bytes before and after must not matter.
  const bytes = Buffer.from(`"${text}"9`)
  return parseTimestamp(bytes, 1, bytes.length - 2)
}

describe("an RFC 3339 time", () => {
  it.each([
    ["1970-01-01T00:00:00Z", 0],
    ["2025-10-09T08:53:20Z", 1_760_000_000_000],
    ["2025-10-09t08:53:20z", 1_760_000_000_000],
    ["2025-10-09 08:53:20Z", 1_760_000_000_000],
    ["2025-10-09T08:53:20+00:00", 1_760_000_000_000],
    ["2025-10-09T08:53:20-00:00", 1_760_000_000_000],
    ["2025-10-09T10:53:20+02:00", 1_760_000_000_000],
    ["2025-10-08T23:08:20-09:45", 1_760_000_000_000],
    ["2000-02-29T00:00:00Z", Date.UTC(2000, 1, 29)],
    ["9999-12-31T23:59:59.999Z", 253_402_300_799_999],
    ["0000-01-01T00:00:00Z", -62_167_219_200_000]
  ])("%s is %d ms after the epoch", (text, millis) => {
    expect(parse(text)).toBe(millis)
  })

  it.each([
    ["2025-10-09T08:53:20.1Z", 100],
    ["2025-10-09T08:53:20.12Z", 120],
    ["2025-10-09T08:53:20.9999Z", 999],
    ["2025-10-09T08:53:20.0009999999999999999999999Z", 0],
    ["2025-10-09T08:53:20.123456789+00:00", 123]
  ])("%s keeps whole milliseconds, cut and not rounded", (text, millis) => {
    expect(parse(text)).toBe(1_760_000_000_000 + millis)
  })

  it("takes a leap second as the last millisecond before it, where one can be", () => {
    const last = Date.UTC(2016, 11, 31, 23, 59, 59, 999)
    expect(parse("2016-12-31T23:59:60Z")).toBe(last)
    expect(parse("2016-12-31T23:59:60.7Z")).toBe(last)
    expect(parse("2017-01-01T05:29:60+05:30")).toBe(last)
    expect(parse("2016-12-31T15:59:60-08:00")).toBe(last)
    expect(parse("2016-12-31T23:58:60Z")).toBeNaN()
    expect(parse("2016-12-31T23:59:60+01:00")).toBeNaN()
  })

  it.each([
    "",
    "2025",
    "2025-10-09",
    "2025-10-09T08:53:20",
    "2025-10-09T08:53Z",
    "2025-10-09T08:53:20.Z",
    "2025-10-09T08:53:20,5Z",
    "2025-10-09T08:53:20+0200",
    "2025-10-09T08:53:20+24:00",
    "2025-10-09T08:53:20+01:60",
    "2025-10-09T08:53:20 Z",
    "2025-10-09T08:53:20ZZ",
    "2025-13-09T08:53:20Z",
    "2025-00-09T08:53:20Z",
    "2025-02-29T08:53:20Z",
    "1900-02-29T00:00:00Z",
    "2025-04-31T08:53:20Z",
    "2025-10-00T08:53:20Z",
    "2025-10-09T24:00:00Z",
    "2025-10-09T08:60:20Z",
    "2025-10-09T08:53:61Z",
    "2025/10/09T08:53:20Z",
    "+025-10-09T08:53:20Z",
    "-025-10-09T08:53:20Z",
    "12025-10-09T08:53:20Z",
    "2025-1O-09T08:53:20Z",
    "Thu, 09 Oct 2025 08:53:20 GMT",
    "1760000000000"
  ])("`%s` is none", (text) => {
    expect(parse(text)).toBeNaN()
  })

  it("agrees with Date on every instant and offset", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -62_167_219_200_000 + 86_400_000, max: 253_402_300_799_999 - 86_400_000 }),
        fc.integer({ min: -1_439, max: 1_439 }),
        (millis, offset) => {
          const local = new Date(millis + offset * 60_000).toISOString().slice(0, -1)
          const minutes = Math.abs(offset)
          const two = (n: number) => String(n).padStart(2, "0")
          const text = `${local}${offset < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`
          expect(parse(text)).toBe(millis)
        }
      ),
      { seed: 20_251_009, numRuns: 3_000 }
    )
  })
})
