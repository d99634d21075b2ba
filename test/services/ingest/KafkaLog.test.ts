// The log on a real Kafka broker: the conformance suite, and what brokers and other clients do to a reader.
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer } from "effect"
import { Kafka as KafkaJs, logLevel } from "kafkajs"
import { afterAll, beforeAll } from "vitest"
import { EventLog } from "../../../src/services/ingest/EventLog.ts"
import { KafkaLog, type KafkaLogOptions } from "../../../src/services/ingest/KafkaLog.ts"
import { eventLogSuite, rowsOf, type Seen, take } from "../../suite/eventLogSuite.ts"
import { type JavaWrites, produceWithJava } from "../../support/javaProducer.ts"
import { type Kafka, kafkaAvailable, startKafka } from "../../support/kafka.ts"

const bytes = (value: string) => new TextEncoder().encode(value)
const records = (...values: ReadonlyArray<string>) =>
  values.map((value) => ({ key: null, value: bytes(value) }))

describe.skipIf(!kafkaAvailable())("on a real broker", () => {
  let broker: Kafka
  beforeAll(async () => {
    broker = await startKafka()
  })
  afterAll(() => broker?.stop())
  const layer = (limits: KafkaLogOptions["limits"] = {}) =>
    Layer.suspend(() => KafkaLog.layer({ brokers: broker.brokers, clientId: "test", limits }))
  const opening = (topic: string) => ({
    topic,
    partition: 0,
    offset: 0,
    epoch: 1,
    stream: "tested",
    fetchBytesMax: 1_048_576
  })
  const outside = () => new KafkaJs({ brokers: [...broker.brokers], logLevel: logLevel.NOTHING })

  eventLogSuite("Kafka", layer())

  it.live("makes a topic once for several that ask at the same moment, and each is told its partitions", () =>
    Effect.gen(function* () {
      const logs = yield* Effect.all(
        Array.from({ length: 4 }, () => Effect.map(Layer.build(Layer.fresh(layer())), Context.get(EventLog)))
      )
      // Connected before, so that they meet.
      yield* Effect.forEach(logs, (log) => log.ping, { concurrency: "unbounded" })
      for (let round = 0; round < 6; round++) {
        const topic = `at-once-${round}`
        const told = yield* Effect.forEach(
          logs,
          (log) => Effect.zipRight(log.ensureTopic(topic, 30), log.partitions(topic)),
          { concurrency: "unbounded" }
        )
        expect(told).toEqual([30, 30, 30, 30])
      }
    }).pipe(Effect.scoped)
  )

  /** Reads up to `end`, whatever lies there; batches may have no rows. */
  const readTo = (topic: string, end: number) =>
    Effect.scoped(
      Effect.gen(function* () {
        const log = yield* EventLog
        const reader = yield* log.open(opening(topic))
        const rows: Array<Seen> = []
        const unreadable: Array<string> = []
        let next = 0
        while (next < end) {
          const batch = yield* reader.fetch(10_000)
          if (batch === undefined) throw new Error(`no batch from ${next} on`)
          rows.push(...rowsOf(batch))
          unreadable.push(
            ...batch.unreadable.map(
              (gap) => `${gap.firstOffset}-${gap.lastOffset} ${gap.reason}: ${gap.detail}`
            )
          )
          expect(batch.nextOffset).toBeGreaterThan(next)
          next = batch.nextOffset
        }
        return { rows, unreadable, next }
      })
    )

  describe("as the Java producer writes them", () => {
    const codecs = ["none", "gzip", "snappy", "lz4", "zstd"]
    beforeAll(async () => {
      const writes: ReadonlyArray<JavaWrites> = [
        ...codecs.flatMap((codec) =>
          (["batch", ...(codec === "none" ? [] : (["bomb"] as const))] as const).map((mode) => ({
            topic: `${mode}-${codec}`,
            mode,
            settings: { "compression.type": codec }
          }))
        ),
        { topic: "transactions", mode: "transactions", settings: {} }
      ]
      await Effect.runPromise(
        Effect.flatMap(EventLog, (log) =>
          Effect.forEach(writes, ({ topic }) => log.ensureTopic(topic, 1), { discard: true })
        ).pipe(Effect.provide(layer()))
      )
      produceWithJava(broker.brokers, writes)
    })

    for (const codec of codecs) {
      it.live(`F18 I1 ${codec}: every record is read`, () =>
        Effect.gen(function* () {
          const { rows, unreadable } = yield* readTo(`batch-${codec}`, 5_000)
          expect(unreadable).toEqual([])
          expect(rows.length).toBe(5_000)
          rows.forEach((row, i) => {
            expect(row.offset).toBe(i)
            expect(row.value).toBe(`{"n":${i},"text":"${"wert ".repeat(i % 40)}"}`)
            expect(row.headers?.["kind"]).toBe(i % 1_000 === 0 ? "marked" : undefined)
          })
        }).pipe(Effect.provide(layer()))
      )

      if (codec !== "none") {
        it.live(`F18 I4 ${codec}: a bomb is passed over by its offsets, what follows is read`, () =>
          Effect.gen(function* () {
            const { rows, unreadable } = yield* readTo(`bomb-${codec}`, 3)
            expect(unreadable).toEqual([expect.stringMatching(/^1-1 too-large: /)])
            expect(rows.map((row) => [row.offset, row.value])).toEqual([
              [0, "before"],
              [2, "after"]
            ])
          }).pipe(Effect.provide(layer({ inflatedBytesMax: 4 * 1_048_576 })))
        )
      }
    }

    it.live("I1 leaves out rolled-back transactions, and moves past their markers", () =>
      Effect.gen(function* () {
        // plain 0, committed 1-2 and marker 3, rolled back 4-5 and marker 6, plain 7, rolled back 8 and marker 9
        const { next, rows } = yield* readTo("transactions", 10)
        expect(rows.map((row) => [row.offset, row.value])).toEqual([
          [0, "plain"],
          [1, "kept"],
          [2, "kept"],
          [7, "plain again"]
        ])
        expect(next).toBe(10)
      }).pipe(Effect.provide(layer()))
    )
  })

  it.scopedLive("shows its place to lag tools, in one group per stream", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      yield* log.ensureTopic("lag", 1)
      yield* log.append("lag", records("a", "b", "c"))
      const reader = yield* log.open({ ...opening("lag"), stream: "lagging" })
      yield* reader.commit(2)
      const admin = outside().admin()
      const seen = yield* Effect.promise(async () => {
        await admin.connect()
        const offsets = await admin.fetchOffsets({ groupId: "groundstate.lagging", topics: ["lag"] })
        const groups = await admin.listGroups()
        await admin.disconnect()
        return { offsets, groups: groups.groups.map((group) => group.groupId) }
      })
      expect(seen.offsets[0].partitions).toMatchObject([{ partition: 0, offset: "2" }])
      expect(seen.groups).toContain("groundstate.lagging")
    }).pipe(Effect.provide(layer()))
  )

  it.scopedLive("answers OffsetOutOfRange when records are deleted under a reader", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      yield* log.ensureTopic("deleted", 1)
      yield* log.append("deleted", records("a", "b", "c"))
      const admin = outside().admin()
      yield* Effect.promise(async () => {
        await admin.connect()
        // kafkajs deletes only where it has looked before.
        await admin.fetchTopicOffsets("deleted")
        await admin.deleteTopicRecords({ topic: "deleted", partitions: [{ partition: 0, offset: "2" }] })
        await admin.disconnect()
      })
      expect(yield* Effect.flip(log.open(opening("deleted")))).toMatchObject({
        offset: 0,
        earliest: 2,
        latest: 3
      })
      const reader = yield* log.open({ ...opening("deleted"), offset: "earliest" })
      expect((yield* take(reader, 1))[0]).toMatchObject({ offset: 2, value: "c" })
    }).pipe(Effect.provide(layer()))
  )

  it.scopedLive("reads a compacted topic past its gaps", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      const admin = outside().admin()
      yield* Effect.promise(async () => {
        await admin.connect()
        await admin.createTopics({
          topics: [
            {
              topic: "compacted",
              numPartitions: 1,
              configEntries: [
                { name: "cleanup.policy", value: "compact" },
                { name: "segment.ms", value: "100" },
                { name: "min.cleanable.dirty.ratio", value: "0.01" },
                { name: "min.compaction.lag.ms", value: "0" }
              ]
            }
          ]
        })
        await admin.disconnect()
      })
      const keyed = (value: string) => [{ key: bytes("k"), value: bytes(value) }]
      // Each append rolls the segment, so that the cleaner may take the one before; it runs every 15 s, so
      // what is checked holds whether it came by or not: the newest value is there, at its own offset.
      for (let i = 0; i < 4; i++) yield* log.append("compacted", keyed(`v${i}`))
      const { rows } = yield* readTo("compacted", 4)
      expect(rows[rows.length - 1]).toMatchObject({ offset: 3, value: "v3" })
    }).pipe(Effect.provide(layer()))
  )

  it.scopedLive("hands a waiting reader a record soon after it was stored", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      yield* log.ensureTopic("soon", 1)
      const reader = yield* log.open(opening("soon"))
      const took: Array<number> = []
      for (let i = 0; i < 50; i++) {
        const waiting = yield* Effect.fork(take(reader, 1))
        yield* Effect.yieldNow()
        const started = performance.now()
        yield* log.append("soon", records(`${i}`))
        yield* Fiber.join(waiting)
        took.push(performance.now() - started)
      }
      took.sort((a, b) => a - b)
      expect(took[25]).toBeLessThan(50)
    }).pipe(Effect.provide(layer()))
  )

  it.live("fails an append that no broker takes, within its time, and takes the next one", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      yield* log.ensureTopic("refused", 1)
      const tooBig = [{ key: null, value: new Uint8Array(2_000_000) }]
      const [big, small] = yield* Effect.all(
        [
          Effect.either(log.append("refused", tooBig)),
          Effect.either(log.append("refused", records("small")))
        ],
        { concurrency: "unbounded" }
      )
      expect(big._tag).toBe("Left")
      expect(small._tag).toBe("Right")
    }).pipe(Effect.provide(layer()))
  )
})

