// The scanner and the strict parser agree on every input, and the strict parser agrees with JSON.parse.
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { makeEventColumns } from "../../../src/schema/event/Batch.ts"
import type { StreamPlan } from "../../../src/schema/stream/StreamPlan.ts"
import { viewOf } from "../../../src/services/ingest/hash.ts"
import { layOut } from "../../../src/services/ingest/keys.ts"
import { batchOf } from "../../../src/services/ingest/recordBatch.ts"
import { makeScanner } from "../../../src/services/ingest/scan.ts"
import {
  type DecodeOptions,
  decode,
  plainInterner,
  plainRows,
  plan,
  RECORD_TIME,
  type Value
} from "./decoding.ts"
import { eventBytes, eventText, numberText, plainEventText } from "./eventTexts.ts"

const agree = (values: ReadonlyArray<Value>, options: DecodeOptions = {}): void => {
  expect(plainRows(decode(values, options))).toEqual(
    plainRows(decode(values, { ...options, strictOnly: true }))
  )
}

/** How many of `values` the scanner takes by itself. */
const takenByScanner = (values: ReadonlyArray<Uint8Array>): number => {
  const batch = batchOf(
    values.map((value, offset) => ({ offset, timestamp: RECORD_TIME, value })),
    values.length,
    values.length
  )
  const interners = { devices: plainInterner(), categories: plan.categories.map(() => plainInterner()) }
  const scanner = makeScanner(plan, layOut(plan), interners, 32)
  const out = makeEventColumns(values.length, plan.numbers.length, plan.categories.length)
  const view = viewOf(batch.bytes)
  for (let r = 0; r < batch.count; r++) scanner.take(batch, view, r, undefined, out)
  return out.count
}

const plans: ReadonlyArray<StreamPlan> = [
  plan,
  { ...plan, time: undefined, id: undefined },
  { ...plan, timeScale: 1e-3, numbers: plan.numbers.map((column) => ({ ...column, required: true })) },
  // One key for several things.
  {
    ...plan,
    device: ["user"],
    id: ["proto"],
    numbers: [...plan.numbers, { name: "seen", path: ["ts"], log: false, boolean: false, required: false }],
    categories: plan.categories.map((column) => ({ ...column, required: true }))
  }
]

