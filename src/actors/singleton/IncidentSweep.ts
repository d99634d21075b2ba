// Moves incidents on as event time passes: open and growing ones turn quiet, quiet ones are resolved.
import { Singleton } from "@effect/cluster"
import { Duration, Effect } from "effect"
import { CellProtocol } from "../../schema/protocol/CellProtocol.ts"
import { groupOfName } from "../../schema/protocol/slots.ts"
import { partitionOf } from "../../services/ingest/partition.ts"
import { Metrics } from "../../services/observe/Metrics.ts"
import { Cells } from "../../services/runtime/Cells.ts"
import { Settings } from "../../services/runtime/Settings.ts"
import { Streams } from "../../services/runtime/Streams.ts"
import { ActorStore } from "../../services/state/ActorStore.ts"
import { DeviceChanges } from "../../services/state/DeviceChanges.ts"
import { rounds } from "./rounds.ts"

const EVERY = Duration.seconds(2)
/** Incidents moved in one sweep of a stream; the rest wait for the next. */
const INCIDENTS_PER_SWEEP = 500

const sweep = Effect.gen(function* () {
  const streams = yield* Streams
  const cells = yield* Cells
  const store = yield* ActorStore
  const settings = yield* Settings
  const cellOf = yield* CellProtocol.client
  const changes = yield* DeviceChanges
  const metrics = yield* Metrics
  const encoder = new TextEncoder()

  const ask = (stream: string, partitions: number) =>
    Effect.forEach(
      Array.from({ length: partitions }, (_, partition) => partition),
      (partition) =>
        cellOf(cells.idOf(stream, partition))
          .Inspect()
          .pipe(
            Effect.timeout("2 seconds"),
            Effect.orElseSucceed(() => null)
          ),
      { concurrency: 8 }
    )

  return Effect.forEach(
    streams.all,
    (served) =>
      Effect.gen(function* () {
        const stream = served.plan.stream
        const told = yield* ask(stream, served.partitions)
        const newest = Math.max(...told.map((cell) => cell?.watermark ?? Number.NEGATIVE_INFINITY))
        if (!Number.isFinite(newest)) return
        const quiet = yield* store.stale(
          stream,
          ["open", "growing"],
          newest - served.plan.quietMillis,
          INCIDENTS_PER_SWEEP
        )
        const over = yield* store.stale(
          stream,
          ["quiet"],
          newest - served.plan.quietMillis - settings.device.resolveAfter,
          INCIDENTS_PER_SWEEP
        )
        const refusals = yield* changes.passTime(
          [...quiet, ...over].flatMap(({ device }) => {
            const cell = told[partitionOf(encoder.encode(device), served.partitions)]
            return cell === null || cell.watermark === null
              ? []
              : [{ cell, device, watermark: cell.watermark }]
          })
        )
        if (refusals > 0) metrics.fenced(stream, refusals)
      }),
    { discard: true }
  )
})

export const layer = Singleton.make(
  "incident-sweep",
  Effect.flatMap(sweep, (round) => rounds({ name: "an incident sweep", every: EVERY, round })),
  { shardGroup: groupOfName("incident-sweep") }
)