describe.skipIf(!kafkaAvailable())("F6 broker killed", () => {
  it.scopedLive(
    "I1 a reader and a writer go on where they were when the broker is back",
    () =>
      Effect.gen(function* () {
        const broker = yield* Effect.acquireRelease(
          Effect.promise(() => startKafka()),
          (started) => Effect.promise(() => started.stop())
        )
        yield* Effect.gen(function* () {
          const log = yield* EventLog
          yield* log.ensureTopic("t", 1)
          const reader = yield* log.open({
            topic: "t",
            partition: 0,
            offset: 0,
            epoch: 1,
            stream: "s",
            fetchBytesMax: 1_048_576
          })
          yield* log.append("t", records("a", "b"))
          yield* take(reader, 1)
          yield* Effect.promise(() => broker.kill9())
          // Where the broker is away an append fails, typed, and nothing is read.
          expect((yield* Effect.flip(log.append("t", records("lost"))))._tag).toBe("LogUnavailable")
          expect((yield* Effect.flip(log.ping))._tag).toBe("LogUnavailable")
          yield* Effect.promise(() => broker.restart())
          const after = yield* log.append("t", records("c"))
          const rows: Array<Seen> = []
          while (rows[rows.length - 1]?.value !== "c") rows.push(...(yield* take(reader, 1)))
          expect(rows.filter((row) => row.value === "c").map((row) => row.offset)).toEqual([after[0].offset])
          expect(new Set(rows.map((row) => row.offset)).size).toBe(rows.length)
        }).pipe(
          Effect.provide(
            KafkaLog.layer({
              brokers: broker.brokers,
              clientId: "test",
              limits: { appendTimeoutMillis: 3_000, unavailableAfterMillis: 60_000 }
            })
          )
        )
      }),
    90_000
  )

  it.scopedLive(
    "I1 a reader notices a frozen broker by its silence, and goes on when it thaws",
    () =>
      Effect.gen(function* () {
        const broker = yield* Effect.acquireRelease(
          Effect.promise(() => startKafka()),
          (started) => Effect.promise(() => started.stop())
        )
        yield* Effect.gen(function* () {
          const log = yield* EventLog
          yield* log.ensureTopic("t", 1)
          const reader = yield* log.open({
            topic: "t",
            partition: 0,
            offset: 0,
            epoch: 1,
            stream: "s",
            fetchBytesMax: 1_048_576
          })
          yield* log.append("t", records("a"))
          yield* take(reader, 1)
          process.kill(broker.pid, "SIGSTOP")
          const silence = yield* Effect.flip(Effect.asVoid(Effect.forever(reader.fetch(1_000))))
          expect(silence).toMatchObject({ _tag: "LogUnavailable", operation: "read" })
          process.kill(broker.pid, "SIGCONT")
          yield* log.append("t", records("b")).pipe(Effect.retry({ times: 5 }))
          expect((yield* take(reader, 1))[0]).toMatchObject({ offset: 1, value: "b" })
        }).pipe(
          Effect.provide(
            KafkaLog.layer({
              brokers: broker.brokers,
              clientId: "test",
              limits: {
                requestTimeoutMillis: 1_000,
                connectTimeoutMillis: 500,
                appendTimeoutMillis: 3_000,
                unavailableAfterMillis: 3_000
              }
            })
          )
        )
      }),
    90_000
  )

  it.live("builds without a broker, and says so when asked", () =>
    Effect.gen(function* () {
      const log = yield* EventLog
      expect(yield* Effect.flip(log.ping)).toMatchObject({ _tag: "LogUnavailable", operation: "describe" })
    }).pipe(
      Effect.provide(
        KafkaLog.layer({ brokers: ["127.0.0.1:1"], clientId: "test", limits: { appendTimeoutMillis: 2_000 } })
      )
    )
  )
})
