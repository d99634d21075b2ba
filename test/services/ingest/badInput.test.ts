// Bad input never stops a cell: each kind is refused with its reason, quickly, and leaves nothing behind.
import { describe, expect, it } from "vitest"
import { DeadLetterReason } from "../../../src/schema/event/DeadLetter.ts"
import type { StreamPlan } from "../../../src/schema/stream/StreamPlan.ts"
import { decode, fate, plan, type Value } from "./decoding.ts"

const bytes = (...parts: ReadonlyArray<string | ReadonlyArray<number>>): Uint8Array =>
  Buffer.concat(
    parts.map((part) => (typeof part === "string" ? Buffer.from(part, "utf8") : Buffer.from(part)))
  )

const required: StreamPlan = {
  ...plan,
  numbers: plan.numbers.map((column) => ({ ...column, required: true })),
  categories: plan.categories.map((column) => ({ ...column, required: true }))
}

const good = '"device":"d","ts":1'

const cases: ReadonlyArray<readonly [title: string, value: Value, reason: DeadLetterReason | "taken"]> = [
  ["no value", null, "tombstone"],
  ["no bytes", "", "empty"],
  ["white space only", " \n", "bad-json"],
  ["a byte-order mark", `\ufeff{${good}}`, "byte-order-mark"],
  ["JSON cut short", `{${good},"load":1`, "bad-json"],
  ["a string cut short", `{${good},"proto":"tc`, "bad-json"],
  ["a trailing comma", `{${good},}`, "bad-json"],
  ["something after the event", `{${good}} {}`, "bad-json"],
  ["NaN", `{${good},"load":NaN}`, "bad-json"],
  ["Infinity", `{${good},"load":-Infinity}`, "bad-json"],
  ["a leading zero", `{${good},"load":01}`, "bad-json"],
  ["a leading plus", `{${good},"load":+1}`, "bad-json"],
  ["a fraction without digits", `{${good},"load":1.}`, "bad-json"],
  ["a hexadecimal number", `{${good},"x":0x10}`, "bad-json"],
  ["single quotes", "{'device':'d','ts':1}", "bad-json"],
  ["a comment", `{${good}/**/}`, "bad-json"],
  ["a raw line break in a string", `{${good},"x":"a\nb"}`, "bad-json"],
  ["an unknown escape", `{${good},"x":"\\x41"}`, "bad-json"],
  ["a truncated unicode escape", `{${good},"x":"\\u00e"}`, "bad-json"],
  ["a stray UTF-8 byte", bytes(`{${good},"x":"`, [0xff], '"}'), "bad-utf8"],
  ["an overlong sequence", bytes(`{${good},"x":"`, [0xc0, 0xaf], '"}'), "bad-utf8"],
  ["a surrogate in UTF-8", bytes(`{${good},"x":"`, [0xed, 0xa0, 0x80], '"}'), "bad-utf8"],
  ["a code point above U+10FFFF", bytes(`{${good},"x":"`, [0xf4, 0x90, 0x80, 0x80], '"}'), "bad-utf8"],
  ["a sequence cut by the end", bytes(`{${good},"x":"`, [0xe2, 0x82]), "bad-utf8"],
  ["UTF-16", Buffer.from(`\ufeff{${good}}`, "utf16le"), "bad-utf8"],
  ["an array", `[{${good}}]`, "not-an-object"],
  ["a string", '"event"', "not-an-object"],
  ["a null", "null", "not-an-object"],
  ["a repeated device", `{${good},"device":"d"}`, "duplicate-key"],
  ["a repeated field", `{${good},"load":1,"load":1}`, "duplicate-key"],
  ["a field repeated in another spelling", `{${good},"load":1,"l\\u006fad":2}`, "duplicate-key"],
  ["a repeated key that nothing declares", `{${good},"x":1,"x":2}`, "taken"],
  ["no device", '{"ts":1}', "missing-device"],
  ["a device that is null", '{"device":null,"ts":1}', "missing-device"],
  ["an empty device", '{"device":"","ts":1}', "bad-device"],
  ["a device that is an object", '{"device":{"id":1},"ts":1}', "bad-device"],
  ["a device that is a fraction", '{"device":1.5,"ts":1}', "bad-device"],
  ["a device that is a boolean", '{"device":true,"ts":1}', "bad-device"],
  ["a device of 512 bytes", `{"device":"${"é".repeat(256)}","ts":1}`, "taken"],
  ["a device of 513 bytes", `{"device":"${"é".repeat(256)}x","ts":1}`, "bad-device"],
  ["a device with half a pair", '{"device":"a\\ud800","ts":1}', "bad-device"],
  ["a device with the halves swapped", '{"device":"\\udc00\\ud800","ts":1}', "bad-device"],
  ["no time", '{"device":"d"}', "missing-time"],
  ["a time that is null", '{"device":"d","ts":null}', "missing-time"],
  ["a time that is no date", '{"device":"d","ts":"yesterday"}', "bad-time"],
  ["a time that is digits in a string", '{"device":"d","ts":"1760000000000"}', "bad-time"],
  ["a time before the epoch", '{"device":"d","ts":-1}', "bad-time"],
  ["a date before the epoch", '{"device":"d","ts":"1969-12-31T23:59:59Z"}', "bad-time"],
  ["a time no Date can hold", '{"device":"d","ts":8640000000000001}', "bad-time"],
  ["an endless time", '{"device":"d","ts":1e999}', "bad-time"],
  ["a time that is a list", '{"device":"d","ts":[2025,10,9]}', "bad-time"],
  ["an empty id", `{${good},"id":""}`, "bad-id"],
  ["an id of 257 bytes", `{${good},"id":"${"i".repeat(257)}"}`, "bad-id"],
  ["an id that is a fraction", `{${good},"id":0.5}`, "bad-id"],
  ["an id that is a list", `{${good},"id":[]}`, "bad-id"],
  ["1e999", `{${good},"load":1e999}`, "number-out-of-range"],
  ["-1e999", `{${good},"load":-1e999}`, "number-out-of-range"],
  ["1e999 where nothing is declared", `{${good},"x":1e999}`, "taken"],
  ["2^53 + 1", `{${good},"load":9007199254740993}`, "unsafe-integer"],
  ["-2^53", `{${good},"load":-9007199254740992}`, "unsafe-integer"],
  ["2^53 - 1", `{${good},"load":9007199254740991}`, "taken"],
  ["2^53 + 1 as a fraction", `{${good},"load":9007199254740993.0}`, "taken"],
  ["a number in a string", `{${good},"load":"1"}`, "wrong-type"],
  ["a number that is a list", `{${good},"load":[1]}`, "wrong-type"],
  ["a boolean that is a number", `{${good},"up":1}`, "wrong-type"],
  ["a category that is a fraction", `{${good},"proto":1.5}`, "wrong-type"],
  ["a category that is an object", `{${good},"proto":{}}`, "wrong-type"],
  ["a category with half a pair", `{${good},"proto":"\\udfff"}`, "wrong-type"],
  ["32 levels", `{${good},"x":${"[".repeat(31)}${"]".repeat(31)}}`, "taken"],
  ["33 levels", `{${good},"x":${"[".repeat(32)}${"]".repeat(32)}}`, "too-deep"],
  ["33 levels in an array", `${"[".repeat(33)}${"]".repeat(33)}`, "too-deep"],
  [
    "33 levels below a declared field",
    `{${good},"load":${'{"a":'.repeat(32)}1${"}".repeat(32)}}`,
    "too-deep"
  ],
  ["keys of Object.prototype", `{${good},"__proto__":{"load":1},"constructor":1,"toString":null}`, "taken"]
]