describe("the scanner and the strict parser", () => {
  it("give the same rows and the same refusals for any events, whole or broken", () => {
    fc.assert(
      fc.property(
        fc.array(eventBytes, { minLength: 1, maxLength: 24 }),
        fc.constantFrom(...plans),
        (values, used) => agree(values, { plan: used })
      ),
      { seed: 1_101, numRuns: 500 }
    )
  })

  it("agree on one event cut at every byte, with every bit flipped, and with any byte put in or taken for another", () => {
    const event = Buffer.from(
      '{"id":"e-1","device":"dévice-1", "ts":1760000000123,"load":-12.5,"x":{"a":[1,"\\u00e9"]},"temp":1e-1,"up":true,"proto":"tcp","y":-1,"user":null}'
    )
    const strange = [
      ...Buffer.from('{}[]":,\\/0129-+.eE tfnu'),
      0x00,
      0x09,
      0x0a,
      0x1f,
      0x7f,
      0x80,
      0xc3,
      0xff
    ]
    const cuts = Array.from({ length: event.length + 1 }, (_, length) => event.subarray(0, length))
    const flips = Array.from({ length: event.length * 8 }, (_, bit) => {
      const flipped = Buffer.from(event)
      flipped[bit >> 3] ^= 1 << (bit & 7)
      return flipped
    })
    const changed = [...event].flatMap((_, at) =>
      strange.flatMap((byte) => [
        Buffer.from([...event.subarray(0, at), byte, ...event.subarray(at)]),
        Buffer.from([...event.subarray(0, at), byte, ...event.subarray(at + 1)])
      ])
    )
    // Whole events between the broken ones keep the scanner's memory of the keys warm.
    agree([...cuts, ...flips, ...changed].flatMap((broken) => [event, broken]))
  })

  it("agree where values that nobody declared stay the same, and where any bit of such an event flips", () => {
    const event = Buffer.from(
      '{"region":"eu-west-1","id":"e-1","a":[1,{"b":"}"}], "port":443 ,"device":"d","proto":"tcp","ts":17600,"up":true,"zone":"é","last":null}'
    )
    const often = Array.from({ length: 20 }, () => event)
    for (let bit = 0; bit < event.length * 8; bit++) {
      const flipped = Buffer.from(event)
      flipped[bit >> 3] ^= 1 << (bit & 7)
      agree([...often, flipped, event])
    }
  })

  it("agree for events whose other members come, go and change between long stretches of the same", () => {
    const member = fc.constantFrom(
      '"region":"eu"',
      '"region":"us"',
      '"region" : "eu" ',
      '"port":443',
      '"port":80',
      '"zone":{"a":1}',
      '"text":"a long text that nobody declared and that never changes"',
      '"load":1.5',
      '"":0',
      '"n":null'
    )
    const stretch = fc.tuple(fc.uniqueArray(member, { maxLength: 8 }), fc.integer({ min: 1, max: 40 }))
    fc.assert(
      fc.property(fc.array(stretch, { minLength: 1, maxLength: 8 }), (stretches) =>
        agree(
          stretches.flatMap(([members, times]) =>
            Array.from(
              { length: times },
              (_, i) =>
                `{${[...members, `"device":"d${i % 3}"`, ...members.slice(0, 2), '"ts":1'].join(",")}}`
            )
          )
        )
      ),
      { seed: 1_107, numRuns: 300 }
    )
  })

  it("agree on every number", () => {
    fc.assert(
      fc.property(fc.array(numberText, { minLength: 1, maxLength: 40 }), (numbers) =>
        agree(
          numbers.map(
            (number) => `{"device":"d","ts":1,"load":${number},"temp": ${number} ,"user":${number}}`
          )
        )
      ),
      { seed: 1_102, numRuns: 500 }
    )
  })

  it("agree when only few rows fit, and take up where they stopped", () => {
    fc.assert(
      fc.property(
        fc.array(eventBytes, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 4 }),
        (values, capacity) => agree(values, { capacity })
      ),
      { seed: 1_103, numRuns: 100 }
    )
  })

  it("agree in CloudEvents' binary mode", () => {
    const headers = {
      ce_specversion: "1.0",
      ce_id: "é-1",
      ce_source: "/s",
      ce_type: "t",
      ce_device: "from-header",
      ce_ts: "2025-10-09T08:53:20Z"
    }
    fc.assert(
      fc.property(fc.array(eventBytes, { minLength: 1, maxLength: 12 }), (values) =>
        agree(values, { plan: { ...plan, format: "cloudevents" }, headers })
      ),
      { seed: 1_104, numRuns: 100 }
    )
  })

  it("agree for plans with many keys of one length", () => {
    const names = Array.from({ length: 90 }, (_, i) => `k${String(i).padStart(2, "0")}x`)
    const wide: StreamPlan = {
      ...plan,
      numbers: names.map((name) => ({ name, path: [name], log: false, boolean: false, required: false }))
    }
    const member = fc.tuple(fc.constantFrom(...names, "k999", "q00x"), numberText)
    fc.assert(
      fc.property(
        fc.array(fc.uniqueArray(member, { maxLength: 90, selector: ([name]) => name }), { maxLength: 6 }),
        (events) =>
          agree(
            events.map(
              (members) =>
                `{"device":"d","ts":1${members.map(([name, text]) => `,"${name}":${text}`).join("")}}`
            ),
            { plan: wide }
          )
      ),
      { seed: 1_105, numRuns: 100 }
    )
  })

  it("share the work: the scanner takes events without escapes in declared strings, in any order and spacing", () => {
    const compact = (i: number) =>
      Buffer.from(
        `{"id":"e${i}","device":"d${i}","ts":${RECORD_TIME + i},"load":${i / 8},"up":true,"proto":"tcp"}`
      )
    const spaced = (i: number) =>
      Buffer.from(
        `{"proto": "tcp", "text": "été \\n", "up": false, "list": [1, {"a": null}], "ts": 17.5, "device": ${i}, "load": 1e3}`
      )
    const values = Array.from({ length: 200 }, (_, i) => (i % 3 === 0 ? spaced(i) : compact(i)))
    expect(takenByScanner(values)).toBe(200)
  })

  it("meets both kinds often in these tests", () => {
    const values = fc.sample(eventText, { seed: 1_106, numRuns: 1_000 }).map((text) => Buffer.from(text))
    const taken = decode(values).out.count
    const scanned = takenByScanner(values)
    expect(taken).toBeGreaterThan(300)
    expect(taken).toBeLessThan(1_000)
    expect(scanned).toBeGreaterThan(200)
    expect(scanned).toBeLessThan(taken)
  })
})

