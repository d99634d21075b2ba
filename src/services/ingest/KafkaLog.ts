// The event log on Kafka, through kafkajs: an idempotent producer, topics, and one reader per partition.
import type { ConnectionOptions } from "node:tls"
import { Cache, Context, Duration, Effect, Exit, Layer, Redacted, Runtime, Schedule } from "effect"
import type { Admin, LogEntry, Message, Producer, RecordMetadata, SASLOptions } from "kafkajs"
import { Partitioners } from "kafkajs"
import { LogUnavailable } from "../../schema/error/IngestError.ts"
import { onward } from "../runtime/atOnce.ts"
import type { KafkaSettings } from "../runtime/Settings.ts"
import { type Appended, EventLog, EventSource, type NewRecord } from "./EventLog.ts"
import { makeGroupCommit, makePlacement, type PendingAppend, sizeOf } from "./GroupCommit.ts"
import { connectCluster, type KafkaConnection, makeKafka } from "./KafkaClient.ts"
import { type FetchReport, makeKafkaFetcher, within } from "./KafkaFetcher.ts"
import { openKafkaReader } from "./KafkaReader.ts"

/** Where the brokers are, and every bound of the adapter. */
export interface KafkaLogOptions {
  /** `host:port` of some brokers; the others are found through them. */
  readonly brokers: ReadonlyArray<string>
  readonly clientId: string
  readonly ssl?: boolean | ConnectionOptions
  readonly sasl?: SASLOptions
  /** Offsets are committed to the group `<groupPrefix>.<stream>`; it has no members. */
  readonly groupPrefix?: string
  /** Copies of a topic that `ensureTopic` makes; the broker's default without it. */
  readonly replicationFactor?: number
  readonly limits?: Partial<typeof kafkaLimits>
}

/** From the runner's configuration: brokers, encryption, credentials. */
export const kafkaOptionsOf = ({
  brokers,
  clientId,
  tls,
  sasl
}: typeof KafkaSettings.Type): KafkaLogOptions => {
  const options = { brokers, clientId, ssl: tls }
  if (sasl === undefined) return options
  const { mechanism, username } = sasl
  const password = Redacted.value(sasl.password)
  switch (mechanism) {
    case "plain":
      return { ...options, sasl: { mechanism, username, password } }
    case "scram-sha-256":
      return { ...options, sasl: { mechanism, username, password } }
    case "scram-sha-512":
      return { ...options, sasl: { mechanism, username, password } }
  }
}

/** Bounds, with their units in their names. */
export const kafkaLimits = {
  requestTimeoutMillis: 10_000,
  connectTimeoutMillis: 3_000,
  /** An append that is not acknowledged within this fails; whether it was stored is unknown. */
  appendTimeoutMillis: 20_000,
  /** Reading retries in place this long before a fetch fails. */
  unavailableAfterMillis: 30_000,
  longPollMillis: 100,
  busyPollMillis: 10,
  paceMillis: 5,
  pacedBytes: 524_288,
  responseBytesMax: 4 * 1_048_576,
  /** Several of a producer's batches as they are by default. */
  shareBytesMin: 131_072,
  stallMillis: 20_000,
  retryMinMillis: 50,
  retryMaxMillis: 1_000,
  pendingBytesMax: 64 * 1_048_576,
  groupBytesMax: 8 * 1_048_576,
  /** A request to a broker costs about a millisecond of CPU, whatever it holds. */
  spacingMillis: 4,
  /** Most bytes of one partition in one request: brokers refuse a batch over 1 MiB by default. */
  partitionBytesMax: 900_000,
  inflatedBytesMax: 64 * 1_048_576,
  gatheredBytesMax: 8 * 1_048_576,
  checksum: true,
  topicTtlMillis: 60_000
}

const detailOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const messageOf = (record: NewRecord, partition: number): Message => ({
  key: record.key === null ? null : bufferOf(record.key),
  value: record.value === null ? null : bufferOf(record.value),
  partition,
  ...(record.headers === undefined ? {} : { headers: { ...record.headers } }),
  ...(record.timestamp === undefined ? {} : { timestamp: String(record.timestamp) })
})

/** Records of one partition that go into one request, and where their offsets belong. */
interface Chunk {
  readonly topic: string
  readonly partition: number
  readonly messages: Array<Message>
  readonly places: Array<{ readonly answers: Array<Appended>; readonly index: number }>
  size: number
}

