// A region of real runners: one PostgreSQL, one Kafka, processes that may be killed, frozen and started again.
import { join } from "node:path"
import { Kafka as KafkaJs, logLevel, type Producer } from "kafkajs"
import { type Kafka, startKafka } from "./kafka.ts"
import { type Postgres, startPostgres } from "./postgres.ts"
import { freePort, type RunnerProcess, startRunner, type Told, until, writeConfig } from "./runner.ts"

export interface RegionOptions {
  readonly folder: string
  readonly stream: Readonly<Record<string, unknown>>
  readonly settings?: Readonly<Record<string, unknown>>
  /** Further broker properties. */
  readonly brokerSettings?: Readonly<Record<string, string>>
  /** See `startKafka`. */
  readonly relays?: ReadonlyArray<number>
  /** What runner `name` is told in place of `given`, and in which environment it runs. */
  readonly runnerOf?: (name: string, given: RunnerGiven, world: RunnerPlaces) => Promise<RunnerPlace>
}

/** What all runners of a region are told. */
export interface RunnerGiven {
  readonly database: string
  readonly brokers: ReadonlyArray<string>
  readonly cluster: Readonly<Record<string, unknown>> & { readonly port: number }
}

export interface RunnerPlaces {
  readonly kafka: Kafka
  readonly postgres: Postgres
}

export interface RunnerPlace {
  readonly given: RunnerGiven
  readonly environment?: Readonly<Record<string, string>>
}

export interface RegionWorld {
  readonly kafka: Kafka
  readonly postgres: Postgres
  readonly database: string
  /** Starts runner `name` at the address that it has had before, or at a new one. */
  readonly start: (name: string) => Promise<RunnerProcess>
  readonly runners: Map<string, RunnerProcess>
  readonly producer: Producer
  readonly stop: () => Promise<void>
}

export const startRegion = async (options: RegionOptions): Promise<RegionWorld> => {
  const { brokerSettings, folder, relays, runnerOf, settings = {}, stream } = options
  const [kafka, postgres] = await Promise.all([startKafka(brokerSettings, relays), startPostgres()])
  const database = await postgres.database()
  const runners = new Map<string, RunnerProcess>()
  const ports = new Map<string, number>()
  const producer = new KafkaJs({ brokers: [...kafka.brokers], logLevel: logLevel.NOTHING }).producer({
    allowAutoTopicCreation: false
  })
  await producer.connect()
  return {
    kafka,
    postgres,
    database,
    runners,
    producer,
    start: async (name) => {
      const port = ports.get(name) ?? (await freePort())
      ports.set(name, port)
      const usual: RunnerGiven = { database, brokers: kafka.brokers, cluster: { port } }
      const { environment, given } = (await runnerOf?.(name, usual, { kafka, postgres })) ?? { given: usual }
      const config = writeConfig(
        join(folder, name),
        {
          region: "test",
          role: "region",
          runner: name,
          log: { kind: "kafka", kafka: { brokers: given.brokers } },
          database: { kind: "postgres", postgres: { url: given.database } },
          cluster: given.cluster,
          telemetry: { logLevel: "warning" },
          ...settings
        },
        [stream]
      )
      const runner = await startRunner(config, environment)
      runners.set(name, runner)
      return runner
    },
    stop: async () => {
      for (const runner of runners.values()) {
        if (!runner.running()) continue
        process.kill(runner.pid, "SIGCONT")
        await runner.kill9()
      }
      await producer.disconnect()
      await kafka.stop()
      await postgres.stop()
    }
  }
}

/** Cells by owner, as one runner sees them; fails while any does not answer or stands still. */
export const owners = async (runner: RunnerProcess): Promise<Map<string, ReadonlyArray<number>>> => {
  const { body } = await runner.ask("GET", "/v1/cells")
  if (body.unreachable.length > 0) throw new Error(`no answer: ${JSON.stringify(body.unreachable)}`)
  const found = new Map<string, Array<number>>()
  for (const cell of body.items as ReadonlyArray<Told>) {
    if (cell.paused !== null)
      throw new Error(`cell ${cell.partition} of ${cell.owner}: ${cell.paused}, ${cell.pauseDetail}`)
    found.set(cell.owner, [...(found.get(cell.owner) ?? []), cell.partition])
  }
  return found
}

/** Waits until the cells are divided like this, by number, the largest first. */
export const divided = (runner: RunnerProcess, counts: ReadonlyArray<number>, deadlineMillis = 30_000) =>
  until(
    `the cells to be divided ${counts.join("/")}`,
    async () => {
      const found = await owners(runner)
      const sizes = [...found.values()].map(({ length }) => length).sort((a, b) => b - a)
      if (JSON.stringify(sizes) === JSON.stringify(counts)) return found
      throw new Error(`they are ${JSON.stringify([...found])}`)
    },
    deadlineMillis
  )