/** What JSON.parse makes of an event, or why it can't be taken; for events that repeat no key. */
const expected = (text: string): unknown => {
  let event: unknown
  try {
    event = JSON.parse(text)
  } catch {
    return "bad-json"
  }
  if (typeof event !== "object" || event === null || Array.isArray(event)) return "not-an-object"
  const own = (name: string) =>
    Object.hasOwn(event, name) ? ((event as Record<string, unknown>)[name] ?? undefined) : undefined
  const isString = (value: unknown): value is string => typeof value === "string"
  const wellFormed = (value: string) => Buffer.from(value, "utf8").toString("utf8") === value
  const numbers = ["load", "temp"].map(own)
  for (const value of numbers) {
    if (value === undefined) continue
    if (typeof value !== "number") return "wrong-type"
    if (!Number.isFinite(value)) return "number-out-of-range"
  }
  const up = own("up")
  if (up !== undefined && typeof up !== "boolean") return "wrong-type"
  const texts = ["proto", "user"].map(own)
  for (const value of texts) {
    if (isString(value) ? !wellFormed(value) : typeof value === "object") return "wrong-type"
  }
  return {
    numbers: [...numbers.map((value) => value ?? Number.NaN), up === undefined ? Number.NaN : Number(up)],
    texts
  }
}

describe("the strict parser", () => {
  it("reads what JSON.parse reads", () => {
    fc.assert(
      fc.property(plainEventText, (text) => {
        const used: StreamPlan = { ...plan, device: ["owner"], time: undefined, id: undefined }
        const result = plainRows(decode([text], { plan: used, strictOnly: true }))
        // JSON.parse rounds it without a word.
        if (result.rejects[0]?.reason === "unsafe-integer") return
        const row = result.rows[0]
        const actual =
          row === undefined
            ? result.rejects[0].reason
            : {
                numbers: row.numbers,
                texts: row.texts.map((value, c) => (row.categories[c] === -1 ? undefined : value))
              }
        const wanted = expected(text) as { texts?: ReadonlyArray<unknown> } | string
        expect(actual).toEqual(
          typeof wanted === "string"
            ? wanted
            : {
                ...wanted,
                texts: wanted.texts?.map((value) => (typeof value === "boolean" ? String(value) : value))
              }
        )
      }),
      { seed: 1_201, numRuns: 3_000 }
    )
  })

  it("takes a text as JSON exactly where JSON.parse does", () => {
    const isJson = (text: string) => {
      try {
        JSON.parse(text)
        return true
      } catch {
        return false
      }
    }
    fc.assert(
      fc.property(eventBytes, (bytes) => {
        const text = Buffer.from(bytes).toString("utf8")
        const { rejects } = decode([Buffer.from(text)], { strictOnly: true })
        const reason = rejects.count === 0 ? "taken" : rejects.reason[0]
        // Reading stops at a repeated key.
        if (reason === "duplicate-key") return
        const grammar = reason === "bad-json" || reason === "byte-order-mark" || reason === "empty"
        expect(`${text}: ${!grammar}`).toBe(`${text}: ${isJson(text)}`)
      }),
      { seed: 1_202, numRuns: 5_000 }
    )
  })
})