describe("a bad event", () => {
  it.each(cases)("%s", (_, value, reason) => {
    expect(fate(value)).toBe(reason)
    expect(fate(value, { strictOnly: true })).toBe(reason)
  })

  it("without a required field says which", () => {
    const { rejects } = decode(
      [
        `{${good},"temp":1,"up":true,"proto":"a","user":"b"}`,
        `{${good},"load":1,"temp":1,"up":true,"user":"b"}`
      ],
      {
        plan: required
      }
    )
    expect(rejects.reason).toEqual(["missing-field", "missing-field"])
    expect(rejects.detail).toEqual([
      "field load: expected a number, got nothing",
      "field proto: expected a string, an integer or a boolean, got nothing"
    ])
  })

  it("is told apart in a few words, without quoting much of it", () => {
    const secret = "s3cret".repeat(100)
    const values = cases
      .map(([, value]) => value)
      .concat(
        `{"device":["${secret}"],"ts":1}`,
        `{${good},"load":"${secret}"}`,
        `{${good},"id":"${secret}"}`,
        secret
      )
    const { rejects } = decode(values)
    for (const detail of rejects.detail) {
      expect(detail.length).toBeLessThan(200)
      expect(detail).not.toContain("s3cret")
      expect(detail).toMatch(/expected|cannot stand there|nests deeper/)
    }
  })

  it("leaves no device and no category behind", () => {
    const { devices, categories, out } = decode([
      '{"device":"ghost","ts":1,"proto":"p","user":1.5}',
      '{"device":"ghost","ts":1,"proto":"p","load":1e999}',
      '{"device":"ghost","proto":"p","ts":1',
      '{"device":"ghost","proto":"p"}'
    ])
    expect(out.count).toBe(0)
    expect(devices.count).toBe(0)
    expect(categories[0].count).toBe(0)
  })

  it("does not disturb its neighbours", () => {
    const { out, rejects, devices } = decode([
      `{${good},"x":"`,
      '{"device":"e","ts":1}',
      `{${good}`,
      null,
      '","device":"f","ts":1}'
    ])
    expect(Array.from({ length: out.count }, (_, row) => devices.text(out.device[row]))).toEqual(["e"])
    expect(rejects.record).toEqual([0, 2, 3, 4])
  })
})

