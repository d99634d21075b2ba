// A whole HTTP surface on a free port, over ports that live in memory: what the tests of inspect/ talk to.
import { tmpdir } from "node:os"
import { join } from "node:path"
import { MessageStorage } from "@effect/cluster"
import { HttpServer } from "@effect/platform"
import { Effect, Layer, Logger, ManagedRuntime } from "effect"
import { planStream } from "../../../src/schema/stream/StreamPlan.ts"
import * as Api from "../../../src/services/inspect/Api.ts"
import { FallbackRules } from "../../../src/services/inspect/FallbackRules.ts"
import * as Server from "../../../src/services/inspect/HttpServer.ts"
import { LiveFeed } from "../../../src/services/inspect/LiveFeed.ts"
import { ModelStore } from "../../../src/services/model/ModelStore.ts"
import { AlertFeed } from "../../../src/services/observe/AlertFeed.ts"
import { Asks } from "../../../src/services/observe/Asks.ts"
import { Health } from "../../../src/services/observe/Health.ts"
import { Metrics } from "../../../src/services/observe/Metrics.ts"
import { Cells } from "../../../src/services/runtime/Cells.ts"
import * as Cluster from "../../../src/services/runtime/Cluster.ts"
import { defaultConfig, type RunnerConfig, Settings } from "../../../src/services/runtime/Settings.ts"
import { Streams } from "../../../src/services/runtime/Streams.ts"
import { actorsOf } from "./actorsOf.ts"
import { clouds, flows } from "./samples.ts"
import { makeWorld, portsOf, type World } from "./world.ts"

export { alertOf } from "./samples.ts"
export { makeWorld } from "./world.ts"

const served = [flows, clouds].map((definition) => ({
  definition,
  plan: planStream(definition),
  topic: definition.source.topic,
  partitions: definition.source.partitions
}))

export interface SurfaceOptions {
  readonly world?: World
  readonly http?: Partial<RunnerConfig["http"]>
  readonly cell?: Partial<RunnerConfig["cell"]>
  readonly access?: Partial<RunnerConfig["access"]>
  /** Given every log line: level, message and annotations. */
  readonly onLog?: (line: Readonly<Record<string, unknown>>) => void
  /** Names of the streams served; both by default. */
  readonly streams?: ReadonlyArray<string>
}

/** Everything running, and the ways in. `stop` closes it as a runner would. */
export const startSurface = async (options: SurfaceOptions = {}) => {
  const world = options.world ?? makeWorld()
  const all = served.filter(({ plan }) => options.streams?.includes(plan.stream) ?? true)
  const settings = {
    ...defaultConfig,
    http: { ...defaultConfig.http, port: 0, ...options.http },
    cell: { ...defaultConfig.cell, ...options.cell },
    access: { ...defaultConfig.access, ...options.access }
  }
  const { onLog } = options
  const logs =
    onLog === undefined
      ? Layer.empty
      : Logger.replace(
          Logger.defaultLogger,
          Logger.make(({ logLevel, message, annotations }) =>
            onLog({ level: logLevel.label, message: String(message), ...Object.fromEntries(annotations) })
          )
        )
  const cluster = Layer.mergeAll(actorsOf(world), Cells.layer).pipe(
    Layer.provideMerge(Cluster.layerAlone(MessageStorage.layerMemory))
  )
  const base = Layer.mergeAll(
    Layer.succeed(Settings, settings),
    Layer.succeed(Streams, { all, get: (name) => all.find(({ plan }) => plan.stream === name) }),
    AlertFeed.layer,
    Asks.layer,
    ModelStore.layerAt(join(tmpdir(), `groundstate-surface-${process.pid}`)),
    Health.layer,
    Metrics.layer,
    portsOf(world),
    Layer.succeed(FallbackRules, {
      judge: (_, event) =>
        /"bytesIn":\s*\d{4,}/.test(Buffer.from(event).toString())
          ? { decision: "alert", rule: "telnet", severity: "high" }
          : { decision: "normal", rule: null, severity: null }
    })
  )
  const layer = Api.layer.pipe(
    Layer.provideMerge(Server.layer),
    Layer.provideMerge(LiveFeed.layer),
    Layer.provideMerge(cluster),
    Layer.provideMerge(base),
    Layer.provideMerge(logs)
  )
  const runtime = ManagedRuntime.make(layer)
  const address = await runtime.runPromise(Effect.map(HttpServer.HttpServer, (server) => server.address))
  const port = address._tag === "TcpAddress" ? address.port : 0
  return {
    world,
    runtime,
    port,
    url: `http://127.0.0.1:${port}`,
    stop: () => runtime.dispose()
  }
}

export type Surface = Awaited<ReturnType<typeof startSurface>>
