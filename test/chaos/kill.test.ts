// F1, F33: a runner that is killed again and again says in the end what an undisturbed one says. I1 I2 I3 I4 I9.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { SqlClient } from "@effect/sql"
import { Effect } from "effect"
import { Kafka as KafkaJs, logLevel } from "kafkajs"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { KafkaLog } from "../../src/services/ingest/KafkaLog.ts"
import { layerSqlite } from "../../src/services/runtime/Database.ts"
import { defaultConfig } from "../../src/services/runtime/Settings.ts"
import {
  appendEmbedded,
  checkpointed,
  readEmbedded,
  readTopic,
  rewind,
  writeEmbedded
} from "../support/cellFiles.ts"
import { trainChaosModel } from "../support/chaosModel.ts"
import {
  badRecords,
  type ChaosEvent,
  chaosPlan,
  chaosStream,
  makeEvents,
  PARTITIONS
} from "../support/chaosStream.ts"
import { seeded } from "../support/folding.ts"
import { type Kafka, kafkaAvailable, startKafka } from "../support/kafka.ts"
import {
  command,
  drained,
  passes,
  type RunnerProcess,
  startRunner,
  type Told,
  until,
  writeConfig
} from "../support/runner.ts"

const KILLS = 20
/** Fixed, so that a failure comes again; another one by hand: CHAOS_SEED=7 npx vitest run test/chaos. */
const SEED = Number(process.env["CHAOS_SEED"] ?? 20_251)
const MINUTES_4 = 240_000

const root = mkdtempSync(join(tmpdir(), "groundstate-chaos-"))
let bundle = ""
let digest = ""

const settings = {
  log: { durability: "normal" },
  cell: { checkpointEvery: "60ms", checkpointEventsMax: 2_000, batchEventsMax: 64, idleWait: "50ms" },
  telemetry: { logLevel: "warning" }
}

beforeAll(() => {
  bundle = trainChaosModel(root)
}, 120_000)
// With CHAOS_KEEP=1 the folders stay, to be looked into.
afterAll(() => {
  if (process.env["CHAOS_KEEP"] === undefined) rmSync(root, { recursive: true, force: true })
})

/** The runner that lives now; the producer and the operator ask whichever that is. */
interface Lives {
  current: RunnerProcess | undefined
  kills: number
}

/** Asks until a runner answers as wanted: what is killed in between is asked again with the same ids. */
const insist = (lives: Lives, what: string, send: (runner: RunnerProcess) => Promise<boolean>) =>
  until(what, async () => {
    const runner = lives.current
    return runner !== undefined && (await send(runner)) ? true : undefined
  })

const operate = (lives: Lives, seed: number) => {
  const post = (path: string, key: string, body: unknown) => () =>
    insist(lives, path, async (runner) => {
      const answer = await runner.ask("POST", path, body, { "idempotency-key": `${key}-${seed}` })
      if (answer.status >= 400 && answer.status < 500)
        throw new Error(`${path}: ${JSON.stringify(answer.body)}`)
      return answer.status < 300
    })
  /** By number of the kill before which each is asked for. */
  return new Map<number, () => Promise<unknown>>([
    [2, post("/v1/devices/d5/quarantine", "quarantine", { reason: "test" })],
    [4, post(`/v1/models/${digest}/activate`, "activate", { stream: "flows" })],
    [7, post("/v1/devices/d7/override", "mute", { mute: true, until: Number.MAX_SAFE_INTEGER })],
    [9, post("/v1/devices/d9/override", "shift", { shift: 8, until: Number.MAX_SAFE_INTEGER })],
    [12, post("/v1/devices/d5/release", "release", {})],
    [15, post(`/v1/models/${digest}/retire`, "retire", {})],
    [17, post(`/v1/models/${digest}/activate`, "again", { stream: "flows" })]
  ])
}

/** Kills before which a model is activated or retired. */
const MODEL_LIVES = new Set([4, 15, 17])

