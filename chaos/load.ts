// The load: events at a fixed rate whatever becomes of them, from one seed; among them probes, each of which must raise
// an alert. What is not acknowledged is sent again with the same id.
import { Kafka as KafkaJs, logLevel, Partitioners } from "kafkajs"
import { badRecords, makeEvents } from "../test/support/chaosStream.ts"
import { seeded } from "../test/support/folding.ts"
import { until } from "../test/support/runner.ts"
import { type History, now } from "./history.ts"

export interface LoadOptions {
  readonly seed: number
  readonly brokers: ReadonlyArray<string>
  readonly topic: string
  readonly partitions: number
  /** Events a second, without the probes. */
  readonly rate: number
  readonly devices: number
  /** Each partition gets a probe so often, ms. */
  readonly probeEvery: number
  /** Share of records that nothing can decode. */
  readonly badShare: number
  /** Share of events that are sent ten times. */
  readonly repeatShare: number
  readonly history: History
}

/** An event of a device of its own that breaks a rule: its alert says when its partition was scored. */
export interface ProbeSent {
  readonly device: string
  /** When it was to be sent, epoch ms. */
  readonly sentAt: number
  /** −1 until the broker has acknowledged it. */
  offset: number
}

interface Message {
  readonly partition: number
  readonly value: Buffer | string | null
  readonly id: string | undefined
  readonly probe: ProbeSent | undefined
}

export interface Load {
  readonly startedAt: number
  /** By partition, in the order in which they were sent. */
  readonly probes: ReadonlyArray<ReadonlyArray<ProbeSent>>
  /** Ids that the broker has acknowledged. */
  readonly acknowledged: ReadonlySet<string>
  /** Records acknowledged, bad ones and repetitions among them. */
  readonly records: () => number
  /** Requests without an answer, all of which were sent again. */
  readonly unknown: () => number
  /** Sends these as well, with whatever is due next; they are not looked for by their ids. */
  readonly add: (
    messages: ReadonlyArray<{ readonly partition: number; readonly value: Buffer | string | null }>
  ) => void
  /** Makes no more events; completes when all are acknowledged. */
  readonly finish: () => Promise<void>
}

const TICK_MILLIS = 25
const REQUEST_RECORDS_MAX = 2_000
/** More than an hour's worth of the default load: whoever reaches it has lost the broker for good. */
const WAITING_MAX = 2_000_000
const REPEATS = 10

export const startLoad = async (options: LoadOptions): Promise<Load> => {
  const { brokers, history, partitions, probeEvery, rate, seed, topic } = options
  const chance = seeded(seed ^ 0x10ad)
  const stepMillis = 1_000 / rate
  const producer = new KafkaJs({
    brokers: [...brokers],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 1_000,
    requestTimeout: 5_000,
    retry: { initialRetryTime: 100, maxRetryTime: 500, retries: 3 }
  }).producer({ allowAutoTopicCreation: false, createPartitioner: Partitioners.DefaultPartitioner })
  await producer.connect()
  const startedAt = now()
  history.write("load", { seed, rate, startedAt })
  const next = makeEvents(seed, { devices: options.devices, from: startedAt, partitions, stepMillis })
  const probes = Array.from({ length: partitions }, (): Array<ProbeSent> => [])
  const acknowledged = new Set<string>()
  const waiting: Array<Message> = []
  let [records, unknown, made, probed, requests] = [0, 0, 0, 0, 0]
  let over = false

  const make = () => {
    const elapsed = now() - startedAt
    for (; probed * probeEvery <= elapsed; probed++) {
      for (let partition = 0; partition < partitions; partition++) {
        const device = `probe.${partition}.${probed}`
        const probe: ProbeSent = { device, sentAt: startedAt + probed * probeEvery, offset: -1 }
        probes[partition].push(probe)
        const value = JSON.stringify({
          device,
          ts: Math.round(startedAt + probed * probeEvery),
          id: `${device}.${seed}`,
          load: 900,
          bytes: 1_000,
          kind: "run"
        })
        waiting.push({ partition, value, id: `${device}.${seed}`, probe })
      }
    }
    for (; made < (elapsed * rate) / 1_000; made++) {
      if (chance() < options.badShare) {
        const value = Buffer.from(badRecords[Math.floor(chance() * badRecords.length)])
        waiting.push({ partition: Math.floor(chance() * partitions), value, id: undefined, probe: undefined })
        continue
      }
      const { id, json, partition } = next()
      const times = chance() < options.repeatShare ? REPEATS : 1
      for (let i = 0; i < times; i++) waiting.push({ partition, value: json, id, probe: undefined })
    }
    if (waiting.length > WAITING_MAX) throw new Error(`${waiting.length} events wait for the broker`)
  }

  const request = async (messages: ReadonlyArray<Message>) => {
    const n = requests++
    history.write("send", { n, outcome: "invoke", records: messages.length })
    for (;;) {
      try {
        const places = await producer.send({
          topic,
          acks: -1,
          timeout: 5_000,
          messages: messages.map(({ partition, value }) => ({ partition, value }))
        })
        const at = new Map(places.map((place) => [place.partition, Number(place.baseOffset)]))
        for (const { id, partition, probe } of messages) {
          const offset = at.get(partition) ?? -1
          at.set(partition, offset + 1)
          if (probe !== undefined) probe.offset = offset
          if (id !== undefined) acknowledged.add(id)
        }
        records += messages.length
        history.write("send", { n, outcome: "ok" })
        return
      } catch (cause) {
        unknown++
        history.write("send", { n, outcome: "unknown", cause: String(cause) })
        await new Promise((resolve) => setTimeout(resolve, TICK_MILLIS))
      }
    }
  }

  const timer = setInterval(() => {
    if (!over) make()
  }, TICK_MILLIS)
  const sending = (async () => {
    while (!over || waiting.length > 0) {
      if (waiting.length > 0) await request(waiting.splice(0, REQUEST_RECORDS_MAX))
      else await new Promise((resolve) => setTimeout(resolve, 5))
    }
  })()

  return {
    startedAt,
    probes,
    acknowledged,
    records: () => records,
    unknown: () => unknown,
    add: (messages) => {
      for (const { partition, value } of messages)
        waiting.push({ partition, value, id: undefined, probe: undefined })
    },
    finish: async () => {
      over = true
      clearInterval(timer)
      let done = false
      await Promise.race([
        sending.then(() => {
          done = true
        }),
        until("the broker to acknowledge everything", async () => (done ? true : undefined), 120_000)
      ])
      await producer.disconnect()
    }
  }
}
