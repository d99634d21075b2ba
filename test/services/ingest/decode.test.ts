// Events become columns: what each declared field takes, and where identity comes from.
import { describe, expect, it } from "vitest"
import { EventFlag } from "../../../src/schema/event/Batch.ts"
import type { StreamPlan } from "../../../src/schema/stream/StreamPlan.ts"
import { type DecodeOptions, decode, fate, plainRows, plan, RECORD_TIME } from "./decoding.ts"

/** Both ways of decoding `text`, which have to agree; the only row. */
const row = (text: string, options: DecodeOptions = {}) => {
  const fast = plainRows(decode([text], options))
  expect(fast).toEqual(plainRows(decode([text], { ...options, strictOnly: true })))
  expect(fast.rejects).toEqual([])
  return fast.rows[0]
}

describe("an event", () => {
  it("becomes a row", () => {
    const event = row(
      '{"id":"e-1","device":"host-7","ts":1759999999000,"load":12.5,"temp":-3,"up":true,"proto":"tcp","user":"ann","other":[1,{}]}'
    )
    expect(event).toMatchObject({
      record: 0,
      device: "host-7",
      time: 1_759_999_999_000,
      flags: 0,
      numbers: [12.5, -3, 1],
      categories: [1, 1],
      texts: ["tcp", "ann"]
    })
    expect(event.id).not.toEqual([0, 0])
    expect(event.content).not.toBe(0)
  })

  it("without a field, or with null, has it missing", () => {
    const event = row('{"device":"d","ts":1,"load":null,"proto":null}')
    expect(event.numbers).toEqual([Number.NaN, Number.NaN, Number.NaN])
    expect(event.categories).toEqual([-1, -1])
    expect(event.texts).toEqual([undefined, undefined])
  })

  it("keeps numbers exactly as Number reads them", () => {
    for (const text of [
      "0.1",
      "-0",
      "1e-7",
      "123456789.123456",
      "0.30000000000000004",
      "5e-324",
      "9007199254740991"
    ]) {
      expect(row(`{"device":"d","ts":1,"load":${text}}`).numbers[0]).toBe(Number(text))
    }
  })

  it("may spell its device and categories with escapes", () => {
    const event = row('{"device":"h\\u00f6st\\/1","ts":1,"proto":"\\ud83d\\ude00","user":"plain"}')
    expect(event.device).toBe("höst/1")
    expect(event.texts).toEqual(["😀", "plain"])
  })

  it("may have integers and booleans for names, as their text", () => {
    expect(row('{"device":9007199254740993123,"ts":1,"proto":-7,"user":true}')).toMatchObject({
      device: "9007199254740993123",
      texts: ["-7", "true"]
    })
  })

  it("has the category `other` when the dictionary is full, or the text long", () => {
    const texts = ["a", "b", "c", "d", "e", "a"].map((proto) => `{"device":"d","ts":1,"proto":"${proto}"}`)
    const { out, categories } = decode([...texts, `{"device":"d","ts":1,"user":"${"u".repeat(1_025)}"}`])
    expect(Array.from({ length: 7 }, (_, r) => out.categories[r * 2])).toEqual([1, 2, 3, 4, 0, 1, -1])
    expect(out.categories[6 * 2 + 1]).toBe(0)
    expect(categories[1].count).toBe(0)
  })

  it("may hold one key for several fields", () => {
    const shared: StreamPlan = { ...plan, device: ["user"], id: ["user"] }
    expect(row('{"user":"ann","ts":1}', { plan: shared })).toMatchObject({
      device: "ann",
      texts: [undefined, "ann"]
    })
  })

  it("may nest its fields", () => {
    const nested: StreamPlan = {
      ...plan,
      device: ["host", "name"],
      numbers: [
        { ...plan.numbers[0], path: ["net", "in", "bytes"] },
        { ...plan.numbers[1], path: ["net", "in"] }
      ]
    }
    const { rows } = plainRows(
      decode(['{"host":{"name":"h"},"ts":1,"net":{"x":[{"in":1}],"in":{"bytes":5}}}'], {
        plan: { ...nested, numbers: [nested.numbers[0]] }
      })
    )
    expect(rows[0]).toMatchObject({ device: "h", numbers: [5] })
    expect(fate('{"host":{"name":"h","name":"g"},"ts":1}', { plan: nested })).toBe("duplicate-key")
    expect(fate('{"host":{"name":"h"},"ts":1,"host":{}}', { plan: nested })).toBe("duplicate-key")
    expect(fate('{"host":{"name":"h"},"ts":1,"net":{"in":{"bytes":5}}}', { plan: nested })).toBe("wrong-type")
    expect(fate('{"host":"h","ts":1}', { plan: nested })).toBe("missing-device")
  })
})

