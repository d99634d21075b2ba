// KDD-99 rows through Kafka: `produce`, a runner with the model, its alerts on the topic, compared with `replay`.
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Kafka as KafkaJs, logLevel } from "kafkajs"
import { parse } from "yaml"
import { type Kafka, kafkaAvailable } from "../test/support/kafka.ts"
import { makePlace, onKafka, type Place, pause, type Runner, startBroker, startRunner } from "./live.ts"
import { type Finding, groundstate, type Replayed, say } from "./program.ts"
import { kddStream, readKdd, trainKdd, writeEvents } from "./realKdd.ts"

const ROWS = 200_000
const DRAIN_MILLIS_MAX = 180_000

const idsIn = (file: string): ReadonlySet<string> =>
  new Set(
    readFileSync(file, "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => (JSON.parse(line) as { readonly id: string }).id)
  )

/** The stream of the example on a topic of its own, written where `--stream` can read it. */
const place = (kafka: Kafka, topic: string, partitions: number): Place => {
  const definition = parse(readFileSync(kddStream, "utf8")) as Readonly<Record<string, unknown>>
  return makePlace(
    { ...definition, source: { topic, format: "json", partitions } },
    { ...onKafka(kafka), cell: { checkpointEvery: "2s" } }
  )
}

const register = (model: string, where: Place, runner: Runner): void => {
  const entry = fileURLToPath(new URL("../main.js", import.meta.url))
  const words = [
    "models",
    "register",
    model,
    "--config",
    where.config,
    "--stream",
    "kdd",
    "--server",
    runner.url
  ]
  const done = spawnSync(process.execPath, [entry, ...words], { encoding: "utf8" })
  if (done.status !== 0) throw new Error(`the model was not activated: ${done.stderr}`)
}

/** Waits until the cells have scored so many events; answers their counters together. */
const scored = async (runner: Runner, events: number) => {
  const until = performance.now() + DRAIN_MILLIS_MAX
  for (;;) {
    const cells = await runner.cells()
    const sum = (pick: (cell: (typeof cells)[number]) => number) =>
      cells.reduce((total, cell) => total + pick(cell), 0)
    const done = sum((cell) => cell.counters.scored)
    if (done >= events && sum((cell) => cell.lag) === 0) {
      return {
        scored: done,
        alerts: sum((cell) => cell.counters.alerts),
        paths: cells.map((cell) => cell.path)
      }
    }
    if (performance.now() > until) throw new Error(`the runner scored ${done} of ${events} events`)
    await pause(20)
  }
}

/** Ids on the alert topic, and how many records carry them. */
const alertsOf = async (kafka: Kafka, stream: string) => {
  const client = new KafkaJs({ brokers: [...kafka.brokers], logLevel: logLevel.NOTHING })
  const topic = "groundstate.alerts"
  const admin = client.admin()
  await admin.connect()
  const ends = await admin.fetchTopicOffsets(topic)
  await admin.disconnect()
  const wanted = ends.reduce((sum, end) => sum + Number(end.high), 0)
  const ids = new Set<string>()
  let records = 0
  let seen = 0
  const consumer = client.consumer({ groupId: `real-data-${stream}` })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await new Promise<void>((resolve) => {
    if (wanted === 0) resolve()
    void consumer.run({
      eachMessage: async ({ message }) => {
        const alert = JSON.parse(String(message.value)) as {
          readonly id: string
          readonly data: { readonly stream: string }
        }
        if (alert.data.stream === stream) {
          ids.add(alert.id)
          records++
        }
        if (++seen >= wanted) resolve()
      }
    })
  })
  await consumer.disconnect()
  return { ids, records }
}

interface Produced {
  readonly accepted: number
  readonly eventsPerSecond: number
}

const produce = (kafka: Kafka, where: Place, input: string) =>
  groundstate<Produced>(
    ...["produce", "--input", input, "--brokers", kafka.brokers.join(","), "-o", "json"],
    ...["--stream", join(where.folder, "streams", "stream.yaml")]
  )

/** Events a second through produce, broker and runner, and whether the alerts are those of `replay`. */
export const realKafka = async (folder: string): Promise<ReadonlyArray<Finding>> => {
  const files = readKdd()
  if (files === undefined || !kafkaAvailable()) {
    say("kafka skipped: it needs ../shared/data/kdd99, Java 17 and Maven")
    return []
  }
  const model = await trainKdd(files, folder)
  const input = await writeEvents(join(folder, "kafka.jsonl"), files.names, files.test.slice(0, ROWS))
  const output = join(folder, "kafka-replay.jsonl")
  const alone = await groundstate<Replayed>(
    ...["replay", "--stream", kddStream, "--input", input, "--model", model, "--output", output, "-o", "json"]
  )
  const expected = idsIn(output)
  const kafka = await startBroker()
  try {
    // Events come while the runner reads, in one partition as in a replay: the same offsets, so the same ids.
    const one = place(kafka, "kdd-one", 1)
    const runner = await startRunner(one, 1)
    register(model, one, runner)
    const from = performance.now()
    const produced = await produce(kafka, one, input)
    const done = await scored(runner, alone.events)
    const seconds = (performance.now() - from) / 1_000
    const live = await alertsOf(kafka, "kdd")
    await runner.stop()
    const missing = [...expected].filter((id) => !live.ids.has(id)).length
    const extra = [...live.ids].filter((id) => !expected.has(id)).length
    const findings: Array<Finding> = [
      {
        data: "KDD-99 corrected, first 200,000",
        way: "replay, model of normals",
        events: alone.events,
        alerts: alone.alerts,
        eventsPerSecond: alone.eventsPerSecond
      },
      {
        data: "KDD-99 corrected, first 200,000",
        way: "Kafka, 1 partition, while produced",
        events: done.scored,
        alerts: live.ids.size,
        eventsPerSecond: done.scored / seconds,
        detail: {
          produceEventsPerSecond: produced.eventsPerSecond,
          accepted: produced.accepted,
          alertRecords: live.records,
          alertsCounted: done.alerts,
          idsMissing: missing,
          idsExtra: extra,
          paths: done.paths
        }
      }
    ]
    // A backlog in four partitions: other neighbours in each cell, so other alerts; the rate is what it tells.
    const four = place(kafka, "kdd-four", 4)
    const first = await startRunner(four, 4)
    register(model, four, first)
    await first.stop()
    await produce(kafka, four, input)
    const begun = performance.now()
    const second = await startRunner(four, 4)
    const drained = await scored(second, alone.events)
    const drainSeconds = (performance.now() - begun) / 1_000
    findings.push({
      data: "KDD-99 corrected, first 200,000",
      way: "Kafka, 4 partitions, backlog and start",
      events: drained.scored,
      alerts: drained.alerts,
      eventsPerSecond: drained.scored / drainSeconds,
      detail: { startMillis: second.startMillis, paths: drained.paths }
    })
    await second.stop()
    for (const finding of findings) say(JSON.stringify(finding))
    if (missing > 0 || extra > 0) {
      say(`kafka: ${missing} alerts of the replay are missing on the topic, ${extra} are only there`)
    }
    return findings
  } finally {
    await kafka.stop()
  }
}
