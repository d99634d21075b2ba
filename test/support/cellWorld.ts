// Cells as a runner has them, in this process, with a log and a model that a test may tamper with.
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { Effect, Layer, Logger, LogLevel, ManagedRuntime, Schedule } from "effect"
import * as Cell from "../../src/actors/cell/Cell.ts"
import { Models } from "../../src/actors/cell/Models.ts"
import * as DeviceBatches from "../../src/actors/device/DeviceBatches.ts"
import { ModelRefused } from "../../src/schema/error/ModelError.ts"
import type { StorageUnavailable } from "../../src/schema/error/StorageError.ts"
import type { RecordBatch } from "../../src/schema/event/Batch.ts"
import { CommandId } from "../../src/schema/Ids.ts"
import { type CellChange, CellProtocol, type CellStatus } from "../../src/schema/protocol/CellProtocol.ts"
import type { StreamDefinition } from "../../src/schema/stream/StreamDefinition.ts"
import { planStream } from "../../src/schema/stream/StreamPlan.ts"
import { DeadLetters } from "../../src/services/ingest/DeadLetters.ts"
import { EmbeddedLog } from "../../src/services/ingest/EmbeddedLog.ts"
import { EventLog } from "../../src/services/ingest/EventLog.ts"
import { AlertFeed } from "../../src/services/observe/AlertFeed.ts"
import { Asks } from "../../src/services/observe/Asks.ts"
import { Health, type HealthService } from "../../src/services/observe/Health.ts"
import { Metrics } from "../../src/services/observe/Metrics.ts"
import { Cells } from "../../src/services/runtime/Cells.ts"
import * as Cluster from "../../src/services/runtime/Cluster.ts"
import { layerSqlite } from "../../src/services/runtime/Database.ts"
import { Ownership } from "../../src/services/runtime/Ownership.ts"
import { defaultConfig, type RunnerConfig, Settings } from "../../src/services/runtime/Settings.ts"
import { Streams } from "../../src/services/runtime/Streams.ts"
import type { LoadedModel } from "../../src/services/score/Scorer.ts"
import { Checkpoint } from "../../src/services/state/Checkpoint.ts"
import { DeviceChanges } from "../../src/services/state/DeviceChanges.ts"
import * as SqlActorStore from "../../src/services/state/SqlActorStore.ts"
import * as SqlCheckpoint from "../../src/services/state/SqlCheckpoint.ts"

export interface Tampering {
  /** Does the stream's reader give nothing for ever, from this fetch on? */
  readonly hangs?: () => boolean
  /** What the cells' readers hand out in place of what the log has. */
  readonly batch?: (batch: RecordBatch) => RecordBatch
  /** The one model there is. */
  readonly model?: LoadedModel
  /** Comes before devices take alerts. */
  readonly beforeAlerts?: () => Effect.Effect<void, StorageUnavailable>
  /** Comes before a checkpoint is written. */
  readonly beforeSave?: () => Effect.Effect<void>
  readonly settings?: Partial<RunnerConfig["cell"]>
  /** From a breaker's opening to its first probe, ms. */
  readonly probeEvery?: number
}

export interface CellWorld {
  readonly append: (values: ReadonlyArray<Uint8Array | null>) => Promise<void>
  /** The metrics, as Prometheus reads them. */
  readonly exposition: () => Promise<string>
  readonly inspect: () => Promise<CellStatus>
  /** What the runner says of itself, also after the stop. */
  readonly health: HealthService
  readonly command: (id: string, change: CellChange) => Promise<unknown>
  readonly stop: () => Promise<void>
}

export const worldSettings = (more: Partial<RunnerConfig["cell"]> = {}): RunnerConfig => ({
  ...defaultConfig,
  log: { ...defaultConfig.log, durability: "normal" },
  cell: {
    ...defaultConfig.cell,
    checkpointEvery: 20,
    idleWait: 20,
    restartDelayMin: 5,
    restartDelayMax: 20,
    ...more
  }
})

