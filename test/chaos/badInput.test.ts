// F16 F17 F18 F19 F20: whatever lies in the log, the runner goes on; what it can't take is kept with why. I1 I2 I4 I5.
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { Effect } from "effect"
import { Kafka as KafkaJs, logLevel } from "kafkajs"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { KafkaLog } from "../../src/services/ingest/KafkaLog.ts"
import { badCorpus, bytesOf } from "../support/badCorpus.ts"
import { appendEmbedded, readEmbedded, readTopic } from "../support/cellFiles.ts"
import { chaosStream, T0 } from "../support/chaosStream.ts"
import { produceWithJava } from "../support/javaProducer.ts"
import { type Kafka, kafkaAvailable, startKafka } from "../support/kafka.ts"
import { drained, type RunnerProcess, startRunner, type Told, until, writeConfig } from "../support/runner.ts"

const root = mkdtempSync(join(tmpdir(), "groundstate-bad-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const stream = { ...chaosStream, source: { ...chaosStream.source, partitions: 1 }, ahead: "20s" }
const settings = {
  log: { durability: "normal" },
  cell: { checkpointEvery: "100ms" },
  telemetry: { logLevel: "warning" }
}
const utf8 = new TextEncoder()
const MiB = 1_048_576

let count = 0
const good = (more: Readonly<Record<string, unknown>> = {}) => {
  count++
  return JSON.stringify({
    device: `d${count % 5}`,
    ts: T0 + count * 100,
    id: `g-${count}`,
    load: 10,
    bytes: 1_000,
    ...more
  })
}
/** Resident memory of a process, bytes; 0 where the system does not say. */
const residentBytes = (pid: number): number => {
  try {
    const found = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))
    return found === null ? 0 : Number(found[1]) * 1_024
  } catch {
    return 0
  }
}

const lettersOf = (values: ReadonlyArray<Uint8Array | null>): ReadonlyArray<Told> => [
  ...new Map(
    values.map((value) => {
      const letter = JSON.parse(new TextDecoder().decode(value ?? new Uint8Array(0)))
      return [letter.id, letter]
    })
  ).values()
]

interface Way {
  readonly runner: RunnerProcess
  /** Puts records into partition 0 past any check; answers the first offset. */
  readonly put: (values: ReadonlyArray<Uint8Array | null>) => Promise<number>
  readonly letters: () => Promise<ReadonlyArray<Told>>
}

const cell = async (way: Way): Promise<Told> => (await way.runner.ask("GET", "/v1/cells/flows/0")).body
const reach = async (way: Way, end: number): Promise<Told> => (await drained(way.runner, [end]))[0]
const accounted = (status: Told) => {
  const { deadLetters, duplicates, scored } = status.counters
  expect(scored + duplicates + deadLetters).toBe(status.offset)
}
const letterAt = (way: Way, offsets: ReadonlyArray<number>) =>
  until("the dead letters", async () => {
    const letters = new Map((await way.letters()).map((letter) => [letter.offset, letter]))
    return offsets.every((offset) => letters.has(offset)) ? letters : undefined
  })