/** One event that raises an alert, and when it was sent and its alert first seen, monotonic ms. */
interface Sent {
  readonly sentAt: number
  offset: number
  seenAt: number
  copies: number
}

export interface Probe {
  /** By partition, in the order in which they were sent. */
  readonly sent: ReadonlyArray<ReadonlyArray<Sent>>
  /** No more events; completes when each has its alert. */
  readonly finish: () => Promise<void>
  /**
   * Waits until every given partition has scored an event that was sent after `at`, and answers how long after `at`
   * the last of them did, ms.
   */
  readonly recovery: (at: number, partitions: Iterable<number>, deadlineMillis?: number) => Promise<number>
  /** The longest time between two first alerts of a partition since `at`, ms. */
  readonly gap: (at: number, partition: number) => number
}

const PROBE_EVERY_MILLIS = 25

/** Sends an event to each partition every 25 ms, each of a device of its own that breaks a rule, and hears their alerts. */
export const probe = async (
  { kafka, producer }: RegionWorld,
  topic: string,
  partitions: number,
  event: (device: string, n: number) => unknown
): Promise<Probe> => {
  const client = new KafkaJs({ brokers: [...kafka.brokers], logLevel: logLevel.NOTHING })
  const consumer = client.consumer({ groupId: `probe-${performance.now()}`, maxWaitTimeInMs: 50 })
  const run = Math.round(performance.now()).toString(36)
  const sent = Array.from({ length: partitions }, (): Array<Sent> => [])
  await consumer.connect()
  await consumer.subscribe({ topic: "groundstate.alerts", fromBeginning: false })
  const joined = new Promise<void>((resolve) => consumer.on(consumer.events.GROUP_JOIN, () => resolve()))
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ message }) => {
      const [name, partition, n] = String(message.key).split(".")
      const one = name === run ? sent[Number(partition)][Number(n)] : undefined
      if (one === undefined) return
      one.copies++
      if (one.seenAt === 0) one.seenAt = performance.now()
    }
  })
  await joined
  let n = 0
  const failures: Array<unknown> = []
  const timer = setInterval(() => {
    const at = n++
    const sentAt = performance.now()
    for (const list of sent) list.push({ sentAt, offset: -1, seenAt: 0, copies: 0 })
    const messages = sent.map((_, partition) => {
      const device = `${run}.${partition}.${at}`
      return { partition, key: device, value: JSON.stringify(event(device, at)) }
    })
    producer.send({ topic, acks: -1, messages }).then(
      (places) => {
        for (const { partition, baseOffset } of places) sent[partition][at].offset = Number(baseOffset)
      },
      (cause) => failures.push(cause)
    )
  }, PROBE_EVERY_MILLIS)
  return {
    sent,
    finish: async () => {
      clearInterval(timer)
      await until("every event to have its alert", async () => {
        if (failures.length > 0) throw failures[0]
        const open = sent.flatMap((list, partition) =>
          list.flatMap(({ seenAt }, i) => (seenAt === 0 ? [`${partition}.${i}`] : []))
        )
        if (open.length === 0) return true
        throw new Error(`${open.length} have none, such as ${open.slice(0, 5).join(", ")}`)
      })
      await consumer.disconnect()
    },
    recovery: async (at, affected, deadlineMillis = 60_000) => {
      let last = at
      for (const partition of affected) {
        const seen = await until(
          `partition ${partition} to score again`,
          async () => {
            const list = sent[partition]
            for (let i = list.length - 1; i >= 0 && list[i].sentAt >= at; i--) {
              if (list[i].seenAt > 0) {
                // The first that came, not the latest.
                return Math.min(
                  ...list.filter((one) => one.sentAt >= at && one.seenAt > 0).map(({ seenAt }) => seenAt)
                )
              }
            }
            return undefined
          },
          deadlineMillis
        )
        last = Math.max(last, seen)
      }
      return last - at
    },
    gap: (at, partition) => {
      const seen = sent[partition]
        .filter(({ seenAt }) => seenAt > 0)
        .map(({ seenAt }) => seenAt)
        .sort((a, b) => a - b)
      let longest = 0
      for (let i = 1; i < seen.length; i++) {
        if (seen[i] >= at) longest = Math.max(longest, seen[i] - seen[i - 1])
      }
      return longest
    }
  }
}
