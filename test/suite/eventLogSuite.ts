// What every event log must do, whatever it is made of. Each adapter runs this suite against the real thing.
import { Effect, Fiber, type Layer, ManagedRuntime, type Scope } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import type { RecordBatch } from "../../src/schema/event/Batch.ts"
import { EventLog, type NewRecord, type PartitionReader } from "../../src/services/ingest/EventLog.ts"
import { partitionOf } from "../../src/services/ingest/partition.ts"

const utf8 = new TextEncoder()
const text = new TextDecoder()

/** A record as the suite looks at it; undefined stands for a null value. */
export interface Seen {
  readonly offset: number
  readonly value: string | undefined
  readonly timestamp: number
  readonly headers: Readonly<Record<string, string>> | undefined
}

/** The rows of a batch, copied out. */
export const rowsOf = (batch: RecordBatch): ReadonlyArray<Seen> =>
  Array.from({ length: batch.count }, (_, row) => ({
    offset: batch.offsets[row],
    value:
      batch.starts[row] < 0
        ? undefined
        : text.decode(batch.bytes.subarray(batch.starts[row], batch.ends[row])),
    timestamp: batch.timestamps[row],
    headers: batch.headers?.get(row)
  }))

/** Fetches until `count` records came; fails the test when none comes for 10 s. */
export const take = (reader: PartitionReader, count: number) =>
  Effect.gen(function* () {
    const rows: Array<Seen> = []
    while (rows.length < count) {
      const batch = yield* reader.fetch(10_000)
      if (batch === undefined) throw new Error(`${rows.length} of ${count} records came within 10 s`)
      rows.push(...rowsOf(batch))
    }
    return rows
  })

const record = (value: string, key: string | null = null, extra: Partial<NewRecord> = {}): NewRecord => ({
  key: key === null ? null : utf8.encode(key),
  value: utf8.encode(value),
  ...extra
})

const values = (rows: ReadonlyArray<Seen>) => rows.map((row) => row.value)

const openAt = (topic: string, partition: number, offset: number | "earliest" | "latest", epoch = 1) =>
  Effect.flatMap(EventLog, (log) =>
    log.open({ topic, partition, offset, epoch, stream: "suite", fetchBytesMax: 1_048_576 })
  )

