// The actor of one model version: registered, active, retired; it tells the cells and remembers where it holds.
import { Entity } from "@effect/cluster"
import { Clock, Duration, Effect } from "effect"
import { ModelRefused } from "../../schema/error/ModelError.ts"
import type { StorageUnavailable } from "../../schema/error/StorageError.ts"
import { CommandId } from "../../schema/Ids.ts"
import { CellProtocol } from "../../schema/protocol/CellProtocol.ts"
import {
  ModelNotFound,
  ModelProtocol,
  ModelUnavailable,
  type ModelVersionRecord,
  registeredModel
} from "../../schema/protocol/ModelProtocol.ts"
import { ModelStore } from "../../services/model/ModelStore.ts"
import { RegionEvents } from "../../services/observe/RegionEvents.ts"
import { Cells } from "../../services/runtime/Cells.ts"
import { Streams } from "../../services/runtime/Streams.ts"
import { ActorStore } from "../../services/state/ActorStore.ts"
import { activated, retired } from "./modelState.ts"

/** How long an activation waits for one cell to record it. */
const CELL_TIMEOUT = Duration.seconds(15)
/** Cells told at once. */
const CELLS_AT_ONCE = 8

const build = Effect.gen(function* () {
  const digest: string = (yield* Entity.CurrentAddress).entityId
  const store = yield* ActorStore
  const bundles = yield* ModelStore
  const streams = yield* Streams
  const cells = yield* Cells
  const cellOf = yield* CellProtocol.client
  const events = yield* RegionEvents

  const unavailable = (error: StorageUnavailable) => new ModelUnavailable({ digest, detail: error.detail })

  const manifest = bundles
    .get(digest)
    .pipe(
      Effect.flatMap((bundle) =>
        bundle === undefined ? Effect.fail(new ModelNotFound({ digest })) : Effect.succeed(bundle.manifest)
      )
    )

  const load = Effect.gen(function* () {
    const stored = yield* store.model(digest).pipe(Effect.mapError(unavailable))
    return stored ?? registeredModel(digest, yield* manifest)
  })

  const save = (record: ModelVersionRecord, commandId: string | undefined) =>
    store.saveModel(record, commandId).pipe(
      Effect.mapError(unavailable),
      Effect.flatMap((saved) =>
        saved
          ? Effect.succeed(record)
          : Effect.fail(new ModelUnavailable({ digest, detail: "another owner changed it at the same time" }))
      )
    )

  return ModelProtocol.of({
    Describe: () => load,

    Activate: ({ payload }) =>
      Effect.gen(function* () {
        const record = yield* load
        if (yield* store.modelCommandKnown(digest, payload.command).pipe(Effect.mapError(unavailable)))
          return record
        const served = streams.get(payload.stream)
        const input = (yield* manifest).input
        if (served === undefined || (input.kind === "stream" && input.stream !== payload.stream)) {
          return yield* new ModelRefused({
            model: digest,
            reason: "wrong-stream",
            detail:
              served === undefined
                ? `this region serves no stream ${payload.stream}`
                : `it was trained for ${input.kind === "stream" ? input.stream : "tables"}`
          })
        }
        // Cells first, each once by command id; the record last: cut off here, the same command goes on.
        const places = yield* Effect.forEach(
          Array.from({ length: served.partitions }, (_, partition) => partition),
          (partition) =>
            cellOf(cells.idOf(payload.stream, partition))
              .Command({
                command: CommandId.make(`model-${payload.command}`),
                change: { _tag: "UseModel", digest }
              })
              .pipe(
                Effect.timeout(CELL_TIMEOUT),
                Effect.mapBoth({
                  onSuccess: (result) => ({ partition, offset: result.offset, epoch: result.epoch }),
                  onFailure: (error) =>
                    new ModelUnavailable({
                      digest,
                      detail: `cell ${payload.stream}/${partition} did not take it (${error._tag}: ${error.message})`
                    })
                })
              ),
          { concurrency: CELLS_AT_ONCE }
        )
        const now = yield* Clock.currentTimeMillis
        const before = yield* store.activeModel(payload.stream).pipe(Effect.mapError(unavailable))
        if (before !== undefined && before.digest !== digest) yield* save(retired(before, now), undefined)
        yield* bundles.setAlias(
          served.definition.model?.name ?? payload.stream,
          served.definition.model?.alias ?? "champion",
          digest
        )
        const saved = yield* save(activated(record, payload.stream, places, now), payload.command)
        events.tell({
          kind: "model-active",
          stream: payload.stream,
          detail: `Model ${digest} scores stream ${payload.stream}, by order of ${payload.by}${before === undefined || before.digest === digest ? "" : `, in place of ${before.digest}`}.`
        })
        return saved
      }),

    Retire: ({ payload }) =>
      Effect.gen(function* () {
        const record = yield* load
        if (yield* store.modelCommandKnown(digest, payload.command).pipe(Effect.mapError(unavailable)))
          return record
        if (record.state === "active" && record.stream !== null) {
          const served = streams.get(record.stream)
          const stream = record.stream
          yield* Effect.forEach(
            Array.from({ length: served?.partitions ?? 0 }, (_, partition) => partition),
            (partition) =>
              cellOf(cells.idOf(stream, partition))
                .Command({
                  command: CommandId.make(`model-${payload.command}`),
                  change: { _tag: "UseModel", digest: null }
                })
                .pipe(
                  Effect.timeout(CELL_TIMEOUT),
                  Effect.mapError(
                    (error) =>
                      new ModelUnavailable({
                        digest,
                        detail: `cell ${stream}/${partition} did not let go (${error._tag})`
                      })
                  )
                ),
            { concurrency: CELLS_AT_ONCE, discard: true }
          )
        }
        const saved = yield* save(retired(record, yield* Clock.currentTimeMillis), payload.command)
        events.tell({
          kind: "model-retired",
          ...(record.stream === null ? {} : { stream: record.stream }),
          detail: `Model ${digest} is retired, by order of ${payload.by}.`
        })
        return saved
      })
  })
})

export const layer = ModelProtocol.toLayer(build, { maxIdleTime: Duration.minutes(10) })
