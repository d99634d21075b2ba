// Training on what came in last: the topic's last events in the order of the log's times, from either log.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { afterAll, beforeAll } from "vitest"
import { programs } from "../../src/programs/programs.ts"
import { TimesTail } from "../../src/programs/timesTail.ts"
import { Programs } from "../../src/services/cli/Programs.ts"
import { EmbeddedLog } from "../../src/services/ingest/EmbeddedLog.ts"
import { EventLog, type NewRecord } from "../../src/services/ingest/EventLog.ts"
import { KafkaLog } from "../../src/services/ingest/KafkaLog.ts"
import { defaultConfig, type RunnerConfig } from "../../src/services/runtime/Settings.ts"
import { makeRandom } from "../../src/services/train/random.ts"
import { runWords } from "../services/cli/commandHarness.ts"
import { type Kafka, kafkaAvailable, startKafka } from "../support/kafka.ts"

const folder = mkdtempSync(join(tmpdir(), "groundstate-tail-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const bytes = (value: string) => new TextEncoder().encode(value)
/** Event `at` of a topic: odd ones in partition 0, even ones in partition 1, one a second. */
const record = (at: number, value: string | null): NewRecord => ({
  key: null,
  value: value === null ? null : bytes(value),
  timestamp: 1_700_000_000_000 + 1_000 * at,
  partition: (at + 1) % 2
})

const tailSuite = (name: string, settings: () => RunnerConfig, log: () => Layer.Layer<EventLog, unknown>) =>
  describe(name, () => {
    const append = (topic: string, records: ReadonlyArray<NewRecord>) =>
      Effect.gen(function* () {
        const { ensureTopic, append: send } = yield* EventLog
        yield* ensureTopic(topic, 2)
        yield* send(topic, records)
      }).pipe(Effect.provide(Layer.suspend(log)), Effect.orDie)
    const tailOf = (topic: string, last: number, as: "event" | "record" = "event") =>
      Effect.gen(function* () {
        const { topicTail } = yield* Programs
        const tail = yield* topicTail(
          { settings: settings(), topic, last, form: { format: undefined, as } },
          () => Effect.void
        )
        return { ...tail, lines: readFileSync(tail.file, "utf8").trimEnd().split("\n") }
      }).pipe(Effect.provide(programs))

    it.scoped("gives the last events over all partitions, oldest first, and where each stood", () =>
      Effect.gen(function* () {
        yield* append(
          "spread",
          Array.from({ length: 50 }, (_, at) => record(at, `{"n":${at}}`))
        )
        const tail = yield* tailOf("spread", 21)
        expect(tail.lines).toEqual(Array.from({ length: 21 }, (_, at) => `{"n":${29 + at}}`))
        expect(tail.where(1)).toBe("partition 0, offset 14")
        expect(tail.where(2)).toBe("partition 1, offset 15")
        expect([tail.from, tail.to]).toEqual([29, 49].map((at) => 1_700_000_000_000 + 1_000 * at))
        expect((yield* tailOf("spread", 1_000)).events).toBe(50)
      })
    )

    it.scoped(
      "has one event a line: no tombstones, no line breaks, no envelopes unless they are wanted",
      () =>
        Effect.gen(function* () {
          const envelope = '{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"n":2}}'
          yield* append("odd", [
            record(0, '{\n "n":\r\n 1 }'),
            record(1, envelope),
            record(2, null),
            record(3, "not json"),
            {
              ...record(4, '{"n":3}'),
              headers: { ce_specversion: "1.0", ce_id: "2", ce_source: "s", ce_type: "t" }
            }
          ])
          const { lines, empty } = yield* tailOf("odd", 20)
          expect(lines).toEqual(['{  "n":   1 }', '{"n":2}', "not json", '{"n":3}'])
          expect(empty).toBe(1)
          const whole = yield* tailOf("odd", 20, "record")
          expect(whole.lines[1]).toBe(envelope)
          expect(JSON.parse(whole.lines[3])).toEqual({
            specversion: "1.0",
            id: "2",
            source: "s",
            type: "t",
            data: { n: 3 }
          })
        })
    )

    it.scoped("says what is wrong where there is no topic", () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(tailOf("nothing-here", 20))
        expect(error.message).toContain("nothing-here")
      })
    )
  })

tailSuite(
  "the last events of the embedded log",
  () => ({ ...defaultConfig, dataDir: folder }),
  () => EmbeddedLog.layer({ filename: join(folder, "log.db"), synchronous: "normal" })
)

describe.skipIf(!kafkaAvailable())("on Kafka", () => {
  let broker: Kafka
  beforeAll(async () => {
    broker = await startKafka()
  })
  afterAll(() => broker?.stop())
  const kafka = () => ({
    brokers: broker.brokers as [string, ...Array<string>],
    clientId: "test",
    tls: false,
    startTimeout: 0
  })
  tailSuite(
    "the last events of a topic",
    () => ({ ...defaultConfig, log: { ...defaultConfig.log, kind: "kafka", kafka: kafka() } }),
    () => KafkaLog.layer({ brokers: broker.brokers, clientId: "test" })
  )
})

