import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { afterAll, beforeAll } from "vitest"
import { StreamDefinition } from "../../../src/schema/stream/StreamDefinition.ts"
import { openEventFile } from "../../../src/services/cli/EventFile.ts"
import { eventColumns, eventJson, keyOf } from "../../../src/services/cli/eventRow.ts"
import { type Answer, runWords, serveApi } from "./commandHarness.ts"

let folder = ""
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "groundstate-produce-"))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const write = (name: string, text: string | Uint8Array) =>
  Effect.promise(async () => {
    await writeFile(join(folder, name), text)
    return join(folder, name)
  })

const definitionText = `stream: flows
source: { topic: flows-in }
identity: { device: device, time: ts, id: id }
fields:
  bytes: { type: number, path: net.bytes }
  code: { type: category }
  up: { type: boolean }
`
const definition = Schema.decodeUnknownSync(StreamDefinition)({
  stream: "flows",
  source: { topic: "flows-in" },
  identity: { device: "device", time: "ts", id: "id" },
  fields: {
    bytes: { type: "number", path: "net.bytes" },
    code: { type: "category" },
    up: { type: "boolean" }
  }
})

describe("CSV rows as events", () => {
  it("types and places columns as the definition says, the others as they look", () => {
    const columns = eventColumns(["device", "ts", "bytes", "code", "up", "note"], definition)
    expect(eventJson(columns, ["0012", "1700000000000", "1e3", "007", "1", "x"])).toBe(
      '{"device":"0012","ts":1700000000000,"net":{"bytes":1000},"code":"007","up":true,"note":"x"}'
    )
    expect(eventJson(columns, ["a", "", "much", "NA", "maybe", "007"])).toBe(
      '{"device":"a","net":{"bytes":"much"},"up":"maybe","note":"007"}'
    )
  })

  it("keeps dots and strange names of columns without a definition", () => {
    expect(eventJson(eventColumns(["a.b", "__proto__"], undefined), ["1", "2"])).toBe(
      '{"a.b":1,"__proto__":2}'
    )
  })

  it("finds the key of a record", () => {
    expect(keyOf('{"a":{"b":"x"}}', "a.b")).toBe("x")
    expect(keyOf('{"a":7}', "a")).toBe("7")
    expect(keyOf('{"a":null}', "a")).toBe(undefined)
    expect(keyOf("no json", "a")).toBe(undefined)
  })
})

describe("openEventFile", () => {
  it.live("reads a folder and those below by path, counts on, and names the device after its file", () =>
    Effect.gen(function* () {
      const byFile = Schema.decodeUnknownSync(StreamDefinition)({
        stream: "series",
        source: { topic: "series" },
        identity: { device: "file", time: "timestamp" },
        fields: { value: { type: "number" } }
      })
      yield* Effect.promise(() => mkdir(join(folder, "series", "deep"), { recursive: true }))
      yield* write(
        "series/b.csv.gz",
        gzipSync("timestamp,value\n2014-04-01 00:05:00,2\n2014-04-01T00:10:00Z,3\n")
      )
      yield* write("series/c.jsonl", '{"value":4}\n{"file":"own"}\n')
      yield* write("series/deep/a.jsonl", '{"value":5}\n')
      yield* write("series/notes.md", "no events")
      const read = (stream: StreamDefinition | undefined) =>
        Effect.flatMap(openEventFile(join(folder, "series"), stream), ({ lots, share }) =>
          Effect.promise(async () => {
            const rows: Array<readonly [number, string | undefined]> = []
            for await (const lot of lots) for (const row of lot) rows.push([row.row, row.json])
            expect(share()).toBe(1)
            return rows
          })
        )
      expect(yield* read(byFile)).toEqual([
        [1, '{"file":"b","timestamp":"2014-04-01T00:05:00Z","value":2}'],
        [2, '{"file":"b","timestamp":"2014-04-01T00:10:00Z","value":3}'],
        [3, '{"file":"c","value":4}'],
        [4, '{"file":"own"}'],
        [5, '{"file":"a","value":5}']
      ])
      expect((yield* read(undefined)).map(([, json]) => json)).toEqual([
        '{"timestamp":"2014-04-01 00:05:00","value":2}',
        '{"timestamp":"2014-04-01T00:10:00Z","value":3}',
        '{"value":4}',
        '{"file":"own"}',
        '{"value":5}'
      ])
      const bare = yield* Effect.promise(async () => {
        await mkdir(join(folder, "bare"))
        return join(folder, "bare")
      })
      expect((yield* Effect.flip(openEventFile(bare, undefined))).problem).toContain(
        "without files of events"
      )
    })
  )

  it.live("reads lines, gzipped or not, without empty ones, and counts rows", () =>
    Effect.gen(function* () {
      const text = '\ufeff{"a":1}\r\n\n{"a":2}\n{"a":3}'
      for (const file of [yield* write("a.jsonl", text), yield* write("a.jsonl.gz", gzipSync(text))]) {
        const events = yield* openEventFile(file, undefined)
        const rows: Array<readonly [number, string | undefined]> = []
        yield* Effect.promise(async () => {
          for await (const lot of events.lots) for (const row of lot) rows.push([row.row, row.json])
        })
        expect(rows).toEqual([
          [1, '{"a":1}'],
          [2, '{"a":2}'],
          [3, '{"a":3}']
        ])
        expect(events.share()).toBe(1)
      }
    })
  )
})

