// Bodies split, addresses matched, versions read: the parts of the surface that need no server.
import { it as effectIt } from "@effect/vitest"
import { Deferred, Effect, Fiber, Ref, TestClock } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { ApiProblem } from "../../../src/schema/error/ApiError.ts"
import { alertCloudEvent, rfc3339 } from "../../../src/schema/verdict/alertCloudEvent.ts"
import { ANSWER_KEPT_MILLIS, makeAnswers } from "../../../src/services/inspect/Answers.ts"
import { binaryHeaders, envelopeData } from "../../../src/services/inspect/cloudEventRows.ts"
import { readCursor, writeCursor } from "../../../src/services/inspect/cursor.ts"
import { etagOf, readIfMatch } from "../../../src/services/inspect/etag.ts"
import { makeMatcher } from "../../../src/services/inspect/routes.ts"
import { type Rows, splitJson, splitLines } from "../../../src/services/inspect/splitRows.ts"
import { alertOf } from "./surface.ts"

const SEED = 7
const bytesOf = (text: string) => new TextEncoder().encode(text)
const texts = (rows: Rows) =>
  rows.starts.map((start, r) => new TextDecoder().decode(rows.bytes.subarray(start, rows.ends[r])))

describe("splitJson", () => {
  it("cuts any array into its elements' own text", () => {
    fc.assert(
      fc.property(fc.array(fc.json()), fc.constantFrom("", " ", "\n\t"), (elements, space) => {
        const body = `${space}[${space}${elements.join(`${space},${space}`)}${space}]${space}`
        const rows = splitJson(bytesOf(body), "maybe", 1_000)
        expect("_tag" in rows ? rows : texts(rows)).toEqual(elements.map((text) => text.trim()))
      }),
      { seed: SEED }
    )
  })

  it("refuses exactly what JSON.parse refuses", () => {
    fc.assert(
      fc.property(
        fc.json(),
        fc.nat(),
        fc.constantFrom("", "]", "}", '"', ",", "1", "\\"),
        (text, at, extra) => {
          const cut = at % (text.length + 1)
          const body = text.slice(0, cut) + extra + text.slice(cut + (at % 2))
          let valid = true
          try {
            JSON.parse(body)
          } catch {
            valid = false
          }
          expect("_tag" in splitJson(bytesOf(body), "maybe", 1_000)).toBe(!valid)
        }
      ),
      { seed: SEED, numRuns: 500 }
    )
  })

  it("stops at the first row too many", () => {
    expect(splitJson(bytesOf("[1,2,3]"), "maybe", 2)).toEqual({ _tag: "TooManyRows" })
    expect(splitLines(bytesOf("1\n2\n3"), 2)).toEqual({ _tag: "TooManyRows" })
  })
})

describe("envelopeData", () => {
  const envelope = (rest: string) => bytesOf(`{"specversion":"1.0","id":"1","source":"s","type":"t"${rest}}`)
  const dataOf = (rest: string) => {
    const bytes = envelope(rest)
    const data = envelopeData(bytes, 0, bytes.length)
    return data._tag === "Data"
      ? new TextDecoder().decode(data.bytes.subarray(data.start, data.end))
      : data.detail
  }

  it("finds the data's own text wherever it stands and however its key is written", () => {
    fc.assert(
      fc.property(fc.json(), (value) => {
        expect(dataOf(`,"x":{"data":1}, "d\\u0061ta" : ${value.trim()} ,"y":[]`)).toBe(value.trim())
      }),
      { seed: SEED }
    )
  })

  it("says what is wrong with an envelope", () => {
    expect(dataOf("")).toMatch(/^attribute data/)
    expect(dataOf(',"data":1,"data":2')).toMatch(/got it twice/)
    expect(dataOf(',"data":1,"data_base64":"e30="')).toMatch(/^attribute data_base64/)
    expect(dataOf(',"data_base64":"?"')).toMatch(/^attribute data_base64/)
    expect(dataOf(',"data_base64":"e30="')).toBe("{}")
  })
})

describe("binaryHeaders", () => {
  it("turns ce- headers into ce_ headers, unquoted and percent-decoded", () => {
    expect(binaryHeaders({ "content-type": "application/json" })).toBeUndefined()
    expect(
      binaryHeaders({ "ce-id": '"a\\"b"', "ce-subject": "%E2%82%AC", "ce-odd": "100%", host: "x" })
    ).toEqual({
      ce_id: 'a"b',
      ce_subject: "€",
      ce_odd: "100%",
      "content-type": "application/json"
    })
  })
})