interface Producer {
  /** Sends one round of events until they are acknowledged. */
  readonly round: (events: ReadonlyArray<ChaosEvent>) => Promise<unknown>
  /** While no runner runs. */
  readonly bad: (count: number) => Promise<unknown>
}

/** Lives and deaths: events and commands all the while, SIGKILL at moments that the seed decides. */
const torment = async (config: string, lives: Lives, producer: Producer, seed: number) => {
  const chance = seeded(seed)
  const next = makeEvents(seed)
  const commands = operate(lives, seed)
  let over = false
  let sent = 0
  const producing = (async () => {
    while (!over) {
      const events = Array.from({ length: 40 }, next)
      await producer.round(events)
      sent += events.length
      await passes(10)
    }
  })()
  const pending: Array<Promise<unknown>> = []
  for (; lives.kills < KILLS; lives.kills++) {
    const runner = await startRunner(config)
    lives.current = runner
    const commanded = commands.get(lives.kills)
    const asked = commanded?.()
    if (asked !== undefined) pending.push(asked)
    // One life in five ends while it starts, wherever that is; the others while they work. To open a model takes
    // longer than most lives, so those that are told to use one live until they do.
    const early = chance() < 0.2
    const rest = chance()
    if (MODEL_LIVES.has(lives.kills)) await asked
    else if (!early) await runner.ready()
    await passes(rest * (early ? 2_500 : 700))
    lives.current = undefined
    await runner.kill9()
    if (lives.kills % 4 === 1) await producer.bad(5)
  }
  const last = await startRunner(config)
  lives.current = last
  await last.ready()
  await Promise.all(pending)
  over = true
  await producing
  return { last, sent }
}

interface Outcome {
  readonly alerts: ReadonlyArray<string>
  readonly incidents: ReadonlyArray<unknown>
  readonly devices: ReadonlyArray<unknown>
}

/** What the actors remember. An incident's status follows the wall clock's sweeps and is left out. */
const remembered = (folder: string): Promise<Outcome> =>
  Effect.runPromise(
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const alerts = yield* sql<{ record_json: string }>`SELECT record_json FROM alert ORDER BY id`
      const incidents = yield* sql<{ record_json: string }>`SELECT record_json FROM incident ORDER BY id`
      const devices = yield* sql<{
        record_json: string
      }>`SELECT record_json FROM device ORDER BY stream, device`
      return {
        alerts: alerts.map((row) => row.record_json),
        incidents: incidents.map((row) => ({ ...JSON.parse(row.record_json), status: "", resolvedAt: null })),
        devices: devices.map((row) => JSON.parse(row.record_json).device)
      }
    }).pipe(
      Effect.provide(
        layerSqlite({ filename: join(folder, "state.db"), durability: "normal", busyTimeoutMillis: 5_000 })
      )
    )
  )

const decoded = (values: ReadonlyArray<Uint8Array | null>) =>
  values.map((value) => JSON.parse(new TextDecoder().decode(value ?? new Uint8Array(0))))

interface Topics {
  readonly alerts: ReadonlySet<string>
  /** id, reason, original bytes. */
  readonly letters: ReadonlyArray<string>
}

const topicsOf = (
  alerts: ReadonlyArray<Uint8Array | null>,
  letters: ReadonlyArray<Uint8Array | null>
): Topics => ({
  alerts: new Set(decoded(alerts).map((event) => event.id)),
  letters: [
    ...new Set(
      decoded(letters).map(
        ({ attempts, bytes, id, reason, size }) => `${id} ${reason} ${attempts} ${size} ${bytes}`
      )
    )
  ].sort()
})

