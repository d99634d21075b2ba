// `groundstate produce`: sends events of a file or folder to a runner or to Kafka, at a rate, resumable, telling what was refused.
import { existsSync } from "node:fs"
import { Clock, Duration, Effect, Either, Schema } from "effect"
import { StreamView } from "../../schema/api/RegionApi.ts"
import { CommandFailed, UsageInvalid } from "../../schema/error/CliError.ts"
import type { StreamDefinition } from "../../schema/stream/StreamDefinition.ts"

import { loadSettings } from "../runtime/SettingsFile.ts"
import { makeApi, type RunnerTarget, serverFlag, understand } from "./ApiClient.ts"

import { type EventRow, openEventFile, unreadable } from "./EventFile.ts"
import { type EventSink, httpSink, kafkaSink, type RefusedRow } from "./EventSink.ts"
import { formatCount, formatMillis, formatRate } from "./format.ts"
import { defaultFlag, numberBetween, optionalFlag, type Parse, requiredFlag, wholeNumber } from "./inputs.ts"
import { outputFlag, printAs } from "./Output.ts"
import { printable } from "./paint.ts"
import { makeProgress } from "./progress.ts"
import { say } from "./Screen.ts"
import { loadStream } from "./streamDefinitions.ts"
import { subcommand } from "./subcommand.ts"
import { renderPairs } from "./table.ts"

const BATCH_ROWS_MAX = 1_000
const BATCH_CHARACTERS_MAX = 2 * 1024 * 1024
/** Refused rows told one by one; the others only count. */
const REFUSED_TOLD_MAX = 20

const brokersOf: Parse<ReadonlyArray<string>> = (text) => {
  const brokers = text.split(",").map((part) => part.trim())
  return brokers.every(
    (broker) => /^[^\s:]+:\d{1,5}$/.test(broker) || /^\[[0-9a-f:]+\]:\d{1,5}$/i.test(broker)
  )
    ? Either.right(brokers)
    : Either.left("wants host:port, several separated by commas")
}

interface Target {
  readonly stream: string | undefined
  readonly topic: string | undefined
  readonly server: RunnerTarget
  readonly brokers: ReadonlyArray<string> | undefined
  readonly config: string | undefined
  readonly key: string | undefined
}

/** `--stream` names a definition's file, or a stream that the runner serves. */
const resolveStream = (stream: string | undefined) =>
  Effect.gen(function* () {
    if (stream === undefined) return { definition: undefined, name: undefined }
    if (/\.ya?ml$/i.test(stream) || existsSync(stream)) {
      const definition = yield* loadStream(stream)
      return { definition, name: definition.stream as string }
    }
    return { definition: undefined, name: stream }
  })

/** How Kafka is reached: as --brokers says, or as a runner's configuration does; undefined for a runner's API. */
const kafkaOf = ({ server, brokers, config }: Target) =>
  Effect.gen(function* () {
    if (brokers === undefined && config === undefined) return undefined
    if (server.url !== undefined || (brokers !== undefined && config !== undefined)) {
      return yield* new UsageInvalid({
        problem: "--server, --brokers and --config exclude each other.",
        next: "Keep one of them."
      })
    }
    if (brokers !== undefined) return { brokers, clientId: "groundstate-produce" }
    const { settings } = yield* loadSettings(config)
    if (settings.log.kind !== "kafka" || settings.log.kafka === undefined) {
      return yield* new UsageInvalid({
        problem: `${config} names no Kafka: its log is ${settings.log.kind}.`,
        next: "Leave --config out to send to the runner's API, or name the configuration of a runner on Kafka."
      })
    }
    const { kafkaOptionsOf } = yield* Effect.promise(() => import("../ingest/KafkaLog.ts"))
    return kafkaOptionsOf(settings.log.kafka)
  })