describe("the latest times", () => {
  it("are the same as by sorting all of them, in any order", () => {
    const random = makeRandom(3)
    for (const last of [1, 7, 100]) {
      const times = Array.from({ length: 1_000 }, () => random.below(60))
      const tail = new TimesTail(last)
      times.forEach((time) => {
        tail.add(time)
      })
      const latest = [...times].sort((a, b) => b - a).slice(0, last)
      expect(tail.first()).toEqual({
        time: latest[last - 1],
        ties: latest.filter((time) => time === latest[last - 1]).length
      })
    }
    expect(new TimesTail(5).first().ties).toBe(0)
  })
})

describe("train --topic", () => {
  it.live(
    "makes a model of the events, names bad ones by offset, and saves a stream that passes its check",
    () =>
      Effect.gen(function* () {
        const random = makeRandom(4)
        const events = Array.from({ length: 400 }, (_, at) =>
          at === 30
            ? '{"bytes": "many"}'
            : at === 31
              ? "{broken"
              : JSON.stringify({
                  device: `d${random.below(9)}`,
                  ts: new Date(1_700_000_000_000 + 1_000 * at).toISOString(),
                  "net.in": random.normal(),
                  bytes: Math.round(Math.exp(6 + 2 * random.normal())),
                  proto: ["tcp", "udp"][random.below(2)],
                  on: random.below(2) === 0
                })
        )
        yield* Effect.gen(function* () {
          const { ensureTopic, append } = yield* EventLog
          yield* ensureTopic("flows", 2)
          yield* append(
            "flows",
            events.map((event, at) => record(at, event))
          )
        }).pipe(
          Effect.provide(EmbeddedLog.layer({ filename: join(folder, "log.db"), synchronous: "normal" }))
        )
        const config = join(folder, "groundstate.yaml")
        writeFileSync(config, `dataDir: ${JSON.stringify(folder)}\n`)
        const real = yield* Effect.provide(Programs, programs)
        const saved = join(folder, "streams", "flows.yaml")
        const words = ["train", "--topic", "flows", "--last", "390", "--config", config, "--energy", "fast"]
        const trained = yield* runWords(
          [...words, "--output", join(folder, "flows"), "--save-stream", saved],
          {
            programs: real
          }
        )
        expect([trained.code, trained.err]).toEqual([
          0,
          expect.stringContaining("Read the last 390 events of topic flows")
        ])
        expect(trained.err).toContain("partition 0, offset 15: not a JSON value")
        expect(trained.err).toContain('partition 1, offset 15, column bytes: "many" is no number')
        expect(trained.out).toMatch(/Rows: +389 read/)
        expect(trained.out).toMatch(/COLUMN +TYPE +MISSING +HOLDS/)
        expect(trained.out).toMatch(/bytes +number, log +/)
        const checked = yield* runWords(["config", "check", saved])
        expect([checked.code, checked.err + checked.out]).toEqual([0, expect.any(String)])
        expect(readFileSync(saved, "utf8")).toMatch(/identity: \{ device: "device", time: "ts" \}\nfields:\n/)
        // The stream that was saved names the topic, so it is enough by itself.
        const again = yield* runWords(
          [
            "train",
            "--stream",
            saved,
            "--config",
            config,
            "--energy",
            "fast",
            "--output",
            join(folder, "again")
          ],
          { programs: real }
        )
        expect([again.code, again.err]).toEqual([
          0,
          expect.stringContaining("Read the last 400 events of topic flows")
        ])
        const twice = yield* runWords([...words, "--output", join(folder, "more"), "--save-stream", saved], {
          programs: real
        })
        expect([twice.code, twice.err]).toEqual([1, expect.stringContaining("exists, and is left as it is")])
      })
  )

  it.live("refuses sources that do not go together, or none", () =>
    Effect.gen(function* () {
      for (const [words, said] of [
        [[], "Add --input FILE, or --topic TOPIC"],
        [["--input", "a.csv", "--topic", "b"], "Give one of them"],
        [["--topic", "b", "--features", "device"], "Add --stream FILE.yaml"]
      ] as const) {
        const outcome = yield* runWords(["train", "--output", join(folder, "x"), ...words])
        expect([outcome.code, outcome.err]).toEqual([2, expect.stringContaining(said)])
      }
      const real = yield* Effect.provide(Programs, programs)
      const config = join(folder, "empty.yaml")
      writeFileSync(config, `dataDir: ${JSON.stringify(join(folder, "nowhere"))}\n`)
      const nowhere = yield* runWords(
        ["train", "--topic", "flows", "--config", config, "--output", join(folder, "x")],
        { programs: real }
      )
      expect([nowhere.code, nowhere.err]).toEqual([1, expect.stringContaining("There is no event log at")])
    })
  )
})
