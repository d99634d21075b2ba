// The region's alerts as their topic has them, in its order: those of every runner, for live feeds on any of them.
import { Context, Effect, Layer, Option, Schema, type Scope } from "effect"
import type { LogUnavailable, OffsetOutOfRange } from "../../schema/error/IngestError.ts"
import type { RecordBatch } from "../../schema/event/Batch.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"
import { ALERT_TOPIC, AlertCloudEvent, alertSource } from "../../schema/verdict/alertCloudEvent.ts"
import { Settings } from "../runtime/Settings.ts"
import { EventLog } from "./EventLog.ts"

const FETCH_BYTES = 1024 * 1024
const FOLLOW_WAIT_MILLIS = 1_000
/** A record that is there comes sooner. */
const READ_WAIT_MILLIS = 2_000
const AGAIN = "500 millis"

const text = new TextDecoder()
const decode = Schema.decodeUnknownOption(Schema.parseJson(AlertCloudEvent))

export class AlertTopic extends Context.Tag("groundstate/services/ingest/AlertTopic")<
  AlertTopic,
  {
    /**
     * Gives `past` the last `count` alerts, oldest first; then runs as long as its scope and tells `now` every alert that
     * comes. Fails where the log can't be read yet; later it may go and come.
     */
    readonly follow: (
      count: number,
      past: (alerts: ReadonlyArray<Alert>) => void,
      now: (alerts: ReadonlyArray<Alert>) => void
    ) => Effect.Effect<void, LogUnavailable | OffsetOutOfRange, Scope.Scope>
  }
>() {
  static readonly layer = Layer.effect(
    AlertTopic,
    Effect.suspend(() => make)
  )
}

const make = Effect.gen(function* () {
  const log = yield* EventLog
  const { region } = yield* Settings

  const openAt = (partition: number, offset: number | "latest") => {
    const place = { topic: ALERT_TOPIC, partition, epoch: 0, stream: "alerts", fetchBytesMax: FETCH_BYTES }
    return log
      .open({ ...place, offset })
      .pipe(Effect.catchTag("OffsetOutOfRange", () => log.open({ ...place, offset: "earliest" })))
  }
  const alertsIn = (batch: RecordBatch): ReadonlyArray<Alert> => {
    const alerts: Array<Alert> = []
    for (let row = 0; row < batch.count; row++) {
      if (batch.starts[row] < 0) continue
      const found = decode(text.decode(batch.bytes.subarray(batch.starts[row], batch.ends[row])))
      // Regions may share a broker; each tells its own.
      if (Option.isSome(found) && found.value.source === alertSource(region, found.value.data.stream))
        alerts.push(found.value.data)
    }
    return alerts
  }

  /** The last `count` records of a partition, and where it ends. */
  const readBack = (partition: number, count: number) =>
    Effect.scoped(
      Effect.gen(function* () {
        const { earliest, end } = yield* Effect.scoped(
          Effect.flatMap(openAt(partition, "latest"), (reader) => reader.bounds)
        )
        let next = Math.max(earliest, end - count)
        const reader = yield* openAt(partition, next)
        const alerts: Array<Alert> = []
        while (next < end) {
          const batch = yield* reader.fetch(READ_WAIT_MILLIS)
          if (batch === undefined) break
          alerts.push(...alertsIn(batch))
          next = batch.nextOffset
        }
        return { partition, alerts, next }
      })
    )

  const followFrom = (partition: number, from: number, now: (alerts: ReadonlyArray<Alert>) => void) => {
    let next = from
    return Effect.scoped(
      Effect.flatMap(
        Effect.suspend(() => openAt(partition, next)),
        (reader) =>
          Effect.suspend(() => reader.fetch(FOLLOW_WAIT_MILLIS)).pipe(
            Effect.map((batch) => {
              if (batch === undefined) return
              next = batch.nextOffset
              const alerts = alertsIn(batch)
              if (alerts.length > 0) now(alerts)
            }),
            Effect.forever
          )
      )
    ).pipe(
      Effect.catchAll((error) => Effect.logDebug("the alerts' topic can't be read now", error.message)),
      Effect.zipRight(Effect.sleep(AGAIN)),
      Effect.forever
    )
  }

  return AlertTopic.of({
    follow: (count, past, now) =>
      Effect.gen(function* () {
        const partitions = Array.from(
          { length: yield* log.partitions(ALERT_TOPIC) },
          (_, partition) => partition
        )
        const read = yield* Effect.forEach(partitions, (partition) => readBack(partition, count))
        past(read.flatMap(({ alerts }) => alerts))
        for (const { partition, next } of read) yield* Effect.forkScoped(followFrom(partition, next, now))
      })
  })
})