const openSink = (target: Target, definition: StreamDefinition | undefined, name: string | undefined) =>
  Effect.gen(function* () {
    const kafka = yield* kafkaOf(target)
    if (kafka !== undefined) {
      const topic = target.topic ?? definition?.source.topic
      if (topic === undefined) {
        return yield* new UsageInvalid({
          problem: "Kafka needs a topic.",
          next: "Give --topic, or the stream's definition: --stream FILE.yaml."
        })
      }
      return yield* kafkaSink({
        kafka,
        topic,
        keyPath: target.key ?? definition?.identity.device
      })
    }
    if (target.key !== undefined) {
      return yield* new UsageInvalid({
        problem: "--key is for Kafka: a runner takes the device that the stream declares.",
        next: "Leave --key out, or give --brokers or --config."
      })
    }
    const api = yield* makeApi(target.server)
    if (target.topic === undefined) return httpSink(api, name)
    const List = Schema.Struct({ items: Schema.Array(StreamView) })
    const { items } = yield* Effect.flatMap(
      api.get("/v1/streams"),
      understand(api, "the list of streams", List)
    )
    const served = items.find((item) => item.topic === target.topic)
    if (served === undefined) {
      return yield* new CommandFailed({
        problem: `No stream of ${api.server} reads topic ${target.topic}.`,
        next: `It serves ${items.map((item) => `${item.name} (topic ${item.topic})`).join(", ") || "none"}; give --brokers or --config to write to Kafka itself.`
      })
    }
    return httpSink(api, served.name)
  })

interface Totals {
  rows: number
  accepted: number
  refused: number
  /** Row to go on from after a failure. */
  next: number
}

/** Sends the file in batches: never faster than `rate` events a second, counted from the start. */
const pump = (
  file: string,
  definition: StreamDefinition | undefined,
  sink: EventSink,
  options: { readonly rate: number | undefined; readonly from: number },
  totals: Totals
) =>
  Effect.gen(function* () {
    const events = yield* openEventFile(file, definition)
    const progress = yield* makeProgress({ label: "produce", unit: "events" })
    const startedAt = yield* Clock.currentTimeMillis
    const batchRows =
      options.rate === undefined
        ? BATCH_ROWS_MAX
        : Math.max(1, Math.min(BATCH_ROWS_MAX, Math.round(options.rate / 10)))
    const tell = (refused: ReadonlyArray<RefusedRow>) =>
      Effect.gen(function* () {
        for (const { row, detail } of refused) {
          totals.refused++
          if (totals.refused <= REFUSED_TOLD_MAX) yield* say(`row ${row} refused: ${printable(detail)}`)
          if (totals.refused === REFUSED_TOLD_MAX) yield* say("Further refused rows are only counted.")
        }
      })
    const flush = (batch: ReadonlyArray<EventRow>) =>
      Effect.gen(function* () {
        if (batch.length === 0) return
        const good = batch.filter((row) => row.json !== undefined)
        const sent = good.length === 0 ? { accepted: 0, refused: [] } : yield* sink.send(good)
        totals.accepted += sent.accepted
        totals.rows += batch.length
        totals.next = batch[batch.length - 1].row + 1
        const faults = batch.flatMap((row) =>
          row.fault === undefined ? [] : [{ row: row.row, detail: row.fault }]
        )
        yield* tell([...faults, ...sent.refused].sort((a, b) => a.row - b.row))
        const share = events.share()
        const note = totals.refused === 0 ? "" : `${formatCount(totals.refused)} refused`
        yield* progress.update(totals.rows, {
          note,
          ...(share === undefined || share === 0
            ? {}
            : { total: share === 1 ? totals.rows : Math.round(totals.rows / share) })
        })
        if (options.rate !== undefined) {
          const due = startedAt + (totals.rows / options.rate) * 1_000
          const wait = due - (yield* Clock.currentTimeMillis)
          if (wait > 0) yield* Effect.sleep(Duration.millis(wait))
        }
      })
    const next = Effect.tryPromise({
      try: () => events.lots.next(),
      catch: (cause) => unreadable(file, cause)
    })
    yield* Effect.addFinalizer(() => Effect.promise(() => events.lots.return()))
    let batch: Array<EventRow> = []
    let characters = 0
    for (;;) {
      const lot = yield* next
      if (lot.done === true) break
      for (const row of lot.value) {
        if (row.row < options.from) continue
        batch.push(row)
        characters += row.json?.length ?? 0
        if (batch.length >= batchRows || characters >= BATCH_CHARACTERS_MAX) {
          yield* flush(batch)
          batch = []
          characters = 0
        }
      }
    }
    yield* flush(batch)
    return (yield* Clock.currentTimeMillis) - startedAt
  })