describe("an event's time", () => {
  it("is a number in the declared unit, or RFC 3339", () => {
    expect(row('{"device":"d","ts":1760000000.25}', { plan: { ...plan, timeScale: 1_000 } }).time).toBe(
      1_760_000_000_250
    )
    expect(row('{"device":"d","ts":1760000000000000000}', { plan: { ...plan, timeScale: 1e-6 } }).time).toBe(
      RECORD_TIME
    )
    expect(row('{"device":"d","ts":"2025-10-09T10:53:20.5+02:00"}').time).toBe(1_760_000_000_500)
    expect(Object.is(row('{"device":"d","ts":-0}').time, 0)).toBe(true)
  })

  it("is the record's where the stream declares none", () => {
    expect(row('{"device":"d"}', { plan: { ...plan, time: undefined } }).time).toBe(RECORD_TIME)
    expect(fate('{"device":"d"}', { plan: { ...plan, time: undefined }, timestamp: -1 })).toBe("bad-time")
  })

  it("too far ahead of the record's becomes that, and says so", () => {
    const at = RECORD_TIME + plan.aheadMillis
    expect(row(`{"device":"d","ts":${at}}`)).toMatchObject({ time: at, flags: 0 })
    expect(row(`{"device":"d","ts":${at + 1}}`)).toMatchObject({ time: RECORD_TIME, flags: EventFlag.ahead })
  })
})

describe("an event's id", () => {
  it("has one hash, however it is spelled", () => {
    const ids = ['"42"', "42", '"\\u0034\\u0032"'].map((id) => row(`{"id":${id},"device":"d","ts":1}`).id)
    expect(ids[1]).toEqual(ids[0])
    expect(ids[2]).toEqual(ids[0])
    expect(row('{"id":"43","device":"d","ts":1}').id).not.toEqual(ids[0])
  })

  it("comes with a hash of all bytes, and without one there is none", () => {
    const first = row('{"id":"1","device":"d","ts":1,"load":1}')
    const second = row('{"id":"1","device":"d","ts":1,"load":2}')
    expect(second.id).toEqual(first.id)
    expect(second.content).not.toBe(first.content)
    expect(row('{"id":null,"device":"d","ts":1}')).toMatchObject({ id: [0, 0], content: 0 })
  })
})

describe("decoding", () => {
  it("stops where the columns are full", () => {
    const texts = ['{"device":"a","ts":1}', "bad", '{"device":"b","ts":1}', '{"device":"c","ts":1}']
    const { next, out, rejects } = decode(texts, { capacity: 2 })
    expect([next, out.count, rejects.record]).toEqual([3, 2, [1]])
  })
})

