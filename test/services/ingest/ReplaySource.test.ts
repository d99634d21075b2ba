// Files replayed as a log: the same rows at the same offsets, at the pace asked for.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { afterAll, describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Schema, TestClock } from "effect"
import * as fc from "fast-check"
import { StreamDefinition } from "../../../src/schema/stream/StreamDefinition.ts"
import { planStream } from "../../../src/schema/stream/StreamPlan.ts"
import { csvColumns, csvEventJson } from "../../../src/services/ingest/csvEvent.ts"
import { partitionOf } from "../../../src/services/ingest/partition.ts"
import {
  Replay,
  type ReplayOptions,
  type ReplayReader,
  ReplaySource
} from "../../../src/services/ingest/ReplaySource.ts"
import { rowsOf, type Seen } from "../../suite/eventLogSuite.ts"

const folder = mkdtempSync(join(tmpdir(), "groundstate-replay-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const file = (name: string, content: string | Uint8Array) => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}
const plan = planStream(
  Schema.decodeUnknownSync(StreamDefinition)({
    stream: "meters",
    source: { topic: "meters" },
    identity: { device: "device", time: "ts", timeUnit: "s", id: "id" },
    fields: { load: { type: "number" }, on: { type: "boolean" }, port: { type: "category" } }
  })
)
const opening = {
  topic: "meters",
  partition: 0,
  offset: 0,
  epoch: 1,
  stream: "meters",
  fetchBytesMax: 65_536
}
const open = (options: Partial<typeof opening> = {}) =>
  Effect.flatMap(Replay, (replay) => replay.open({ ...opening, ...options }))
const replay = (options: Partial<ReplayOptions> & { readonly files: ReadonlyArray<string> }) =>
  ReplaySource.layer({ topic: "meters", ...options })
const readAll = (reader: ReplayReader) =>
  Effect.gen(function* () {
    const rows: Array<Seen> = []
    while (!(yield* reader.finished)) {
      const batch = yield* reader.fetch(0)
      if (batch !== undefined) rows.push(...rowsOf(batch))
    }
    return rows
  })
const values = (rows: ReadonlyArray<Seen>) => rows.map((row) => row.value)
const lines = (count: number) =>
  Array.from({ length: count }, (_, i) => `{"device":"d${i % 5}","ts":${1_000 + i},"load":${i}}`)

describe("ReplaySource", () => {
  it.scoped("reads lines byte for byte, whatever the chunks, line ends and blank lines", () =>
    Effect.gen(function* () {
      const wanted = ['{"a":1}', '{"text":"grün 🛰️"}', "not json", '{"last":true}']
      const path = file("mixed.jsonl", `${wanted[0]}\r\n\n${wanted[1]}\n${wanted[2]}\n\r\n${wanted[3]}`)
      for (const chunkBytes of [1, 3, 7, 65_536]) {
        const rows = yield* Effect.flatMap(open(), readAll).pipe(
          Effect.provide(replay({ files: [path], chunkBytes }))
        )
        expect(values(rows)).toEqual(wanted)
        expect(rows.map((row) => row.offset)).toEqual([0, 1, 2, 3])
      }
    })
  )

  it.scoped("unpacks gzip, and reads a folder's files in the order of their names", () =>
    Effect.gen(function* () {
      const inside = join(folder, "many")
      mkdirSync(inside)
      writeFileSync(join(inside, "b.jsonl.gz"), gzipSync("2\n3\n"))
      writeFileSync(join(inside, "a.jsonl"), "0\n1\n")
      writeFileSync(join(inside, "c.csv"), "x\n4\n")
      writeFileSync(join(inside, "notes.md"), "no events")
      const rows = yield* Effect.flatMap(open(), readAll).pipe(Effect.provide(replay({ files: [inside] })))
      expect(values(rows)).toEqual(["0", "1", "2", "3", '{"x":4}'])
    })
  )

  it.scoped("reads the folders below a folder too, in the order of paths", () =>
    Effect.gen(function* () {
      const deep = join(folder, "deep")
      mkdirSync(join(deep, "b", "c.jsonl"), { recursive: true })
      mkdirSync(join(deep, "a"))
      writeFileSync(join(deep, "z.jsonl"), "4\n")
      writeFileSync(join(deep, "b", "2.jsonl"), "2\n")
      writeFileSync(join(deep, "b", "c.jsonl", "3.jsonl"), "3\n")
      writeFileSync(join(deep, "a", "1.jsonl.gz"), gzipSync("1\n"))
      const rows = yield* Effect.flatMap(open(), readAll).pipe(Effect.provide(replay({ files: [deep] })))
      expect(values(rows)).toEqual(["1", "2", "3", "4"])
    })
  )

  it.scoped(
    "gives rows the name of their file where that is the stream's device, and changes nothing else",
    () =>
      Effect.gen(function* () {
        const series = join(folder, "series")
        mkdirSync(join(series, "north"), { recursive: true })
        writeFileSync(join(series, "north", "pump.7.csv.gz"), gzipSync("ts,load\n1,2\n"))
        writeFileSync(join(series, "own.csv"), "file,load\nmine,1\n,2\n")
        writeFileSync(
          join(series, 'we"ird.jsonl'),
          '  {"load":1.50}\n{}\n{"load":2,"file":"mine"}\n{"inner":{"file":"x"}}\n[1]\nno json\n'
        )
        const byFile = planStream(
          Schema.decodeUnknownSync(StreamDefinition)({
            stream: "meters",
            source: { topic: "meters" },
            identity: { device: "file" },
            fields: { load: { type: "number" } }
          })
        )
        const wanted = [
          '{"file":"pump.7","ts":1,"load":2}',
          '{"file":"mine","load":1}',
          '{"file":"own","load":2}',
          '{"file":"we\\"ird","load":1.50}',
          '{"file":"we\\"ird"}',
          '{"load":2,"file":"mine"}',
          '{"file":"we\\"ird","inner":{"file":"x"}}',
          "[1]",
          "no json"
        ]
        const named = yield* Effect.flatMap(open(), readAll).pipe(
          Effect.provide(replay({ files: [series], plan: byFile }))
        )
        expect(values(named)).toEqual(wanted)
        // The partition of a row follows the device it got.
        const parts = replay({ files: [join(series, "north")], plan: byFile, partitions: 3 })
        const home = partitionOf(new TextEncoder().encode("pump.7"), 3)
        expect(
          values(yield* Effect.flatMap(open({ partition: home }), readAll).pipe(Effect.provide(parts)))
        ).toEqual(wanted.slice(0, 1))
        const plain = yield* Effect.flatMap(open(), readAll).pipe(
          Effect.provide(replay({ files: [series], plan }))
        )
        expect(values(plain).some((value) => value?.includes("pump.7"))).toBe(false)
      })
  )

  it.scoped("gives the same rows from any offset, and then is finished with its end known", () =>
    Effect.gen(function* () {
      const path = file("hundred.jsonl", lines(100).join("\n"))
      const layer = replay({ files: [path], plan, partitions: 3, chunkBytes: 64 })
      yield* Effect.gen(function* () {
        expect(yield* Effect.flatMap(Replay, (whole) => whole.finished)).toBe(false)
        for (let partition = 0; partition < 3; partition++) {
          const all = yield* Effect.flatMap(open({ partition }), readAll)
          expect(values(all)).toEqual(
            lines(100).filter((_, i) => partitionOf(new TextEncoder().encode(`d${i % 5}`), 3) === partition)
          )
          for (const offset of [0, 1, all.length - 1, all.length].filter((at) => at >= 0)) {
            const reader = yield* open({ partition, offset })
            expect(yield* readAll(reader)).toEqual(all.slice(offset))
            expect(yield* reader.bounds).toEqual({ earliest: 0, end: all.length })
            expect(yield* reader.fetch(0)).toBeUndefined()
          }
          expect(yield* Effect.flip(open({ partition, offset: all.length + 1 }))).toMatchObject({
            _tag: "OffsetOutOfRange",
            latest: all.length
          })
        }
        for (let partition = 0; partition < 3; partition++)
          yield* Effect.flatMap(open({ partition }), readAll)
        expect(yield* Effect.flatMap(Replay, (whole) => whole.finished)).toBe(true)
      }).pipe(Effect.provide(layer))
    })
  )

  it.scoped("stamps records with their event time, so that no wall clock comes in", () =>
    Effect.gen(function* () {
      const path = file("times.jsonl", '{"ts":5}\n{"none":1}\n{"ts":"2024-01-02T03:04:05Z"}\n{"ts":7.5}\n')
      const rows = yield* Effect.flatMap(open(), readAll).pipe(
        Effect.provide(replay({ files: [path], plan }))
      )
      expect(rows.map((row) => row.timestamp)).toEqual([5_000, 5_000, Date.UTC(2024, 0, 2, 3, 4, 5), 7_500])
    })
  )

  it.scoped("keeps pace with event time, at the speed asked for", () =>
    Effect.gen(function* () {
      const path = file("paced.jsonl", lines(5).join("\n"))
      yield* Effect.gen(function* () {
        const reader = yield* open()
        expect((yield* reader.fetch(0))?.count).toBe(1)
        expect(yield* reader.fetch(0)).toBeUndefined()
        const waiting = yield* Effect.fork(reader.fetch(60_000))
        yield* TestClock.adjust(499)
        expect(yield* Fiber.poll(waiting)).toMatchObject({ _tag: "None" })
        yield* TestClock.adjust(1)
        expect((yield* Fiber.join(waiting))?.nextOffset).toBe(2)
        yield* TestClock.adjust(1_000)
        expect((yield* reader.fetch(0))?.nextOffset).toBe(4)
        // A reader that starts in the middle does not wait for what lies before.
        const late = yield* open({ offset: 4 })
        expect((yield* late.fetch(0))?.nextOffset).toBe(5)
      }).pipe(Effect.provide(replay({ files: [path], plan, speed: 2 })))
    })
  )

  it.scoped("loses no row to a fetch that was given up", () =>
    Effect.gen(function* () {
      const path = file("given-up.jsonl", lines(50).join("\n"))
      const rows = yield* Effect.gen(function* () {
        const reader = yield* open({ fetchBytesMax: 100 })
        const seen: Array<Seen> = []
        while (!(yield* reader.finished)) {
          const fiber = yield* Effect.fork(reader.fetch(0))
          yield* Fiber.interrupt(fiber)
          const batch = yield* reader.fetch(0)
          if (batch !== undefined) seen.push(...rowsOf(batch))
        }
        return seen
      }).pipe(Effect.provide(replay({ files: [path], chunkBytes: 32 })))
      expect(values(rows)).toEqual(lines(50))
    })
  )

  it.scoped("cuts a row that is too long instead of holding it", () =>
    Effect.gen(function* () {
      const path = file("long.jsonl", `${"x".repeat(10_000)}\n{"a":1}\n`)
      const rows = yield* Effect.flatMap(open(), readAll).pipe(
        Effect.provide(replay({ files: [path], chunkBytes: 64, rowBytesMax: 100 }))
      )
      expect(values(rows)).toEqual(["x".repeat(100), '{"a":1}'])
    })
  )

  it.scoped("says which file is missing or broken", () =>
    Effect.gen(function* () {
      const missing = join(folder, "nothing.jsonl")
      expect((yield* Effect.flip(Layer.build(replay({ files: [missing] })))).message).toContain(
        "nothing.jsonl"
      )
      const broken = file("broken.jsonl.gz", gzipSync("1\n".repeat(1_000)).subarray(0, 20))
      const error = yield* Effect.flip(Effect.asVoid(Effect.flatMap(open(), readAll))).pipe(
        Effect.provide(replay({ files: [broken] }))
      )
      expect(error._tag).toBe("LogUnavailable")
    })
  )
})

describe("csvEvent", () => {
  it.scoped("reads a CSV file with the plan's columns", () =>
    Effect.gen(function* () {
      const path = file(
        "meters.csv",
        '\ufeffdevice,ts,id,load,on,port,extra\n7,2024-01-02 03:04:05,0001,.5,1,443,"a ""b"""\nx,9,,NaN,0,,\n'
      )
      const rows = yield* Effect.flatMap(open(), readAll).pipe(
        Effect.provide(replay({ files: [path], plan }))
      )
      expect(rows.map((row) => JSON.parse(row.value ?? ""))).toEqual([
        {
          device: "7",
          ts: "2024-01-02T03:04:05Z",
          id: "0001",
          load: 0.5,
          on: true,
          port: "443",
          extra: 'a "b"'
        },
        { device: "x", ts: 9, on: false }
      ])
    })
  )

  it("takes as numbers what look like numbers, and nothing else", () => {
    const cells = [
      "1",
      "-2.5",
      "1e3",
      "007",
      "0x10",
      "12345678901234567890",
      "1 2",
      "true",
      "Infinity",
      "+4",
      "5."
    ]
    const columns = csvColumns(cells.map((_, i) => `c${i}`))
    expect(Object.values(JSON.parse(csvEventJson(columns, cells)))).toEqual([
      1,
      -2.5,
      1_000,
      "007",
      "0x10",
      "12345678901234567890",
      "1 2",
      true,
      "Infinity",
      4,
      5
    ])
  })

  it("writes valid JSON for any header and any cells", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.string(), fc.string()), { maxLength: 8 }), (pairs) => {
        const columns = csvColumns(pairs.map(([name]) => name))
        const event = JSON.parse(
          csvEventJson(
            columns,
            pairs.map(([, cell]) => cell)
          )
        )
        for (const [name] of pairs) if (Object.hasOwn(event, name.trim())) expect(event).toBeTypeOf("object")
        expect(Object.keys(event).length).toBeLessThanOrEqual(pairs.length)
      }),
      { seed: 7 }
    )
    expect(csvEventJson(csvColumns(["__proto__", "constructor"]), ["1", "2"])).toBe(
      '{"__proto__":1,"constructor":2}'
    )
  })
})