/** One partition of the stream, owned and processed until `stop`, which ends it in order. State lies in the folder. */
export const startWorld = async (
  folder: string,
  definition: StreamDefinition,
  tampering: Tampering = {}
): Promise<CellWorld> => {
  mkdirSync(folder, { recursive: true })
  const plan = planStream(definition)
  const topic = definition.source.topic
  const usual = worldSettings(tampering.settings)
  const { breakerProbeEvery } = usual.score
  const settings = {
    ...usual,
    score: { ...usual.score, breakerProbeEvery: tampering.probeEvery ?? breakerProbeEvery }
  }
  const log = Layer.effect(
    EventLog,
    Effect.map(EventLog, (inner) => ({
      ...inner,
      open: (options: Parameters<typeof inner.open>[0]) =>
        Effect.map(inner.open(options), (reader) => ({
          ...reader,
          fetch: (wait: number) =>
            Effect.map(
              tampering.hangs?.() === true && options.topic === topic ? Effect.never : reader.fetch(wait),
              (batch) =>
                batch === undefined || tampering.batch === undefined || options.topic !== topic
                  ? batch
                  : tampering.batch(batch)
            )
        }))
    }))
  ).pipe(Layer.provide(EmbeddedLog.layer({ filename: join(folder, "log.db"), synchronous: "normal" })))
  const streams = Layer.effect(
    Streams,
    Effect.gen(function* () {
      const made = yield* EventLog
      yield* made.ensureTopic("groundstate.alerts", 1)
      const partitions = yield* made.ensureTopic(topic, 1)
      const served = { definition, plan, topic, partitions }
      return { all: [served], get: (name: string) => (name === plan.stream ? served : undefined) }
    })
  )
  const models = Layer.succeed(Models, {
    open: (digest) =>
      tampering.model === undefined || tampering.model.digest !== digest
        ? Effect.fail(new ModelRefused({ model: digest, reason: "missing-file", detail: "there is none" }))
        : Effect.succeed(tampering.model)
  })
  const changes = Layer.effect(
    DeviceChanges,
    Effect.map(DeviceChanges, (inner) => ({
      ...inner,
      takeAlerts: (...asked: Parameters<typeof inner.takeAlerts>) =>
        Effect.zipRight(tampering.beforeAlerts?.() ?? Effect.void, inner.takeAlerts(...asked))
    }))
  ).pipe(Layer.provide(DeviceBatches.layer))
  const checkpoint = Layer.effect(
    Checkpoint,
    Effect.map(Checkpoint, (inner) => ({
      ...inner,
      save: (write: Parameters<typeof inner.save>[0]) =>
        Effect.zipRight(tampering.beforeSave?.() ?? Effect.void, inner.save(write))
    }))
  ).pipe(Layer.provide(SqlCheckpoint.layer))
  const layer = Cell.layer.pipe(
    Layer.provideMerge(changes),
    Layer.provideMerge(
      Layer.mergeAll(
        streams,
        DeadLetters.layer({ partitions: 1 }),
        Cells.layer,
        checkpoint,
        SqlActorStore.layer,
        models
      )
    ),
    Layer.provideMerge(Cluster.layerSingle),
    Layer.provideMerge(Ownership.layerAlone),
    Layer.provideMerge(
      layerSqlite({ filename: join(folder, "state.db"), durability: "normal", busyTimeoutMillis: 5_000 })
    ),
    Layer.provideMerge(log),
    Layer.provideMerge(
      Layer.mergeAll(
        Layer.succeed(Settings, settings),
        Health.layer,
        Metrics.layer,
        AlertFeed.layer,
        Asks.layer
      )
    ),
    // What goes wrong here goes wrong on purpose.
    Layer.provide(Logger.minimumLogLevel(LogLevel.None))
  )
  const runtime = ManagedRuntime.make(layer)
  const cell = Effect.gen(function* () {
    const cells = yield* Cells
    return (yield* CellProtocol.client)(cells.idOf(plan.stream, 0))
  })
  const inspect = () => runtime.runPromise(Effect.flatMap(cell, (it) => it.Inspect()))
  await inspect()
  return {
    health: await runtime.runPromise(Health),
    append: (values) =>
      runtime.runPromise(
        Effect.flatMap(EventLog, (made) =>
          Effect.asVoid(
            made.append(
              topic,
              values.map((value) => ({ key: null, value, partition: 0, timestamp: 1_760_010_000_000 }))
            )
          )
        )
      ),
    inspect,
    exposition: () => runtime.runPromise(Effect.flatMap(Metrics, (metrics) => metrics.exposition)),
    command: (id, change) =>
      runtime.runPromise(
        Effect.flatMap(cell, (it) => it.Command({ command: CommandId.make(id), change })).pipe(
          Effect.retry({
            times: 1_000,
            schedule: Schedule.spaced("5 millis"),
            while: (error) => error._tag === "CellUnavailable"
          })
        )
      ),
    stop: () => runtime.dispose()
  }
}