/** Splits a group into rounds of requests; a round holds one chunk of each partition, in order. */
const planRounds = (
  group: ReadonlyArray<PendingAppend>,
  answers: ReadonlyArray<Array<Appended>>,
  partitionBytesMax: number
): ReadonlyArray<ReadonlyArray<Chunk>> => {
  const lines = new Map<string, Array<Chunk>>()
  group.forEach((append, g) => {
    append.records.forEach((record, index) => {
      const partition = append.partitions[index]
      const key = `${append.topic}/${partition}`
      const line = lines.get(key) ?? []
      if (line.length === 0) lines.set(key, line)
      const size = sizeOf(record)
      let chunk = line[line.length - 1]
      if (chunk === undefined || chunk.size + size > partitionBytesMax) {
        chunk = { topic: append.topic, partition, messages: [], places: [], size: 0 }
        line.push(chunk)
      }
      chunk.messages.push(messageOf(record, partition))
      chunk.places.push({ answers: answers[g], index })
      chunk.size += size
    })
  })
  const rounds: Array<Array<Chunk>> = []
  for (const line of lines.values()) {
    line.forEach((chunk, i) => {
      rounds[i] ??= []
      rounds[i].push(chunk)
    })
  }
  return rounds
}

const sendRound = async (producer: Producer, round: ReadonlyArray<Chunk>): Promise<void> => {
  const topics = new Map<string, Array<Message>>()
  for (const chunk of round) {
    const messages = topics.get(chunk.topic)
    if (messages === undefined) topics.set(chunk.topic, [...chunk.messages])
    else for (const message of chunk.messages) messages.push(message)
  }
  const stored: ReadonlyArray<RecordMetadata> = await producer.sendBatch({
    acks: -1,
    topicMessages: [...topics].map(([topic, messages]) => ({ topic, messages }))
  })
  for (const chunk of round) {
    const found = stored.find((s) => s.topicName === chunk.topic && s.partition === chunk.partition)
    if (found?.baseOffset === undefined)
      throw new Error(`no offset came back for partition ${chunk.partition}`)
    const base = Number(found.baseOffset)
    chunk.places.forEach(({ answers, index }, i) => {
      answers[index] = { partition: chunk.partition, offset: base + i }
    })
  }
}

/** A kafkajs client that is made when first needed and thrown away after trouble. */
const makeHolder = <A>(connect: () => Promise<{ readonly value: A; readonly close: () => void }>) => {
  let current: Promise<{ readonly value: A; readonly close: () => void }> | undefined
  return {
    get: async (): Promise<A> => {
      current ??= connect()
      return (await current).value
    },
    discard: () => {
      current?.then(
        (made) => made.close(),
        () => undefined
      )
      current = undefined
    }
  }
}