/** Runs the conformance suite against `layer`, which is built once and must start without topics. */
export const eventLogSuite = (name: string, layer: Layer.Layer<EventLog, unknown>) =>
  describe(`event log: ${name}`, () => {
    // Real adapters wait for real brokers and disks, so this runs on the real clock.
    const runtime = ManagedRuntime.make(layer)
    afterAll(() => runtime.dispose())
    const holds = <E>(what: string, effect: () => Effect.Effect<void, E, EventLog | Scope.Scope>) =>
      it(what, () => runtime.runPromise(Effect.scoped(effect())))

    holds("makes a topic once and tells its partitions", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        expect(yield* log.ensureTopic("made", 3)).toBe(3)
        expect(yield* log.ensureTopic("made", 7)).toBe(3)
        expect(yield* log.partitions("made")).toBe(3)
        yield* log.ping
      })
    )

    holds("answers for a topic that is not there with LogUnavailable, naming it", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        expect(yield* Effect.flip(log.partitions("nowhere"))).toMatchObject({
          _tag: "LogUnavailable",
          topic: "nowhere"
        })
        expect((yield* Effect.flip(Effect.asVoid(log.append("nowhere", [record("x")]))))._tag).toBe(
          "LogUnavailable"
        )
      })
    )

    holds("gives back what was appended, in order, with offsets from 0", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("order", 1)
        const first = yield* log.append("order", [record("a"), record("b")])
        const second = yield* log.append("order", [record("c")])
        expect([...first, ...second]).toEqual([0, 1, 2].map((offset) => ({ partition: 0, offset })))
        const reader = yield* openAt("order", 0, "earliest")
        const rows = yield* take(reader, 3)
        expect(values(rows)).toEqual(["a", "b", "c"])
        expect(rows.map((row) => row.offset)).toEqual([0, 1, 2])
      })
    )

    holds("starts at any offset, inside an append too, and at either end", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("restart", 1)
        yield* log.append(
          "restart",
          ["a", "b", "c", "d", "e"].map((value) => record(value))
        )
        yield* log.append(
          "restart",
          ["f", "g"].map((value) => record(value))
        )
        for (const offset of [0, 1, 4, 5, 6]) {
          const rows = yield* Effect.scoped(
            Effect.flatMap(openAt("restart", 0, offset), (reader) => take(reader, 7 - offset))
          )
          expect(values(rows)).toEqual(["a", "b", "c", "d", "e", "f", "g"].slice(offset))
          expect(rows[0].offset).toBe(offset)
        }
        const atEnd = yield* openAt("restart", 0, "latest")
        expect(yield* atEnd.fetch(1)).toBeUndefined()
        yield* log.append("restart", [record("h")])
        expect(values(yield* take(atEnd, 1))).toEqual(["h"])
      })
    )

    holds("tells where reading goes on and where the partition ends", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("bounds", 2)
        const reader = yield* openAt("bounds", 1, "earliest")
        expect(yield* reader.bounds).toEqual({ earliest: 0, end: 0 })
        yield* log.append(
          "bounds",
          ["a", "b", "c"].map((value) => record(value, null, { partition: 1 }))
        )
        expect(yield* reader.bounds).toEqual({ earliest: 0, end: 3 })
        const batch = yield* reader.fetch(10_000)
        expect(batch).toMatchObject({ count: 3, nextOffset: 3, endOffset: 3, unreadable: [] })
      })
    )

    holds("wakes a reader that waits", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("wake", 1)
        const reader = yield* openAt("wake", 0, "earliest")
        expect(yield* reader.fetch(0)).toBeUndefined()
        const waiting = yield* Effect.fork(take(reader, 1))
        yield* Effect.yieldNow()
        yield* log.append("wake", [record("at last")])
        expect(values(yield* Fiber.join(waiting))).toEqual(["at last"])
      })
    )

    holds("answers an empty poll with undefined, and loses nothing by it", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("empty", 1)
        const reader = yield* openAt("empty", 0, "earliest")
        for (let i = 0; i < 5; i++) expect(yield* reader.fetch(2)).toBeUndefined()
        yield* log.append("empty", [record("a")])
        expect(values(yield* take(reader, 1))).toEqual(["a"])
        for (let i = 0; i < 5; i++) expect(yield* reader.fetch(2)).toBeUndefined()
        yield* log.append("empty", [record("b")])
        expect(values(yield* take(reader, 1))).toEqual(["b"])
      })
    )

    holds("keeps headers, with names in lower case, for the records that have any", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("headers", 1)
        yield* log.append("headers", [
          record("plain"),
          record("marked", null, { headers: { CE_Type: "härte", __proto__x: "1" } }),
          record("plain again")
        ])
        const rows = yield* Effect.flatMap(openAt("headers", 0, 0), (reader) => take(reader, 3))
        expect(rows.map((row) => row.headers && { ...row.headers })).toEqual([
          undefined,
          { ce_type: "härte", __proto__x: "1" },
          undefined
        ])
      })
    )

    holds("keeps the time a record was given, to the millisecond", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("times", 1)
        const times = [1_700_000_000_123, 1_600_000_000_000, 1_700_000_000_122]
        yield* log.append(
          "times",
          times.map((timestamp) => record("x", null, { timestamp }))
        )
        const rows = yield* Effect.flatMap(openAt("times", 0, 0), (reader) => take(reader, 3))
        expect(rows.map((row) => row.timestamp)).toEqual(times)
      })
    )

    holds("tells a null value from an empty one", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("null", 1)
        yield* log.append("null", [{ key: utf8.encode("k"), value: null }, record("", "k"), record("x", "k")])
        const rows = yield* Effect.flatMap(openAt("null", 0, 0), (reader) => take(reader, 3))
        expect(values(rows)).toEqual([undefined, "", "x"])
      })
    )

    holds("carries records of half a megabyte, and more of them than one fetch holds", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("big", 1)
        const big = Array.from({ length: 6 }, (_, i) => String.fromCharCode(97 + i).repeat(500_000))
        yield* log.append(
          "big",
          big.map((value) => record(value))
        )
        const rows = yield* Effect.flatMap(openAt("big", 0, 0), (reader) => take(reader, 6))
        expect(values(rows)).toEqual(big)
      })
    )

    holds("gives concurrent appends distinct offsets, each append in its own order", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("concurrent", 1)
        const appended = yield* Effect.forEach(
          Array.from({ length: 50 }, (_, i) => i),
          (i) =>
            log.append(
              "concurrent",
              [0, 1, 2].map((k) => record(`${i}.${k}`))
            ),
          { concurrency: "unbounded" }
        )
        const rows = yield* Effect.flatMap(openAt("concurrent", 0, 0), (reader) => take(reader, 150))
        expect(rows.map((row) => row.offset)).toEqual(Array.from({ length: 150 }, (_, i) => i))
        appended.forEach((answers, i) => {
          answers.forEach(({ offset }, k) => {
            expect(rows[offset].value).toBe(`${i}.${k}`)
            if (k > 0) expect(offset).toBeGreaterThan(answers[k - 1].offset)
          })
        })
      })
    )

    holds("puts a key where Kafka's default partitioner puts it, whatever its letters", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("keys", 5)
        const keys = ["", "a", "sensor-17", "Ångström", "温度計-7", "🛰️", "ё".repeat(300)]
        const appended = yield* log.append(
          "keys",
          keys.map((key) => record(key, key))
        )
        expect(appended.map((answer) => answer.partition)).toEqual(
          keys.map((key) => partitionOf(utf8.encode(key), 5))
        )
        for (let partition = 0; partition < 5; partition++) {
          const wanted = keys.filter((key) => partitionOf(utf8.encode(key), 5) === partition)
          const reader = yield* openAt("keys", partition, "earliest")
          expect(values(yield* take(reader, wanted.length))).toEqual(wanted)
        }
      })
    )

    holds("spreads records without a key over the partitions in turn, and obeys a partition given", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("turns", 3)
        const spread = yield* log.append(
          "turns",
          ["a", "b", "c", "d", "e", "f"].map((value) => record(value))
        )
        const counts = [0, 1, 2].map((p) => spread.filter((answer) => answer.partition === p).length)
        expect(counts).toEqual([2, 2, 2])
        expect(yield* log.append("turns", [record("x", "a key", { partition: 2 })])).toEqual([
          { partition: 2, offset: 2 }
        ])
        const nowhere = log.append("turns", [record("x", null, { partition: 3 })])
        expect(yield* Effect.flip(Effect.asVoid(nowhere))).toMatchObject({
          _tag: "LogUnavailable",
          topic: "turns"
        })
      })
    )

    holds("lets a newer epoch read on from the committed place while the older one is still open", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("epochs", 1)
        yield* log.append(
          "epochs",
          ["a", "b", "c"].map((value) => record(value))
        )
        const old = yield* openAt("epochs", 0, 0, 1)
        yield* take(old, 3)
        yield* old.commit(2)
        const young = yield* openAt("epochs", 0, 2, 2)
        expect(values(yield* take(young, 1))).toEqual(["c"])
        yield* young.commit(3)
        yield* log.append("epochs", [record("d")])
        expect(values(yield* take(young, 1))).toEqual(["d"])
      })
    )

    holds("reads a partition whatever the readers of others do: busy, waiting or gone", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("others", 4)
        const append = (partition: number, value: string) =>
          log.append("others", [record(value, null, { partition })])
        const busy = yield* openAt("others", 0, 0)
        yield* append(0, "taken")
        yield* take(busy, 1)
        yield* append(0, "left")
        yield* Effect.fork(Effect.flatMap(openAt("others", 1, 0), (reader) => reader.fetch(60_000)))
        yield* Effect.scoped(Effect.flatMap(openAt("others", 2, 0), (reader) => reader.fetch(20)))
        const reader = yield* openAt("others", 3, 0)
        for (let i = 0; i < 20; i++) {
          yield* append(3, `${i}`)
          expect(values(yield* take(reader, 1))).toEqual([`${i}`])
        }
        expect(values(yield* take(busy, 1))).toEqual(["left"])
      })
    )

    holds("leaves alone what was copied out of a batch, whatever is fetched after it", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("copies", 1)
        const reader = yield* openAt("copies", 0, 0)
        const kept: Array<Uint8Array> = []
        for (let i = 0; i < 6; i++) {
          yield* log.append("copies", [record(`value ${i}`)])
          const batch = yield* reader.fetch(10_000)
          if (batch !== undefined) kept.push(batch.bytes.slice(batch.starts[0], batch.ends[0]))
        }
        expect(kept.map((bytes) => text.decode(bytes))).toEqual([0, 1, 2, 3, 4, 5].map((i) => `value ${i}`))
      })
    )

    holds("refuses offsets outside the partition with OffsetOutOfRange, naming what it holds", () =>
      Effect.gen(function* () {
        const log = yield* EventLog
        yield* log.ensureTopic("range", 1)
        yield* log.append("range", [record("a"), record("b")])
        expect(yield* Effect.flip(openAt("range", 0, 3))).toMatchObject({
          _tag: "OffsetOutOfRange",
          topic: "range",
          partition: 0,
          offset: 3,
          earliest: 0,
          latest: 2
        })
        expect((yield* Effect.flip(openAt("range", 4, 0)))._tag).toBe("LogUnavailable")
      })
    )
  })