describe("routes", () => {
  const match = makeMatcher([
    { method: "GET", template: "/v1/devices/:id", needs: "read" },
    { method: "POST", template: "/v1/deadletters/replay", needs: "read" },
    { method: "GET", template: "/v1/deadletters/:id", needs: "read" }
  ])

  it("tells what an address means", () => {
    expect(match("GET", "/v1/devices/a%2Fb?x=1")).toMatchObject({
      _tag: "Found",
      template: "/v1/devices/:id"
    })
    expect(match("HEAD", "http://host/v1/devices/a")).toMatchObject({ _tag: "Found" })
    expect(match("POST", "/v1/deadletters/replay")).toMatchObject({ template: "/v1/deadletters/replay" })
    expect(match("GET", "/v1/deadletters/replay")).toMatchObject({ template: "/v1/deadletters/:id" })
    expect(match("PUT", "/v1/deadletters/replay")).toMatchObject({
      _tag: "WrongMethod",
      allow: ["GET", "HEAD", "POST"]
    })
    expect(match("GET", "/v1/devices/")._tag).toBe("Unknown")
    expect(match("GET", "/v1/devices/a/b")._tag).toBe("Unknown")
    expect(match("GET", "*")._tag).toBe("Unknown")
    expect(match("GET", "/v1/devices/%")._tag).toBe("Malformed")
  })
})

describe("versions and cursors", () => {
  it("are read as they were written", () => {
    expect(readIfMatch(etagOf(12))).toEqual({ _tag: "Version", version: 12 })
    expect(readIfMatch('W/"3"')).toEqual({ _tag: "Version", version: 3 })
    expect(readIfMatch('"1", "2"')).toEqual({ _tag: "Malformed" })
    const cursor = { stream: "flows", partition: 3, after: -1 }
    expect(readCursor(writeCursor(cursor))).toEqual(cursor)
    fc.assert(
      fc.property(fc.string(), (text) => {
        readCursor(text)
      }),
      { seed: SEED }
    )
  })
})

describe("alertCloudEvent", () => {
  it("has the alert's id, its device as subject, and a time that is always RFC 3339", () => {
    expect(alertCloudEvent("eu/1", alertOf(5))).toMatchObject({
      id: "flows.0.5.energy",
      source: "/groundstate/eu%2F1/flows",
      subject: "pump-1",
      time: "2023-11-14T22:13:20.005Z"
    })
    fc.assert(
      fc.property(fc.double(), (at) => {
        expect(rfc3339(at)).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      }),
      { seed: SEED }
    )
  })
})

describe("answers by key", () => {
  effectIt.effect("are given again for ten minutes, then done anew", () =>
    Effect.gen(function* () {
      const runs = yield* Ref.make(0)
      const answers = makeAnswers<number>()
      const send = answers.once(
        "k",
        "print",
        Ref.updateAndGet(runs, (n) => n + 1)
      )
      expect([yield* send, yield* send]).toEqual([1, 1])
      yield* TestClock.adjust(ANSWER_KEPT_MILLIS - 1)
      expect(yield* send).toBe(1)
      yield* TestClock.adjust(1)
      expect(yield* send).toBe(2)
    })
  )

  effectIt.effect("are waited for while the first is still at work; failures are shared and forgotten", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<number, ApiProblem>()
      const answers = makeAnswers<number>()
      const first = yield* Effect.fork(answers.once("k", "print", Deferred.await(gate)))
      const second = yield* Effect.fork(answers.once("k", "print", Effect.dieMessage("done twice")))
      yield* Effect.yieldNow()
      yield* Deferred.fail(gate, ApiProblem.of("unavailable", "no log"))
      expect((yield* Effect.flip(Fiber.join(first))).status).toBe(503)
      expect((yield* Effect.flip(Fiber.join(second))).status).toBe(503)
      expect(yield* answers.once("k", "print", Effect.succeed(3))).toBe(3)
    })
  )

  effectIt.effect("are bounded in number", () =>
    Effect.gen(function* () {
      const answers = makeAnswers<number>(10)
      for (let n = 0; n < 100; n++) yield* answers.once(`k${n}`, "print", Effect.succeed(n))
      expect(answers.count()).toBe(10)
      expect((yield* Effect.flip(answers.once("k99", "other", Effect.succeed(0)))).status).toBe(422)
    })
  )
})
