// A runner put together: stores, log, cluster, actors, surfaces. What is provided later is released later.
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer, Option } from "effect"
import * as Cell from "../actors/cell/Cell.ts"
import { ALERT_TOPIC } from "../actors/cell/Emitter.ts"
import { Models } from "../actors/cell/Models.ts"
import * as Device from "../actors/device/Device.ts"
import * as DeviceBatches from "../actors/device/DeviceBatches.ts"
import * as ModelVersion from "../actors/model/ModelVersion.ts"
import * as Region from "../actors/region/Region.ts"
import * as CellWaker from "../actors/singleton/CellWaker.ts"
import * as IncidentSweep from "../actors/singleton/IncidentSweep.ts"
import * as RetentionSweep from "../actors/singleton/RetentionSweep.ts"
import type { StreamDefinition } from "../schema/stream/StreamDefinition.ts"
import { planStream } from "../schema/stream/StreamPlan.ts"
import { DeadLetters } from "../services/ingest/DeadLetters.ts"
import { EmbeddedLog, EmbeddedLogUpkeep } from "../services/ingest/EmbeddedLog.ts"
import { EventLog } from "../services/ingest/EventLog.ts"
import { KafkaLog, kafkaOptionsOf } from "../services/ingest/KafkaLog.ts"
import * as Api from "../services/inspect/Api.ts"
import * as HttpServer from "../services/inspect/HttpServer.ts"
import { LiveFeed } from "../services/inspect/LiveFeed.ts"
import { ModelStore } from "../services/model/ModelStore.ts"
import { AlertFeed } from "../services/observe/AlertFeed.ts"
import { Asks } from "../services/observe/Asks.ts"
import * as DatabaseWatch from "../services/observe/DatabaseWatch.ts"
import { Health } from "../services/observe/Health.ts"
import { Metrics } from "../services/observe/Metrics.ts"
import * as Telemetry from "../services/observe/Telemetry.ts"
import { Cells } from "../services/runtime/Cells.ts"
import * as Cluster from "../services/runtime/Cluster.ts"
import { layerSqlite } from "../services/runtime/Database.ts"
import { layerRegion } from "../services/runtime/RegionDatabase.ts"
import { type RunnerConfig, Settings } from "../services/runtime/Settings.ts"
import { type ServedStream, Streams } from "../services/runtime/Streams.ts"
import { OnnxScorer } from "../services/score/OnnxScorer.ts"
import * as Retention from "../services/state/Retention.ts"
import * as SqlActorStore from "../services/state/SqlActorStore.ts"
import * as SqlCheckpoint from "../services/state/SqlCheckpoint.ts"
import { fallbackRules } from "./fallbackRules.ts"
import { makeFolder } from "./folder.ts"

/** Partitions of the topics that the runner itself writes. */
const OUTPUT_PARTITIONS = 1
const TRIM_EVERY = "1 minute"

/** The event log that the settings name. */
export const logLayer = (settings: RunnerConfig) =>
  settings.log.kind === "kafka" && settings.log.kafka !== undefined
    ? KafkaLog.layer(kafkaOptionsOf(settings.log.kafka))
    : EmbeddedLog.layer({
        filename: `${settings.dataDir}/log.db`,
        synchronous: settings.log.durability,
        retainBytesMax: settings.log.retainBytesMax
      })

/** Keeps the embedded log within what it may hold; Kafka does that by itself. */
const upkeep = Layer.scopedDiscard(
  Effect.gen(function* () {
    const log = yield* Effect.serviceOption(EmbeddedLogUpkeep)
    if (Option.isNone(log)) return
    yield* log.value.trim.pipe(
      Effect.catchAll((error) => Effect.logWarning("the embedded log was not trimmed", error.message)),
      Effect.zipRight(Effect.sleep(TRIM_EVERY)),
      Effect.forever,
      Effect.forkScoped
    )
  })
)

/** Makes the topics that are missing, and knows every stream by its plan. */
const streamsLayer = (definitions: ReadonlyArray<StreamDefinition>) =>
  Layer.effect(
    Streams,
    Effect.gen(function* () {
      const log = yield* EventLog
      for (const topic of [ALERT_TOPIC, "groundstate.deadletters"])
        yield* log.ensureTopic(topic, OUTPUT_PARTITIONS)
      const all: Array<ServedStream> = []
      for (const definition of definitions) {
        const topic = definition.source.topic
        const partitions = yield* log.ensureTopic(topic, definition.source.partitions)
        all.push({ definition, plan: planStream(definition), topic, partitions })
      }
      return { all, get: (stream: string) => all.find((served) => served.plan.stream === stream) }
    })
  )

/** The database that the settings name, migrated. */
export const databaseLayer = (settings: RunnerConfig) => {
  const { kind, postgres } = settings.database
  if (kind === "postgres" && postgres !== undefined) {
    return DatabaseWatch.layer.pipe(
      Layer.provideMerge(
        layerRegion({
          postgres,
          applicationName: `groundstate ${settings.runner}`,
          connectionsMax: postgres.connectionsMax
        })
      )
    )
  }
  return layerSqlite({
    filename: `${settings.dataDir}/state.db`,
    durability: settings.log.durability,
    busyTimeoutMillis: 5_000
  })
}

/** What everything else stands on. */
export const foundation = (settings: RunnerConfig, definitions: ReadonlyArray<StreamDefinition>) => {
  const base = Layer.mergeAll(
    Layer.succeed(Settings, settings),
    Health.layer,
    Metrics.layer,
    AlertFeed.layer,
    Asks.layer
  )
  return Layer.mergeAll(
    streamsLayer(definitions),
    upkeep,
    DeadLetters.layer({ partitions: OUTPUT_PARTITIONS }),
    Cells.layer,
    SqlCheckpoint.layer,
    SqlActorStore.layer,
    Retention.layer,
    Models.layer
  ).pipe(
    Layer.provideMerge(Layer.mergeAll(OnnxScorer.layer, ModelStore.layer)),
    Layer.provideMerge(Cluster.layerSingle),
    Layer.provideMerge(databaseLayer(settings)),
    Layer.provideMerge(logLayer(settings)),
    Layer.provideMerge(Telemetry.layer),
    Layer.provideMerge(base),
    Layer.provide(makeFolder(settings.dataDir))
  )
}

/** Actors, and what wakes them; every entity is registered before the first message can be sent. */
export const actors = (settings: RunnerConfig) =>
  Layer.mergeAll(CellWaker.layer, IncidentSweep.layer, RetentionSweep.layer).pipe(
    Layer.provideMerge(
      Layer.mergeAll(Cell.layer, Device.layer(settings.device.idle), Region.layer, ModelVersion.layer)
    ),
    Layer.provideMerge(DeviceBatches.layer)
  )

/** A whole runner: it reads, scores, alerts and answers until its scope closes. */
export const runnerLayer = (settings: RunnerConfig, definitions: ReadonlyArray<StreamDefinition>) =>
  Api.layer.pipe(
    Layer.provideMerge(HttpServer.layer),
    Layer.provide([LiveFeed.layer, fallbackRules, NodeHttpServer.layerContext]),
    Layer.provideMerge(actors(settings)),
    Layer.provideMerge(foundation(settings, definitions))
  )