describe("a huge event", () => {
  const limits = { eventBytesMax: 1_048_576, depthMax: 32 }

  /** Best of three, ms; the first also warms up. */
  const millis = (value: Value): number => {
    let best = Number.POSITIVE_INFINITY
    for (let k = 0; k < 3; k++) {
      const from = performance.now()
      decode([value], { limits })
      best = Math.min(best, performance.now() - from)
    }
    return best
  }

  it("over the limit is refused before anything looks at it", () => {
    const value = Buffer.alloc(limits.eventBytesMax + 1, 0xff)
    expect(fate(value, { limits })).toBe("too-large")
    const { rejects } = decode([Buffer.alloc(10_000_000, "{")], { limits })
    expect(rejects.detail).toEqual(["the event has 10000000 bytes: expected at most 1048576"])
  })

  it.each([
    ["10^5 levels of arrays", `{${good},"x":${"[".repeat(100_000)}`, "too-deep"],
    ["10^5 levels of objects", `${'{"device":'.repeat(100_000)}`, "too-deep"],
    ["a string of backslashes", `{${good},"x":"${"\\\\".repeat(500_000)}"}`, "taken"],
    ["a device of escapes", `{"ts":1,"device":"${"\\u0041".repeat(150_000)}"}`, "bad-device"],
    ["an open string", `{${good},"x":"${"a".repeat(1_000_000)}`, "bad-json"],
    ["a number of a million digits", `{${good},"load":0.${"1".repeat(1_000_000)}}`, "taken"],
    ["a list of 500,000 numbers", `{${good},"x":[${"1,".repeat(500_000)}1]}`, "taken"],
    ["100,000 keys", `{${good}${',"k":null'.repeat(100_000)}}`, "taken"],
    ["a repeated key, 90,000 times", `{${good}${',"load":1'.repeat(90_000)}}`, "duplicate-key"],
    ["white space", `{${good}${" ".repeat(1_000_000)}}`, "taken"]
  ])("of %s costs no more than its size", (_, value, reason) => {
    expect(fate(value, { limits })).toBe(reason)
    // Reading it is a few milliseconds' work (bench/decode.ts); anything worse than linear would be minutes.
    expect(millis(value)).toBeLessThan(2_000)
  })

  it("among many open strings costs no more than its own bytes", () => {
    // Each is cut so that it would go on as JSON in the next one, if anything read past its end.
    const values = Array.from({ length: 20_000 }, (_, i) => (i % 2 === 0 ? '{"x":"}' : '","y":"}'))
    const from = performance.now()
    expect(decode(values).rejects.count).toBe(values.length)
    expect(performance.now() - from).toBeLessThan(2_000)
  })
})

describe("the reasons", () => {
  it("of decoding are all met here", () => {
    const met = new Set(
      cases.map(([, , reason]) => reason as string).concat("too-large", "missing-field", "bad-envelope")
    )
    // Given by others: the reader of the log, the id window, the cell.
    const elsewhere = new Set(["id-conflict", "undecodable-batch", "handler-failed"])
    expect(DeadLetterReason.literals.filter((reason) => !met.has(reason) && !elsewhere.has(reason))).toEqual(
      []
    )
  })
})
