// A runner put together: stores, log, cluster, actors, surfaces. What is provided later is released later.
import { NodeHttpServer } from "@effect/platform-node"
import { Duration, Effect, Layer, Option, Schedule } from "effect"
import * as Cell from "../actors/cell/Cell.ts"
import { Models } from "../actors/cell/Models.ts"
import * as Device from "../actors/device/Device.ts"
import * as DeviceBatches from "../actors/device/DeviceBatches.ts"
import * as ModelVersion from "../actors/model/ModelVersion.ts"
import * as Region from "../actors/region/Region.ts"
import * as CellWaker from "../actors/singleton/CellWaker.ts"
import * as IncidentSweep from "../actors/singleton/IncidentSweep.ts"
import * as MessageReaper from "../actors/singleton/MessageReaper.ts"
import * as RetentionSweep from "../actors/singleton/RetentionSweep.ts"
import type { LogUnavailable } from "../schema/error/IngestError.ts"
import type { StreamDefinition } from "../schema/stream/StreamDefinition.ts"
import { planStream } from "../schema/stream/StreamPlan.ts"
import { ALERT_TOPIC } from "../schema/verdict/alertCloudEvent.ts"
import { AlertTopic } from "../services/ingest/AlertTopic.ts"
import { DeadLetters } from "../services/ingest/DeadLetters.ts"
import { EmbeddedLog, EmbeddedLogUpkeep } from "../services/ingest/EmbeddedLog.ts"
import { EventLog } from "../services/ingest/EventLog.ts"
import { KafkaLog, kafkaOptionsOf } from "../services/ingest/KafkaLog.ts"
import * as LogWatch from "../services/ingest/LogWatch.ts"
import * as Api from "../services/inspect/Api.ts"
import * as HttpServer from "../services/inspect/HttpServer.ts"
import { LiveFeed } from "../services/inspect/LiveFeed.ts"
import * as RegionFeed from "../services/inspect/RegionFeed.ts"
import { ModelStore } from "../services/model/ModelStore.ts"
import * as SharedModels from "../services/model/SharedModels.ts"
import { AlertFeed } from "../services/observe/AlertFeed.ts"
import { Asks } from "../services/observe/Asks.ts"
import * as DatabaseWatch from "../services/observe/DatabaseWatch.ts"
import { Health } from "../services/observe/Health.ts"
import * as LoopWatch from "../services/observe/LoopWatch.ts"
import { Metrics } from "../services/observe/Metrics.ts"
import { RegionEvents } from "../services/observe/RegionEvents.ts"
import * as RegionWatch from "../services/observe/RegionWatch.ts"
import * as Telemetry from "../services/observe/Telemetry.ts"
import { Cells } from "../services/runtime/Cells.ts"
import * as Cluster from "../services/runtime/Cluster.ts"
import { layerSqlite } from "../services/runtime/Database.ts"
import { LogReach } from "../services/runtime/LogReach.ts"
import { Membership, makeIncarnation } from "../services/runtime/Membership.ts"
import { Ownership } from "../services/runtime/Ownership.ts"
import * as PeerWatch from "../services/runtime/PeerWatch.ts"
import { layerRegion } from "../services/runtime/RegionDatabase.ts"
import { type PostgresSettings, type RunnerConfig, Settings } from "../services/runtime/Settings.ts"
import { type ServedStream, Streams } from "../services/runtime/Streams.ts"
import { OnnxScorer } from "../services/score/OnnxScorer.ts"
import * as Retention from "../services/state/Retention.ts"
import * as SqlActorStore from "../services/state/SqlActorStore.ts"
import * as SqlCheckpoint from "../services/state/SqlCheckpoint.ts"
import { fallbackRules } from "./fallbackRules.ts"
import { makeFolder } from "./folder.ts"

/** Partitions of the topics that the runner itself writes. */
const OUTPUT_PARTITIONS = 1
/** How often streams are looked at for partitions that were added. */
const PARTITIONS_EVERY = "5 seconds"
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

/** A broker that is not there yet is waited for, as the database is; one that refuses who asks is not. */
const awaited = <A>(work: Effect.Effect<A, LogUnavailable>, waitMillis: number) => {
  const away = ({ detail }: LogUnavailable) => !/sasl|authenti|authori|certificate/i.test(detail)
  return Effect.tapError(work, (error) =>
    away(error) ? Effect.logWarning("the event log is waited for", error.detail) : Effect.void
  ).pipe(
    Effect.retry({
      while: away,
      schedule: Schedule.spaced("500 millis").pipe(Schedule.upTo(Duration.millis(waitMillis)))
    })
  )
}

