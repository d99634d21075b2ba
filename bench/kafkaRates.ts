// Question: what does reading eight partitions cost at the rates that a stream has, and how late is an event read?
// Run: npm run build && node dist/bench/kafkaRates.js [seconds a rate]. Nothing is done with the events: what is
// measured is connection, fetches and the walk over record batches. Broker and producer are on the other core.
import { Deferred, Effect, Fiber } from "effect"
import { EventLog } from "../src/services/ingest/EventLog.ts"
import { KafkaLog } from "../src/services/ingest/KafkaLog.ts"
import { pinSelf, startBroker, startProducer, WORK_CORE } from "./live.ts"
import { quantile } from "./report.ts"

const PARTITIONS = 8
const TOPIC = "rates"
const RATES: ReadonlyArray<number> = [0, 2_000, 20_000, 100_000]
const WARM_SECONDS = 2

const wallNow = () => performance.timeOrigin + performance.now()
const timeOf = /"ts":([\d.]+)/

interface Seen {
  events: number
  batches: number
  readonly latencies: Array<number>
}

/** Reads every partition for ever; of each batch the first event's age is noted. */
const readAll = (seen: Seen, open: Deferred.Deferred<void>) =>
  Effect.gen(function* () {
    const log = yield* EventLog
    let opened = 0
    yield* Effect.forEach(
      Array.from({ length: PARTITIONS }, (_, partition) => partition),
      (partition) =>
        Effect.gen(function* () {
          const reader = yield* log.open({
            topic: TOPIC,
            partition,
            offset: "latest",
            epoch: 1,
            stream: "bench",
            fetchBytesMax: 4 * 1_048_576
          })
          if (++opened === PARTITIONS) yield* Deferred.succeed(open, undefined)
          for (;;) {
            const batch = yield* reader.fetch(250)
            if (batch === undefined || batch.count === 0) continue
            seen.events += batch.count
            seen.batches++
            const first = Buffer.from(
              batch.bytes.buffer,
              batch.bytes.byteOffset + batch.starts[0],
              batch.ends[0] - batch.starts[0]
            )
            seen.latencies.push(wallNow() - Number(timeOf.exec(first.toString("latin1"))?.[1]))
          }
        }).pipe(Effect.scoped),
      { concurrency: "unbounded" }
    )
  })

const seconds = Number(process.argv[2] ?? 5)
const kafka = await startBroker()
const layer = KafkaLog.layer({ brokers: kafka.brokers, clientId: "bench" })
await Effect.runPromise(
  Effect.flatMap(EventLog, (log) => log.ensureTopic(TOPIC, PARTITIONS)).pipe(Effect.provide(layer))
)
const producer = await startProducer({
  kafka,
  topic: TOPIC,
  rate: 1_000,
  devices: 20_000,
  alarmEvery: 0,
  label: "r"
})
pinSelf(WORK_CORE)

const measure = (rate: number) =>
  Effect.gen(function* () {
    const seen: Seen = { events: 0, batches: 0, latencies: [] }
    const open = yield* Deferred.make<void>()
    const reading = yield* Effect.fork(readAll(seen, open))
    yield* Deferred.await(open)
    const sending = yield* Effect.fork(
      rate === 0 ? Effect.void : Effect.promise(() => producer.send(rate * (WARM_SECONDS + seconds), rate))
    )
    yield* Effect.sleep(`${WARM_SECONDS} seconds`)
    seen.events = seen.batches = seen.latencies.length = 0
    const cpu = process.cpuUsage()
    const from = performance.now()
    yield* Effect.sleep(`${seconds - 0.5} seconds`)
    const used = process.cpuUsage(cpu)
    const took = (performance.now() - from) / 1_000
    const micros = used.user + used.system
    const { events, batches } = seen
    const per = (count: number) => (count === 0 ? "–" : (micros / count).toFixed(1))
    process.stdout.write(
      `${String(rate).padStart(7)}/s: CPU ${((micros / took) * 1e-4).toFixed(1).padStart(5)} %, ` +
        `${Math.round(batches / took)} batches/s, ${per(batches)} µs a batch, ${per(events)} µs an event; ` +
        (batches === 0
          ? "nothing came\n"
          : `read after p50 ${quantile(seen.latencies, 0.5).toFixed(1)}, p99 ${quantile(seen.latencies, 0.99).toFixed(1)} ms\n`)
    )
    yield* Fiber.join(sending)
    yield* Fiber.interrupt(reading)
  })

await Effect.runPromise(Effect.forEach(RATES, measure, { discard: true }).pipe(Effect.provide(layer)))
await producer.stop()
await kafka.stop()
