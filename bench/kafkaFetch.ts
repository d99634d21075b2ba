// Question: what does reading a partition out of Kafka cost, beside kafkajs consuming the same records?
// Run: npm run build && node dist/bench/kafkaFetch.js <brokers> [events]. Makes the topic `fetch-bench`.
// Prints one line per path: events/s, CPU seconds a million events, and the ratio to kafkajs in the same run.
import { cpus } from "node:os"
import { Effect } from "effect"
import { AssignerProtocol, Kafka, logLevel } from "kafkajs"
import { EventLog, type NewRecord } from "../src/services/ingest/EventLog.ts"
import { KafkaLog, type KafkaLogOptions } from "../src/services/ingest/KafkaLog.ts"

const PARTITIONS = 8
const TOPIC = "fetch-bench"

interface Figure {
  readonly path: string
  readonly events: number
  readonly eventsPerSecond: number
  readonly cpuSecondsPerMillion: number
  readonly p: number
}

const event = (i: number) =>
  JSON.stringify({
    device: `sensor-${i % 20_000}`,
    ts: 1_700_000_000_000 + i,
    id: `e-${i}`,
    bytesIn: (i * 7_919) % 100_000,
    bytesOut: (i * 104_729) % 1_000_000,
    packetsIn: i % 900,
    packetsOut: i % 1_100,
    duration: (i % 10_000) / 7,
    failed: i % 3,
    temp: 20 + (i % 100) / 10,
    proto: ["tcp", "udp", "icmp"][i % 3],
    user: `user-${i % 500}`
  })

const measure = async (path: string, run: () => Promise<number>): Promise<Figure> => {
  const cpu = process.cpuUsage()
  const started = performance.now()
  const events = await run()
  const seconds = (performance.now() - started) / 1_000
  const used = process.cpuUsage(cpu)
  return {
    path,
    events,
    eventsPerSecond: Math.round(events / seconds),
    cpuSecondsPerMillion: (used.user + used.system) / events,
    p: PARTITIONS
  }
}

/** kafkajs as its documents show it, one consumer per partition; touches each value's length. */
const rawKafkajs = (brokers: ReadonlyArray<string>, events: number) => async (): Promise<number> => {
  const kafka = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING })
  let seen = 0
  let bytes = 0
  const consumers = Array.from({ length: PARTITIONS }, (_, partition) =>
    kafka.consumer({
      groupId: `bench-${partition}-${process.pid}-${Math.round(performance.now())}`,
      maxBytesPerPartition: 4 * 1_048_576,
      maxWaitTimeInMs: 20,
      partitionAssigners: [
        () => ({
          name: "one",
          version: 1,
          assign: async ({ members }) =>
            members.map(({ memberId }) => ({
              memberId,
              memberAssignment: AssignerProtocol.MemberAssignment.encode({
                version: 1,
                assignment: { [TOPIC]: [partition] },
                userData: Buffer.alloc(0)
              })
            })),
          protocol: ({ topics }) => ({
            name: "one",
            metadata: AssignerProtocol.MemberMetadata.encode({
              version: 1,
              topics,
              userData: Buffer.alloc(0)
            })
          })
        })
      ]
    })
  )
  await new Promise<void>((resolve, reject) => {
    for (const consumer of consumers) {
      const start = async () => {
        await consumer.connect()
        await consumer.subscribe({ topics: [TOPIC], fromBeginning: true })
        await consumer.run({
          autoCommit: false,
          eachBatchAutoResolve: false,
          eachBatch: async ({ batch, resolveOffset }) => {
            for (const message of batch.messages) bytes += message.value?.length ?? 0
            resolveOffset(batch.lastOffset())
            seen += batch.messages.length
            if (seen >= events) resolve()
          }
        })
      }
      start().catch(reject)
    }
  })
  await Promise.all(consumers.map((consumer) => consumer.disconnect()))
  if (bytes === 0) throw new Error("no bytes came")
  return seen
}