/** Makes the topics that are missing, knows every stream by its plan, and hears of partitions that are added. */
const streamsLayer = (settings: RunnerConfig, definitions: ReadonlyArray<StreamDefinition>) =>
  Layer.scoped(
    Streams,
    Effect.gen(function* () {
      const log = yield* EventLog
      const ensureTopic = (topic: string, wanted: number) =>
        settings.log.kind === "kafka" && settings.log.kafka !== undefined
          ? awaited(log.ensureTopic(topic, wanted), settings.log.kafka.startTimeout)
          : log.ensureTopic(topic, wanted)
      for (const topic of [ALERT_TOPIC, "groundstate.deadletters"])
        yield* ensureTopic(topic, OUTPUT_PARTITIONS)
      const all: Array<{ -readonly [K in keyof ServedStream]: ServedStream[K] }> = []
      for (const definition of definitions) {
        const topic = definition.source.topic
        const partitions = yield* ensureTopic(topic, definition.source.partitions)
        all.push({ definition, plan: planStream(definition), topic, partitions })
      }
      yield* Effect.forEach(
        all,
        (served) =>
          Effect.gen(function* () {
            const partitions = yield* log.partitions(served.topic)
            if (partitions <= served.partitions) return
            yield* Effect.annotateLogs(Effect.logInfo("a stream has more partitions"), {
              stream: served.plan.stream,
              before: served.partitions,
              partitions
            })
            served.partitions = partitions
          }).pipe(Effect.ignore),
        { discard: true }
      ).pipe(Effect.delay(PARTITIONS_EVERY), Effect.forever, Effect.forkScoped)
      return { all, get: (stream: string) => all.find((served) => served.plan.stream === stream) }
    })
  )

/** Database and cluster of a runner in a region: it shares both with the others. */
const regionLayer = (settings: RunnerConfig, postgres: PostgresSettings) => {
  const incarnation = makeIncarnation()
  return RegionWatch.layer.pipe(
    Layer.provideMerge(PeerWatch.layer),
    Layer.provideMerge(
      Cluster.layerRegion({ cluster: settings.cluster, postgres, incarnation, region: settings.region })
    ),
    Layer.provideMerge(RegionEvents.layer),
    Layer.provideMerge(Membership.layer(incarnation)),
    Layer.provideMerge(DatabaseWatch.layer),
    Layer.provideMerge(
      layerRegion({
        postgres,
        applicationName: incarnation,
        connectionsMax: postgres.connectionsMax
      })
    )
  )
}

/** Database and cluster of a runner that is alone. */
const aloneLayer = (settings: RunnerConfig) =>
  Cluster.layerSingle.pipe(
    Layer.provideMerge(Ownership.layerAlone),
    Layer.provideMerge(RegionEvents.layer),
    Layer.provideMerge(
      layerSqlite({
        filename: `${settings.dataDir}/state.db`,
        durability: settings.log.durability,
        busyTimeoutMillis: 5_000
      })
    )
  )

/** Has no other runners, and needs none to be a region. */
const alone = ({ database: { kind, postgres } }: RunnerConfig): boolean =>
  kind !== "postgres" || postgres === undefined

/** What the settings name; both give the same. */
const clusterLayer = (settings: RunnerConfig) => {
  const { kind, postgres } = settings.database
  return kind === "postgres" && postgres !== undefined
    ? regionLayer(settings, postgres)
    : aloneLayer(settings)
}

/** What everything else stands on. */
export const foundation = (settings: RunnerConfig, definitions: ReadonlyArray<StreamDefinition>) => {
  const base = Layer.mergeAll(
    Layer.succeed(Settings, settings),
    Health.layer,
    LogReach.layer,
    Metrics.layer,
    alone(settings) ? AlertFeed.layer : AlertFeed.layerRegion,
    Asks.layer
  )
  return Layer.mergeAll(
    upkeep,
    LoopWatch.layer,
    DeadLetters.layer({ partitions: OUTPUT_PARTITIONS }),
    Cells.layer,
    SqlCheckpoint.layer,
    SqlActorStore.layer,
    Retention.layer,
    Models.layer
  ).pipe(
    Layer.provideMerge(
      Layer.mergeAll(
        OnnxScorer.layer,
        settings.database.kind === "postgres" ? SharedModels.layer : ModelStore.layer
      )
    ),
    Layer.provideMerge(clusterLayer(settings)),
    Layer.provideMerge(streamsLayer(settings, definitions)),
    Layer.provideMerge(LogWatch.layer({ always: settings.log.kind === "kafka" })),
    Layer.provideMerge(logLayer(settings)),
    Layer.provideMerge(Telemetry.layer),
    Layer.provideMerge(base),
    Layer.provide(makeFolder(settings.dataDir))
  )
}

/** Actors, and what wakes them; every entity is registered before the first message can be sent. */
export const actors = (settings: RunnerConfig) =>
  Layer.mergeAll(CellWaker.layer, IncidentSweep.layer, RetentionSweep.layer, MessageReaper.layer).pipe(
    Layer.provideMerge(
      Layer.mergeAll(Cell.layer, Device.layer(settings.device), Region.layer, ModelVersion.layer)
    ),
    Layer.provideMerge(DeviceBatches.layer)
  )

/** A whole runner: it reads, scores, alerts and answers until its scope closes. */
export const runnerLayer = (settings: RunnerConfig, definitions: ReadonlyArray<StreamDefinition>) =>
  RegionWatch.layerHandOver.pipe(
    Layer.provideMerge(Api.layer),
    Layer.provideMerge(HttpServer.layer),
    Layer.provide([LiveFeed.layer, fallbackRules, NodeHttpServer.layerContext]),
    Layer.provideMerge(RegionFeed.layer),
    Layer.provideMerge(AlertTopic.layer),
    Layer.provideMerge(actors(settings)),
    Layer.provideMerge(foundation(settings, definitions))
  )