const accepted = (body: string): Answer => ({
  status: 202,
  body: { stream: "flows", accepted: body.split("\n").length, partitions: [] }
})

describe("produce", () => {
  it.live("sends a file in batches and counts it", () =>
    Effect.gen(function* () {
      const text = Array.from({ length: 2_500 }, (_, i) =>
        JSON.stringify({ device: `d${i % 7}`, n: i })
      ).join("\n")
      const file = yield* write("many.jsonl", text)
      const api = yield* serveApi(({ body }) => accepted(body))
      const { code, out, err } = yield* runWords([
        "produce",
        "--input",
        file,
        "--stream",
        "flows",
        "--server",
        api.url,
        "-o",
        "json"
      ])
      expect(code).toBe(0)
      expect(JSON.parse(out)).toMatchObject({ rows: 2_500, accepted: 2_500, refused: 0 })
      expect(err).toContain(`Sending ${file} to ${api.url}, stream flows.`)
      expect(api.requests.map(({ url, body }) => [url, body.split("\n").length])).toEqual([
        ["/v1/events?stream=flows", 1_000],
        ["/v1/events?stream=flows", 1_000],
        ["/v1/events?stream=flows", 500]
      ])
      expect(api.requests[0].headers["content-type"]).toBe("application/x-ndjson")
      expect(api.requests.map(({ body }) => body).join("\n")).toBe(text)
    }).pipe(Effect.scoped)
  )

  it.live("takes refused rows out, sends the rest, and names them by row", () =>
    Effect.gen(function* () {
      const file = yield* write("some.jsonl", '{"ok":1}\n{"bad":2}\n{"ok":3}\n{"bad":4}\n{"ok":5}\n')
      const api = yield* serveApi(({ body }) => {
        const errors = body
          .split("\n")
          .flatMap((line, row) => (line.includes("bad") ? [{ row, field: "bad", detail: "is unknown" }] : []))
        return errors.length === 0
          ? accepted(body)
          : {
              status: 422,
              type: "application/problem+json",
              body: {
                type: "urn:groundstate:problem:invalid-content",
                title: "x",
                status: 422,
                detail: "2 events",
                errors: errors.slice(0, 1)
              }
            }
      })
      const { code, out, err } = yield* runWords([
        "produce",
        "--input",
        file,
        "--server",
        api.url,
        "--from",
        "2"
      ])
      expect(code).toBe(1)
      expect(out).toMatch(/^Rows: {7}4\nAccepted: {3}2\nRefused: {4}2\n/)
      expect(err).toContain("row 2 refused: bad: is unknown\nrow 4 refused: bad: is unknown\n")
      expect(err).toContain("error: 2 of 4 rows were refused; the others are in the log.")
      expect(api.requests.map(({ body }) => body).at(-1)).toBe('{"ok":3}\n{"ok":5}')
    }).pipe(Effect.scoped)
  )

  it.live("keeps to a rate", () =>
    Effect.gen(function* () {
      const file = yield* write("slow.jsonl", '{"a":1}\n'.repeat(30))
      const api = yield* serveApi(({ body }) => accepted(body))
      const { out } = yield* runWords([
        "produce",
        "--input",
        file,
        "--server",
        api.url,
        "--rate",
        "100",
        "-o",
        "json"
      ])
      expect(JSON.parse(out).seconds).toBeGreaterThanOrEqual(0.3)
      expect(api.requests.map(({ body }) => body.split("\n").length)).toEqual([10, 10, 10])
    }).pipe(Effect.scoped)
  )

  it.live("types CSV by the definition and finds the stream of a topic", () =>
    Effect.gen(function* () {
      const yaml = yield* write("flows.yaml", definitionText)
      const file = yield* write(
        "rows.csv",
        "device,ts,bytes,code,up\nd1,1700000000000,12,007,true\nd2,1700000000001,,8,false\n"
      )
      const api = yield* serveApi(({ body, url }) =>
        url === "/v1/streams"
          ? {
              body: {
                items: [
                  {
                    name: "flows",
                    topic: "flows-in",
                    partitions: 1,
                    definition: Schema.encodeSync(StreamDefinition)(definition)
                  }
                ]
              }
            }
          : accepted(body)
      )
      yield* runWords(["produce", "--input", file, "--stream", yaml, "--server", api.url])
      expect(api.requests[0].body).toBe(
        '{"device":"d1","ts":1700000000000,"net":{"bytes":12},"code":"007","up":true}\n{"device":"d2","ts":1700000000001,"code":"8","up":false}'
      )
      const byTopic = yield* runWords([
        "produce",
        "--input",
        file,
        "--topic",
        "flows-in",
        "--server",
        api.url
      ])
      expect(byTopic.code).toBe(0)
      expect(api.requests.at(-1)?.url).toBe("/v1/events?stream=flows")
      const unknown = yield* runWords(["produce", "--input", file, "--topic", "other", "--server", api.url])
      expect([unknown.code, unknown.err]).toEqual([
        1,
        expect.stringContaining("It serves flows (topic flows-in)")
      ])
    }).pipe(Effect.scoped)
  )

  it.live("says where to go on when the runner goes away, at once when it never was there", () =>
    Effect.gen(function* () {
      const file = yield* write("gone.jsonl", '{"a":1}\n'.repeat(3))
      const { code, err } = yield* runWords(["produce", "--input", file, "--server", "http://127.0.0.1:9"])
      expect(code).toBe(69)
      expect(err).toContain("No runner answered at http://127.0.0.1:9")
      const missing = yield* runWords(["produce", "--input", join(folder, "nothing.jsonl")])
      expect([missing.code, missing.err]).toEqual([1, expect.stringContaining("There is no file")])
    })
  )

  it.live("refuses what does not go together", () =>
    Effect.gen(function* () {
      const both = yield* runWords([
        "produce",
        "--input",
        "a",
        "--topic",
        "t",
        "--brokers",
        "a:1",
        "--server",
        "http://x"
      ])
      expect([both.code, both.err]).toEqual([
        2,
        "error: --server, --brokers and --config exclude each other. Keep one of them.\n"
      ])
      const none = yield* runWords(["produce", "--input", "a", "--brokers", "a:1"])
      expect([none.code, none.err]).toEqual([2, expect.stringContaining("Kafka needs a topic.")])
      const config = join(folder, "embedded.yaml")
      yield* Effect.promise(() => writeFile(config, "log: { kind: embedded }\n"))
      const embedded = yield* runWords(["produce", "--input", "a", "--topic", "t", "--config", config])
      expect([embedded.code, embedded.err]).toEqual([2, expect.stringContaining("its log is embedded")])
      const odd = yield* runWords(["produce", "--input", "a", "--brokers", "nowhere"])
      expect([odd.code, odd.err]).toEqual([2, expect.stringContaining("--brokers wants host:port")])
    })
  )
})