/** An undisturbed run over the same log, from its first event to its end. */
const undisturbed = async (folder: string, ends: ReadonlyArray<number>) => {
  const config = writeConfig(folder, settings, [chaosStream])
  const runner = await startRunner(config)
  await runner.ready()
  const cells = await drained(runner, ends)
  const { code } = await runner.stop()
  expect(code, runner.said()).toBe(0)
  const data = join(folder, "data")
  const alerts = await readEmbedded(data, "groundstate.alerts")
  const letters = await readEmbedded(data, "groundstate.deadletters")
  return {
    cells: cells as ReadonlyArray<Told>,
    topics: topicsOf(
      alerts.records.map((record) => record.value),
      letters.records.map((record) => record.value)
    ),
    outcome: await remembered(data),
    state: await checkpointed(data, chaosPlan, PARTITIONS, cellSettings)
  }
}

const cellSettings = {
  ...defaultConfig,
  cell: { ...defaultConfig.cell, batchEventsMax: settings.cell.batchEventsMax }
}

/** The first few alerts, by offset, that only one side has or that the two sides tell differently. */
const differences = (killed: ReadonlyArray<string>, reference: ReadonlyArray<string>) => {
  const sides = [killed, reference].map((texts) => new Map(texts.map((text) => [JSON.parse(text).id, text])))
  const place = (id: string) => JSON.parse(sides[0].get(id) ?? sides[1].get(id) ?? "{}").offset
  return [...new Set(sides.flatMap((side) => [...side.keys()]))]
    .filter((id) => sides[0].get(id) !== sides[1].get(id))
    .sort((a, b) => place(a) - place(b))
    .slice(0, 5)
    .map((id) => ({ id, killed: sides[0].get(id), reference: sides[1].get(id) }))
}

const compare = async (
  data: string,
  killed: Topics,
  reference: Awaited<ReturnType<typeof undisturbed>>,
  ends: ReadonlyArray<number>
) => {
  const outcome = await remembered(data)
  const state = await checkpointed(data, chaosPlan, PARTITIONS, cellSettings)
  // Not vacuous: rules, baselines and the model have all spoken, and there was something to refuse.
  const paths = new Set(reference.outcome.alerts.map((text) => JSON.parse(text).path))
  expect([...paths].sort()).toEqual(["baseline", "fast"])
  expect(reference.outcome.alerts.filter((text) => JSON.parse(text).rule !== null).length).toBeGreaterThan(3)
  expect(reference.topics.letters.length).toBeGreaterThan(20)
  // I1, I4: every offset is scored, a repeat, or a dead letter.
  for (const cell of reference.cells) {
    const { counters } = cell
    expect(counters.scored + counters.duplicates + counters.deadLetters, `cell ${cell.partition}`).toBe(
      ends[cell.partition]
    )
    expect(counters.duplicates).toBeGreaterThan(0)
  }
  // I3: the same alerts, whole; in the topic at least once each, in the actors' store exactly once.
  expect(differences(outcome.alerts, reference.outcome.alerts)).toEqual([])
  expect([...killed.alerts].sort()).toEqual([...reference.topics.alerts].sort())
  expect(new Set(outcome.alerts.map((text) => JSON.parse(text).id))).toEqual(killed.alerts)
  expect(outcome.incidents).toEqual(reference.outcome.incidents)
  // I4: the same dead letters, with the same bytes.
  expect(killed.letters).toEqual(reference.topics.letters)
  // I2, I5: every column of every device, the fleet, the histogram and the ids remembered.
  expect(state.map((cell) => cell.nextOffset)).toEqual(ends)
  expect(state).toEqual(reference.state)
}