describe("a CloudEvent", () => {
  const cloud: StreamPlan = {
    ...plan,
    format: "cloudevents",
    device: ["subject"],
    time: ["time"],
    id: ["id"]
  }
  const envelope = {
    specversion: "1.0",
    id: "c-1",
    source: "/edge",
    type: "reading",
    subject: "s-9",
    time: "2025-10-09T08:53:20Z"
  }
  const headers = {
    ce_specversion: "1.0",
    ce_id: "c-1",
    ce_source: "/edge",
    ce_type: "reading",
    ce_subject: "s-9",
    ce_time: "2025-10-09T08:53:20Z",
    "content-type": "application/json; charset=utf-8"
  }
  const structured = (changes: object) => JSON.stringify({ ...envelope, ...changes })
  const wanted = {
    device: "s-9",
    time: RECORD_TIME,
    numbers: [1.5, Number.NaN, Number.NaN],
    texts: ["tcp", undefined]
  }

  it("is taken in structured and in binary mode alike", () => {
    const data = { load: 1.5, proto: "tcp" }
    const one = row(structured({ data }), {
      plan: cloud,
      headers: { "content-type": "application/cloudevents+json" }
    })
    const two = row(structured({ data_base64: Buffer.from(JSON.stringify(data)).toString("base64") }), {
      plan: cloud
    })
    const three = row(JSON.stringify(data), { plan: cloud, headers })
    for (const event of [one, two, three]) expect(event).toMatchObject(wanted)
    expect(two.id).toEqual(one.id)
    expect(three.id).toEqual(one.id)
  })

  it("names its device in its data first", () => {
    const data = { subject: "inner", load: 1 }
    expect(row(structured({ data }), { plan: cloud }).device).toBe("inner")
    expect(row(JSON.stringify(data), { plan: cloud, headers }).device).toBe("inner")
    expect(row(JSON.stringify({ subject: null }), { plan: cloud, headers }).device).toBe("s-9")
  })

  it("looks fields up in its data alone", () => {
    const fields: StreamPlan = { ...cloud, categories: [{ ...plan.categories[0], path: ["type"] }] }
    expect(row(structured({ data: {} }), { plan: fields }).categories).toEqual([-1])
    expect(row("{}", { plan: fields, headers }).categories).toEqual([-1])
  })

  it.each([
    ["another version", structured({ specversion: "0.3", data: {} }), undefined, "bad-envelope"],
    ["no version", structured({ specversion: undefined, data: {} }), undefined, "bad-envelope"],
    ["no source", structured({ source: undefined, data: {} }), undefined, "bad-envelope"],
    ["an empty id", structured({ id: "", data: {} }), undefined, "bad-envelope"],
    ["data twice", structured({ data: {}, data_base64: "e30=" }), undefined, "bad-envelope"],
    ["data that is not base64", structured({ data_base64: "e30" }), undefined, "bad-envelope"],
    ["base64 that is not JSON", structured({ data_base64: "e30x" }), undefined, "bad-json"],
    ["data that is a list", structured({ data: [1] }), undefined, "not-an-object"],
    [
      "a repeated attribute",
      `{"specversion":"1.0",${structured({ data: {} }).slice(1)}`,
      undefined,
      "duplicate-key"
    ],
    ["a batch", "[]", { "content-type": "application/cloudevents-batch+json" }, "bad-envelope"],
    ["headers without a version", "{}", { ...headers, ce_specversion: "" }, "bad-envelope"],
    ["headers of another version", "{}", { ...headers, ce_specversion: "2.0" }, "bad-envelope"],
    ["headers without a type", "{}", { ce_specversion: "1.0", ce_id: "1", ce_source: "/s" }, "bad-envelope"],
    ["a value that is not JSON", "{}", { ...headers, "content-type": "application/avro" }, "bad-envelope"],
    ["no subject", "{}", { ...headers, ce_subject: "s".repeat(2_000) }, "bad-device"],
    ["a time that is none", "{}", { ...headers, ce_time: "now" }, "bad-time"]
  ] as const)("with %s is refused", (_, text, sent, reason) => {
    const options = sent === undefined ? { plan: cloud } : { plan: cloud, headers: sent }
    expect(fate(text, options)).toBe(reason)
    expect(fate(text, { ...options, strictOnly: true })).toBe(reason)
  })

  it("in a stream of plain JSON is an event like any other", () => {
    expect(row('{"device":"d","ts":1}', { headers }).device).toBe("d")
  })
})