/** What must hold on every log. */
const badInputSuite = (open: () => Way) => {
  it("F16 F17: every record of the corpus is kept with its reason, the good ones around it are scored", {
    timeout: 120_000
  }, async () => {
    const way = open()
    const values = badCorpus.flatMap(([, , value]) => [utf8.encode(good()), bytesOf(value)])
    // Large ones alone: a producer's request has its own limit.
    let first = -1
    const before = await cell(way)
    const memory = residentBytes(way.runner.pid)
    for (let at = 0; at < values.length; at += 2) {
      const offset = await way.put(values.slice(at, at + 2))
      if (first < 0) first = offset
    }
    const end = (await way.put([utf8.encode(good())])) + 1
    const status = await reach(way, end)
    expect(status.paused).toBeNull()
    accounted(status)
    const letters = await letterAt(
      way,
      badCorpus.map((_, i) => first + 2 * i + 1)
    )
    for (const [i, [name, reason, value]] of badCorpus.entries()) {
      const offset = first + 2 * i + 1
      const letter = letters.get(offset)
      const original = bytesOf(value) ?? new Uint8Array(0)
      expect(letter, name).toMatchObject({
        id: `flows.0.${offset}`,
        reason,
        partition: 0,
        offset,
        attempts: 1
      })
      expect(letter.detail.length, name).toBeGreaterThan(0)
      expect(letter.size, name).toBe(original.length)
      const kept = Buffer.from(letter.bytes, "base64")
      expect(kept.equals(Buffer.from(original.subarray(0, kept.length))), name).toBe(true)
      if (original.length < 700_000) expect(kept.length, name).toBe(original.length)
      expect(letters.has(offset - 1), `the event before ${name}`).toBe(false)
    }
    expect(before.epoch).toBe(status.epoch)
    // F17 allows 64 MiB for a record; two of over ten megabytes are in flight here, in a process that has only just begun.
    expect((residentBytes(way.runner.pid) - memory) / MiB, "MiB more").toBeLessThan(128)
    expect((await way.runner.ask("GET", "/readyz")).status).toBe(200)
  })

  it("F19: an event delivered ten times counts once; its id with other bytes is a conflict", async () => {
    const way = open()
    const once = utf8.encode(good({ id: "once" }))
    const start = await cell(way)
    const first = await way.put(Array.from({ length: 10 }, () => once))
    await way.put([utf8.encode(good({ id: "once", load: 11 }))])
    const end = (await way.put([utf8.encode(good())])) + 1
    const status = await reach(way, end)
    accounted(status)
    expect(status.counters.scored - start.counters.scored).toBe(2)
    expect(status.counters.duplicates - start.counters.duplicates).toBe(9)
    const letters = await letterAt(way, [first + 10])
    expect(letters.get(first + 10)).toMatchObject({ reason: "id-conflict" })
  })

  it("F20: disorder within the lateness is taken, later events are counted late, the future is capped", async () => {
    const way = open()
    const device = "ordered"
    const at = T0 + 10_000_000
    const start = await cell(way)
    const one = (ts: number, id: string, load = 10) =>
      utf8.encode(JSON.stringify({ device, ts, id, load, bytes: 1_000 }))
    await way.put([
      one(at, "o1"),
      one(at - 15_000, "o2"),
      one(at - 5_000, "o3"),
      one(at - 3_600_000, "late-hour", 400),
      one(at - 86_400_000, "late-day", 400)
    ])
    // An hour after anything that the log itself has seen: not believed.
    const ahead = performance.timeOrigin + performance.now() + 3_600_000
    const end = (await way.put([one(ahead, "future")])) + 1
    const status = await reach(way, end)
    accounted(status)
    expect(status.counters.late - start.counters.late).toBe(2)
    expect(status.counters.ahead - start.counters.ahead).toBe(1)
    expect(status.counters.scored - start.counters.scored).toBe(6)
    const page = (await way.runner.ask("GET", `/v1/devices/${device}`)).body
    // Late events leave baselines alone: four events have taught it, and its load is still 10.
    expect(page.cell.events).toBe(4)
    expect(page.cell.baselines.find((baseline: Told) => baseline.signal === "load").mean).toBeCloseTo(10, 3)
    expect(page.cell.lastEventAt).toBeLessThan(ahead - 3_000_000)
  })

  it("F17: a body that unpacks to a thousand times its size is refused before it is parsed", async () => {
    const way = open()
    const end = (await cell(way)).endOffset
    const bomb = gzipSync(Buffer.alloc(64 * MiB, " "))
    expect(bomb.length).toBeLessThan(MiB / 10)
    const answer = await fetch(`${way.runner.url}/v1/events`, {
      method: "POST",
      headers: { "content-type": "application/json", "content-encoding": "gzip" },
      body: bomb
    })
    expect(answer.status).toBe(413)
    await answer.text()
    expect((await cell(way)).endOffset).toBe(end)
  })
}