const make = (options: KafkaLogOptions) =>
  Effect.gen(function* () {
    const limits = { ...kafkaLimits, ...options.limits }
    const runFork = Runtime.runFork(yield* Effect.runtime<never>())
    // kafkajs retries by itself and calls each try an error; what lasts is reported by reader and writer.
    const report = ({ label, log, namespace }: LogEntry) => {
      runFork(Effect.logDebug(`kafkajs ${label} ${namespace}: ${log.message}`, log["error"] ?? ""))
    }
    const connection: KafkaConnection = {
      brokers: options.brokers,
      clientId: options.clientId,
      ...(options.ssl === undefined ? {} : { ssl: options.ssl }),
      ...(options.sasl === undefined ? {} : { sasl: options.sasl }),
      requestTimeoutMillis: limits.requestTimeoutMillis,
      connectTimeoutMillis: limits.connectTimeoutMillis,
      log: () => report
    }

    const reportFetch: FetchReport = (event, topic, partition, cause) => {
      const fields = { topic, partition, ...(cause === undefined ? {} : { cause: detailOf(cause) }) }
      const failing = "Kafka cannot be read; it is tried again at the same offset"
      if (event === "recovered") runFork(Effect.logInfo("Kafka is read again", fields))
      else runFork((event === "failing" ? Effect.logWarning : Effect.logDebug)(failing, fields))
    }

    const producers = makeHolder<Producer>(async () => {
      const { kafka, close } = makeKafka(connection, 6)
      const producer = kafka.producer({
        idempotent: true,
        allowAutoTopicCreation: false,
        createPartitioner: Partitioners.DefaultPartitioner
      })
      await producer.connect().catch((cause) => {
        close()
        throw cause
      })
      return { value: producer, close }
    })
    const admins = makeHolder<Admin>(async () => {
      const { kafka, close } = makeKafka(connection, 2)
      const admin = kafka.admin()
      await admin.connect().catch((cause) => {
        close()
        throw cause
      })
      return { value: admin, close }
    })
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        producers.discard()
        admins.discard()
      })
    )

    const ask = <A>(
      topic: string,
      operation: LogUnavailable["operation"],
      use: (admin: Admin) => Promise<A>
    ): Effect.Effect<A, LogUnavailable> =>
      Effect.tryPromise({
        try: () => admins.get().then(use),
        catch: (cause) => new LogUnavailable({ topic, operation, detail: detailOf(cause) })
      }).pipe(
        Effect.timeoutFail({
          duration: limits.appendTimeoutMillis,
          onTimeout: () =>
            new LogUnavailable({ topic, operation, detail: "the brokers did not answer in time" })
        }),
        Effect.tapError(() => Effect.sync(admins.discard))
      )

    const told = new Map<string, { readonly count: number; readonly until: number }>()
    const counts = yield* Cache.makeWith({
      capacity: 10_000,
      lookup: (topic: string) =>
        Effect.map(
          ask(topic, "describe", (admin) => admin.fetchTopicMetadata({ topics: [topic] })),
          ({ topics }) => {
            const count = topics[0].partitions.length
            told.set(topic, { count, until: performance.now() + limits.topicTtlMillis })
            return count
          }
        ),
      timeToLive: (exit) => (Exit.isSuccess(exit) ? limits.topicTtlMillis : 0)
    })
    /** Every append asks: what was told a moment ago is there at once. */
    const countOf = (topic: string): Effect.Effect<number, LogUnavailable> => {
      const known = told.get(topic)
      return known !== undefined && performance.now() < known.until
        ? Effect.succeed(known.count)
        : counts.get(topic)
    }

    /** Another runner may have made the topic a moment ago: then it is there before the broker tells of it. */
    const untilTold = <A>(work: Effect.Effect<A, LogUnavailable>) =>
      Effect.retry(work, {
        while: ({ detail }) => detail.includes("does not host this topic"),
        schedule: Schedule.spaced("50 millis").pipe(
          Schedule.upTo(Duration.millis(limits.appendTimeoutMillis))
        )
      })

    const sendRounds = async (rounds: ReadonlyArray<ReadonlyArray<Chunk>>): Promise<void> => {
      for (const round of rounds) {
        await within(
          producers.get().then((producer) => sendRound(producer, round)),
          limits.appendTimeoutMillis,
          "acknowledgement"
        )
      }
    }

    /**
     * After a failure the producer is thrown away: its sequence numbers are in doubt, and a later batch that
     * reused one would be taken for a repetition and acknowledged without being stored.
     */
    const write = (group: ReadonlyArray<PendingAppend>): Effect.Effect<void> =>
      Effect.gen(function* () {
        const answers = group.map((append) => new Array<Appended>(append.records.length))
        const rounds = planRounds(group, answers, limits.partitionBytesMax)
        const exit = yield* Effect.exit(Effect.tryPromise({ try: () => sendRounds(rounds), catch: detailOf }))
        if (Exit.isSuccess(exit)) {
          group.forEach((append, g) => {
            append.done(Exit.succeed(answers[g]))
          })
          return
        }
        producers.discard()
        // One append that the broker refuses must not take its neighbours with it.
        if (
          group.length > 1 &&
          exit.cause._tag === "Fail" &&
          /larger than|too large/i.test(exit.cause.error)
        ) {
          return yield* Effect.forEach(group, (append) => write([append]), { discard: true })
        }
        const detail = exit.cause._tag === "Fail" ? exit.cause.error : "the writer was stopped"
        for (const { done, topic } of group) {
          done(Exit.fail(new LogUnavailable({ topic, operation: "append", detail })))
        }
      })

    const commitGroup = yield* makeGroupCommit(limits, write)
    const place = makePlacement()

    const fetcher = yield* Effect.acquireRelease(
      Effect.sync(() => makeKafkaFetcher(() => connectCluster(connection), limits, reportFetch)),
      (made) => Effect.sync(made.close)
    )
    const open: (typeof EventLog.Service)["open"] = (opening) =>
      openKafkaReader(fetcher, limits, `${options.groupPrefix ?? "groundstate"}.${opening.stream}`, opening)
    const partitions = (topic: string) => counts.get(topic)

    const log: typeof EventLog.Service = {
      ensureTopic: (topic, wanted) =>
        Effect.zipRight(
          ask(topic, "create", (admin) =>
            admin.createTopics({
              waitForLeaders: true,
              topics: [{ topic, numPartitions: wanted, replicationFactor: options.replicationFactor ?? -1 }]
            })
          ),
          Effect.suspend(() => {
            told.delete(topic)
            return Effect.zipRight(counts.invalidate(topic), counts.get(topic))
          })
        ).pipe(untilTold),
      partitions,
      append: (topic, records) =>
        records.length === 0
          ? Effect.succeed([])
          : Effect.suspend(() =>
              onward(countOf(topic), (count) =>
                onward(place(topic, records, count), (places) => commitGroup(topic, records, places))
              )
            ),
      open,
      ping: Effect.asVoid(ask("(all)", "describe", (admin) => admin.describeCluster()))
    }
    return Context.make(EventLog, log).pipe(Context.add(EventSource, { partitions, open }))
  })

/**
 * The log on Kafka. Connects when first used, so it builds without a broker; `ping` tells whether one is
 * there. Differences from a consumer group: no joining, no rebalancing; an owner reads what it is told to and
 * the epoch in its checkpoint fences it.
 */
export const KafkaLog = {
  layer: (options: KafkaLogOptions): Layer.Layer<EventLog | EventSource> => Layer.scopedContext(make(options))
}