describe(`F1 a runner killed ${KILLS} times (seed ${SEED}): I1 I2 I3 I4 I9`, () => {
  it("on the embedded log ends as if nothing had been", { timeout: MINUTES_4 }, async () => {
    const folder = join(root, "embedded")
    mkdirSync(folder)
    const data = join(folder, "data")
    const config = writeConfig(folder, settings, [chaosStream])
    digest = JSON.parse(command("models", "register", bundle, "--config", config, "-o", "json").stdout).digest
    const lives: Lives = { current: undefined, kills: 0 }
    const { last, sent } = await torment(
      config,
      lives,
      {
        round: (events) =>
          insist(lives, "events to be taken", async (runner) => {
            const body = `[${events.map((event) => event.json).join(",")}]`
            const answer = await runner.ask("POST", "/v1/events", body)
            if (answer.status === 422) throw new Error(JSON.stringify(answer.body))
            return answer.status === 202
          }),
        bad: (count) =>
          appendEmbedded(
            data,
            "flows",
            badRecords.slice(0, count).map((value, i) => ({ partition: i % PARTITIONS, value }))
          )
      },
      SEED
    )
    const { ends } = await readEmbedded(data, "flows")
    await drained(last, ends)
    const stopped = await last.stop()
    expect(stopped.code, last.said()).toBe(0)
    expect(ends.reduce((sum, end) => sum + end, 0)).toBeGreaterThanOrEqual(sent)
    const alerts = await readEmbedded(data, "groundstate.alerts")
    const letters = await readEmbedded(data, "groundstate.deadletters")

    const quiet = join(root, "embedded-reference")
    mkdirSync(quiet)
    await rewind(data, join(quiet, "data"), { log: true })
    const reference = await undisturbed(quiet, ends)
    await compare(
      data,
      topicsOf(
        alerts.records.map((record) => record.value),
        letters.records.map((record) => record.value)
      ),
      reference,
      ends
    )
  })

  describe.skipIf(!kafkaAvailable())("on Kafka", () => {
    let broker: Kafka
    beforeAll(async () => {
      broker = await startKafka()
    })
    afterAll(() => broker?.stop())

    it("ends as if nothing had been", { timeout: MINUTES_4 }, async () => {
      const folder = join(root, "kafka")
      mkdirSync(folder)
      const data = join(folder, "data")
      const config = writeConfig(
        folder,
        { ...settings, log: { kind: "kafka", kafka: { brokers: broker.brokers } } },
        [chaosStream]
      )
      digest = JSON.parse(
        command("models", "register", bundle, "--config", config, "-o", "json").stdout
      ).digest
      const kafka = new KafkaJs({ brokers: [...broker.brokers], logLevel: logLevel.NOTHING })
      const admin = kafka.admin()
      await admin.connect()
      await admin.createTopics({ topics: [{ topic: "flows", numPartitions: PARTITIONS }] })
      const producer = kafka.producer()
      await producer.connect()
      const lives: Lives = { current: undefined, kills: 0 }
      const { last } = await torment(
        config,
        lives,
        {
          round: (events) =>
            producer.send({
              topic: "flows",
              messages: events.map((event) => ({ partition: event.partition, value: event.json }))
            }),
          bad: (count) =>
            producer.send({
              topic: "flows",
              messages: badRecords
                .slice(0, count)
                .map((value, i) => ({ partition: i % PARTITIONS, value: Buffer.from(value) }))
            })
        },
        SEED + 1
      )
      await producer.disconnect()
      await admin.disconnect()
      const read = (topic: string) =>
        Effect.runPromise(
          readTopic(topic).pipe(Effect.provide(KafkaLog.layer({ brokers: broker.brokers, clientId: "test" })))
        )
      const { ends, records } = await read("flows")
      await drained(last, ends)
      const stopped = await last.stop()
      expect(stopped.code, last.said()).toBe(0)
      const alerts = await read("groundstate.alerts")
      const letters = await read("groundstate.deadletters")

      // The reference reads the same records at the same offsets from an embedded log: the two logs are one contract.
      const quiet = join(root, "kafka-reference")
      mkdirSync(quiet)
      await rewind(data, join(quiet, "data"), { log: false })
      await writeEmbedded(join(quiet, "data"), "flows", PARTITIONS, records)
      const reference = await undisturbed(quiet, ends)
      await compare(
        data,
        topicsOf(
          alerts.records.map((record) => record.value),
          letters.records.map((record) => record.value)
        ),
        reference,
        ends
      )
    })
  })
})