describe("bad input on the embedded log", () => {
  let way: Way
  const folder = join(root, "embedded")
  beforeAll(async () => {
    const runner = await startRunner(writeConfig(folder, settings, [stream]))
    await runner.ready()
    way = {
      runner,
      put: async (values) =>
        (
          await appendEmbedded(
            join(folder, "data"),
            "flows",
            values.map((value) => ({ partition: 0, value }))
          )
        )[0].offset,
      letters: async () =>
        lettersOf(
          (await readEmbedded(join(folder, "data"), "groundstate.deadletters")).records.map(
            (one) => one.value
          )
        )
    }
  }, 60_000)
  afterAll(async () => {
    const { code } = await way.runner.stop()
    expect(code, way.runner.said()).toBe(0)
  })
  badInputSuite(() => way)
})

describe.skipIf(!kafkaAvailable())("bad input on Kafka", () => {
  let broker: Kafka
  let way: Way
  let close: () => Promise<unknown>
  beforeAll(async () => {
    broker = await startKafka({
      "message.max.bytes": String(40 * MiB),
      "socket.request.max.bytes": String(64 * MiB)
    })
    const kafka = new KafkaJs({ brokers: [...broker.brokers], logLevel: logLevel.NOTHING })
    const admin = kafka.admin()
    await admin.connect()
    await admin.createTopics({ topics: [{ topic: "flows", numPartitions: 1 }] })
    await admin.disconnect()
    const producer = kafka.producer()
    await producer.connect()
    const log = { ...settings.log, kind: "kafka", kafka: { brokers: broker.brokers } }
    const runner = await startRunner(writeConfig(join(root, "kafka"), { ...settings, log }, [stream]))
    await runner.ready()
    close = async () => {
      await producer.disconnect()
      await runner.stop()
    }
    const read = (topic: string) =>
      Effect.runPromise(
        readTopic(topic).pipe(Effect.provide(KafkaLog.layer({ brokers: broker.brokers, clientId: "test" })))
      )
    way = {
      runner,
      put: async (values) => {
        const messages = values.map((value) => ({
          partition: 0,
          value: value === null ? null : Buffer.from(value)
        }))
        const [sent] = await producer.send({ topic: "flows", messages })
        return Number(sent.baseOffset)
      },
      letters: async () => lettersOf((await read("groundstate.deadletters")).records.map((one) => one.value))
    }
  }, 120_000)
  afterAll(async () => {
    await close?.()
    await broker?.stop()
  })
  badInputSuite(() => way)

  it("F18: batches in every codec are read, a bomb among them is buried by its offset, nothing is stuck", {
    timeout: 120_000
  }, async () => {
    const first = (await cell(way)).endOffset
    const codecs = ["gzip", "snappy", "lz4", "zstd"]
    produceWithJava(broker.brokers, [
      ...codecs.map((codec) => ({
        topic: "flows",
        mode: "batch" as const,
        settings: { "compression.type": codec }
      })),
      {
        topic: "flows",
        mode: "bomb",
        settings: { "compression.type": "gzip", "linger.ms": "0", "batch.size": "1" }
      }
    ])
    const offset = await way.put([utf8.encode(good())])
    const status = await reach(way, offset + 1)
    accounted(status)
    expect(status.paused).toBeNull()
    // Java's records are JSON without a device: each was read, and refused for what it says.
    const letters = await letterAt(way, [first, first + 19_999])
    const reasons = new Map<string, number>()
    for (let at = first; at < first + 20_000; at++) {
      const reason = letters.get(at)?.reason
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
    }
    expect(reasons).toEqual(new Map([["missing-device", 20_000]]))
    const rest = [...letters.values()].filter((letter) => letter.offset >= first + 20_000)
    expect(rest.map((letter) => letter.offset).sort((a, b) => a - b)).toEqual(
      [20_000, 20_001, 20_002].map((n) => first + n)
    )
    expect(rest.map((letter) => letter.reason).sort()).toEqual(["bad-json", "bad-json", "too-large"])
  })
})