export const produce = subcommand({
  name: "produce",
  summary: "Send a file's events to a runner or to Kafka",
  detail: [
    "JSON lines are sent as they are; a CSV row becomes an event with a key per column, typed by the definition where there is one. Rows that are refused are named and counted, the others are sent.",
    "A folder's files, with those of the folders below, are sent one after the other in the order of their paths; their rows are counted on. With a definition whose device is `file`, a row without such a key gets the file's name, without folder and extensions.",
    "When the target goes away the command waits up to 30 s, then ends with the row to go on from (--from). Rows sent twice are taken once where the stream declares an id."
  ],
  examples: [
    ["produce --input flows.jsonl.gz --stream flows", "to the runner at GROUNDSTATE_SERVER"],
    [
      "produce --input flows.csv --stream streams/flows.yaml --rate 500",
      "typed by the definition, 500 events a second"
    ],
    ["produce --input flows.jsonl --topic flows --brokers 127.0.0.1:9092 --key device", "to Kafka itself"],
    [
      "produce --input flows.jsonl --stream streams/flows.yaml --config groundstate.yaml",
      "to Kafka as a runner reaches it, with its encryption and credentials"
    ]
  ],
  inputs: {
    input: requiredFlag("input", {
      value: "FILE|FOLDER",
      about: "JSON lines or CSV, .gz of either, or a folder of such files and folders"
    }),
    stream: optionalFlag("stream", {
      value: "FILE.yaml|STREAM",
      about: "the stream's definition, or its name on the runner"
    }),
    topic: optionalFlag("topic", { value: "TOPIC", about: "the topic, in place of a stream" }),
    server: serverFlag,
    brokers: optionalFlag("brokers", { value: "HOST:PORT,…", about: "write to Kafka itself" }, brokersOf),
    config: optionalFlag("config", {
      value: "FILE",
      about: "write to the Kafka of this runner's configuration, with its encryption and credentials"
    }),
    key: optionalFlag("key", {
      value: "FIELD",
      about: "field that keys the Kafka record; the definition's device without it"
    }),
    rate: optionalFlag(
      "rate",
      { value: "N", about: "at most so many events per second" },
      numberBetween(0.01, 10_000_000)
    ),
    from: defaultFlag(
      "from",
      { value: "ROW", about: "first row to send, to go on after a break", fallback: "1" },
      wholeNumber(1, Number.MAX_SAFE_INTEGER)
    ),
    output: outputFlag
  },
  run: ({ input, stream, topic, server, brokers, config, key, rate, from, output }) =>
    Effect.gen(function* () {
      const { definition, name } = yield* resolveStream(stream)
      const totals: Totals = { rows: 0, accepted: 0, refused: 0, next: from }
      const millis = yield* Effect.scoped(
        Effect.gen(function* () {
          const sink = yield* openSink({ stream, topic, server, brokers, config, key }, definition, name)
          yield* say(`Sending ${printable(input)} to ${sink.target}.`)
          return yield* pump(input, definition, sink, { rate, from }, totals)
        })
      ).pipe(
        Effect.tapError(() =>
          totals.rows === 0
            ? Effect.void
            : say(`${formatCount(totals.accepted)} events were sent; go on with --from ${totals.next}.`)
        )
      )
      const eventsPerSecond = millis === 0 ? 0 : (totals.accepted * 1_000) / millis
      yield* printAs(
        output,
        {
          rows: totals.rows,
          accepted: totals.accepted,
          refused: totals.refused,
          seconds: millis / 1_000,
          eventsPerSecond
        },
        Effect.succeed(
          renderPairs([
            ["Rows", formatCount(totals.rows)],
            ["Accepted", formatCount(totals.accepted)],
            ["Refused", formatCount(totals.refused)],
            ["Took", `${formatMillis(millis)}, ${formatRate(eventsPerSecond)}`]
          ])
        )
      )
      if (totals.refused > 0) {
        return yield* new CommandFailed({
          problem: `${formatCount(totals.refused)} of ${formatCount(totals.rows)} rows were refused; the others are in the log.`,
          next: "Correct the rows named above (or the stream's definition) and send those again."
        })
      }
    })
})
