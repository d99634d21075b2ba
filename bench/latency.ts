// Question: how long from the moment an event should have been sent to its alert in a consumer's hands, at 20,000
// events/s and in a ten-fold burst? Open loop. The limit is the same trip without a runner: producer to kafkajs.
import { type Consumer, Kafka as KafkaJs, logLevel } from "kafkajs"
import type { Kafka } from "../test/support/kafka.ts"
import {
  cpuSeconds,
  OTHER_CORE,
  pause,
  pinSelf,
  preparePlace,
  type Sent,
  startBroker,
  startProducer,
  startRunner,
  WORK_CORE,
  watchCores
} from "./live.ts"
import { type Question, quantile, type Row, round, summaryOf } from "./report.ts"

const RATE = 20_000
const SECONDS = 15
const BURST_RATE = 200_000
const BURST_SECONDS = 3
const PARTITIONS = 8
const DEVICES = 20_000
/** One event in this many alerts. */
const ALARM_EVERY = 1_000
/** Alerts that come later than this after the last event are lost for the bench. */
const PATIENCE_MILLIS = 30_000

const wallNow = () => performance.timeOrigin + performance.now()

interface Heard {
  /** By alarm device: milliseconds from the event's time to its arrival here. */
  readonly latencies: Map<string, number>
  readonly stop: () => Promise<void>
}

/** Consumes a topic from its end; `read` answers the alarm's device and the event's time, undefined for others. */
const listen = async (
  kafka: Kafka,
  topic: string,
  read: (value: Buffer) => { readonly device: string; readonly time: number } | undefined
): Promise<Heard> => {
  const client = new KafkaJs({ brokers: [...kafka.brokers], logLevel: logLevel.NOTHING })
  const consumer: Consumer = client.consumer({ groupId: `bench-${topic}`, maxWaitTimeInMs: 500 })
  const latencies = new Map<string, number>()
  let joined: () => void = () => undefined
  const ready = new Promise<void>((resolve) => {
    joined = resolve
  })
  consumer.on(consumer.events.GROUP_JOIN, () => joined())
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: false })
  await consumer.run({
    autoCommit: false,
    partitionsConsumedConcurrently: PARTITIONS,
    eachBatch: async ({ batch }) => {
      for (const message of batch.messages) {
        const seen = message.value === null ? undefined : read(message.value)
        if (seen !== undefined && !latencies.has(seen.device)) {
          latencies.set(seen.device, wallNow() - seen.time)
        }
      }
    }
  })
  await ready
  await pause(1_000)
  return { latencies, stop: () => consumer.disconnect() }
}

const marked = Buffer.from('"port":23,')

const readEvent = (value: Buffer) => {
  if (value.indexOf(marked) < 0) return undefined
  const event = JSON.parse(value.toString("utf8"))
  return { device: String(event.device), time: Number(event.ts) }
}

const readAlert = (value: Buffer) => {
  const alert = JSON.parse(value.toString("utf8")).data
  return alert.device.startsWith("alarm-")
    ? { device: String(alert.device), time: Number(alert.time) }
    : undefined
}

interface Phase {
  readonly millis: ReadonlyArray<number>
  readonly expected: number
  readonly sent: Sent
  /** Of each core, while it was sent. */
  readonly coresBusy: ReadonlyArray<number>
}

/** Sends one phase and waits for its alarms. */
const phase = async (
  heard: Heard,
  send: (count: number, rate?: number) => Promise<Sent>,
  count: number,
  rate: number
): Promise<Phase> => {
  heard.latencies.clear()
  const expected = Math.floor(count / ALARM_EVERY)
  const busy = watchCores()
  const sent = await send(count, rate)
  const coresBusy = busy().map((share) => round(share))
  const until = performance.now() + PATIENCE_MILLIS
  while (heard.latencies.size < expected && performance.now() < until) await pause(20)
  return { millis: [...heard.latencies.values()], expected, sent, coresBusy }
}

const phases = async (kafka: Kafka, topic: string, listenTo: string, read: Parameters<typeof listen>[2]) => {
  const heard = await listen(kafka, listenTo, read)
  const producer = await startProducer({
    kafka,
    topic,
    rate: RATE,
    devices: DEVICES,
    alarmEvery: ALARM_EVERY,
    label: "l"
  })
  try {
    await phase(heard, producer.send, RATE * 8, RATE)
    const steady = await phase(heard, producer.send, RATE * SECONDS, RATE)
    const burst = await phase(heard, producer.send, BURST_RATE * BURST_SECONDS, BURST_RATE)
    return { steady, burst }
  } finally {
    await producer.stop()
    await heard.stop()
  }
}

const P50_GOAL = 8
const P99_GOAL = 25
const BURST_GOAL = 100

export const latency: Question = async () => {
  const kafka = await startBroker()
  try {
    const client = new KafkaJs({ brokers: [...kafka.brokers], logLevel: logLevel.NOTHING })
    const admin = client.admin()
    await admin.connect()
    await admin.createTopics({ topics: [{ topic: "echo", numPartitions: PARTITIONS }], waitForLeaders: true })
    await admin.disconnect()
    // The limit's consumer takes every event, as the runner does, and so has the runner's core.
    pinSelf(WORK_CORE)
    const limit = await phases(kafka, "echo", "echo", readEvent)
    pinSelf(OTHER_CORE)
    const place = await preparePlace(kafka, "flows", PARTITIONS)
    const runner = await startRunner(place, PARTITIONS)
    const cpu = cpuSeconds(runner.pid)
    const own = await phases(kafka, "flows", "groundstate.alerts", readAlert)
    const used = cpuSeconds(runner.pid) - cpu
    const cells = await runner.cells()
    await runner.stop()
    const row = (what: string, at: "steady" | "burst", share: number, goal: number): Row => {
      const { millis, expected, sent, coresBusy } = own[at]
      const figure = quantile(millis, share)
      const complete = millis.length === expected
      const bound = quantile(limit[at].millis, share)
      return {
        question: "latency",
        what,
        figure: round(figure),
        unit: "ms",
        limit: round(bound),
        limitIs: "Kafka and kafkajs alone",
        ratio: round(bound / figure),
        goal: `< ${goal} ms`,
        met: figure < goal && complete,
        detail: {
          ...summaryOf(millis),
          expected,
          limit: summaryOf(limit[at].millis),
          producer: sent,
          coresBusy,
          limitProducer: limit[at].sent,
          limitCoresBusy: limit[at].coresBusy
        }
      }
    }
    const events = own.steady.sent.sent + own.burst.sent.sent + RATE * 8
    return [
      row(`produced → alert consumed at ${RATE} events/s, p50`, "steady", 0.5, P50_GOAL),
      row("the same, p99", "steady", 0.99, P99_GOAL),
      row(`in a burst of ${BURST_RATE} events/s for ${BURST_SECONDS} s, p99`, "burst", 0.99, BURST_GOAL),
      {
        question: "latency",
        what: "CPU time at these rates, an alert in 1,000 events",
        figure: round((used * 1e6) / events),
        unit: "CPU s/million",
        detail: { cells: cells.map((cell) => cell.counters) }
      }
    ]
  } finally {
    await kafka.stop()
  }
}