/** Our reader, the same partitions at the same time; touches each value's length too. */
const ours = (brokers: ReadonlyArray<string>, limits: KafkaLogOptions["limits"]) => (): Promise<number> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const log = yield* EventLog
        let bytes = 0
        const counts = yield* Effect.forEach(
          Array.from({ length: PARTITIONS }, (_, partition) => partition),
          (partition) =>
            Effect.gen(function* () {
              const reader = yield* log.open({
                topic: TOPIC,
                partition,
                offset: 0,
                epoch: 1,
                stream: "bench",
                fetchBytesMax: 4 * 1_048_576
              })
              const { end } = yield* reader.bounds
              let count = 0
              for (let next = 0; next < end; ) {
                const batch = yield* reader.fetch(10_000)
                if (batch === undefined) throw new Error(`nothing came from ${next} on`)
                for (let row = 0; row < batch.count; row++) bytes += batch.ends[row] - batch.starts[row]
                count += batch.count
                next = batch.nextOffset
              }
              return count
            }),
          { concurrency: "unbounded" }
        )
        if (bytes === 0) throw new Error("no bytes came")
        return counts.reduce((sum, count) => sum + count, 0)
      })
    ).pipe(
      Effect.provide(
        KafkaLog.layer({ brokers, clientId: "bench", ...(limits === undefined ? {} : { limits }) })
      )
    )
  )

const fill = (brokers: ReadonlyArray<string>, events: number): Promise<void> =>
  Effect.runPromise(
    Effect.gen(function* () {
      const log = yield* EventLog
      yield* log.ensureTopic(TOPIC, PARTITIONS)
      const utf8 = new TextEncoder()
      for (let from = 0; from < events; from += 20_000) {
        const records: Array<NewRecord> = []
        for (let i = from; i < Math.min(events, from + 20_000); i++) {
          records.push({ key: utf8.encode(`sensor-${i % 20_000}`), value: utf8.encode(event(i)) })
        }
        yield* log.append(TOPIC, records)
      }
    }).pipe(Effect.provide(KafkaLog.layer({ brokers, clientId: "bench" })))
  )

/** Fills a topic of the brokers given and measures each path, twice in turn; the second round counts. */
export const benchKafkaFetch = async (
  brokers: ReadonlyArray<string>,
  events: number
): Promise<ReadonlyArray<Figure>> => {
  await measure("append", async () => {
    await fill(brokers, events)
    return events
  }).then(print)
  let figures: Array<Figure> = []
  for (let round = 0; round < 2; round++) {
    figures = [
      await measure("kafkajs eachBatch", rawKafkajs(brokers, events)),
      await measure("record batches whole", ours(brokers, { checksum: false })),
      await measure("record batches whole, checksummed", ours(brokers, { checksum: true }))
    ]
  }
  return figures
}

const print = (figure: Figure) => {
  process.stdout.write(
    `${figure.path.padEnd(36)} ${String(figure.eventsPerSecond).padStart(9)} events/s ` +
      `${figure.cpuSecondsPerMillion.toFixed(2).padStart(6)} CPU s/million\n`
  )
  return figure
}

const main = async () => {
  const brokers = (process.argv[2] ?? "").split(",").filter((broker) => broker !== "")
  const events = Number(process.argv[3] ?? 1_000_000)
  if (brokers.length === 0)
    throw new Error("name a broker: node dist/bench/kafkaFetch.js 127.0.0.1:9092 [events]")
  process.stdout.write(
    `Node ${process.version}, ${cpus().length} cores, ${events} events of ${event(1).length} bytes\n`
  )
  const figures = (await benchKafkaFetch(brokers, events)).map(print)
  const base = figures[0]
  for (const figure of figures.slice(1)) {
    process.stdout.write(
      `${figure.path}: ${(figure.eventsPerSecond / base.eventsPerSecond).toFixed(2)} times as fast, ` +
        `${(base.cpuSecondsPerMillion / figure.cpuSecondsPerMillion).toFixed(2)} times less CPU\n`
    )
  }
}

if (process.argv[1]?.endsWith("kafkaFetch.js")) await main()
