// Logs to stderr, and traces and logs to an OTLP collector where one is configured.
import * as OtlpLogger from "@effect/opentelemetry/OtlpLogger"
import * as OtlpSerialization from "@effect/opentelemetry/OtlpSerialization"
import * as OtlpTracer from "@effect/opentelemetry/OtlpTracer"
import { FetchHttpClient, HttpClient } from "@effect/platform"
import { Effect, Layer, Logger, LogLevel, Schema } from "effect"
import { type RunnerConfig, Settings } from "../runtime/Settings.ts"
import { firstLogger, loggers } from "./loggers.ts"
import { Metrics } from "./Metrics.ts"

/** One request to the collector may take this long; then what it carried is given up. */
export const COLLECTOR_TIMEOUT_MILLIS = 3_000
/** Requests to the collector at once, for each signal; more are given up at once. */
export const COLLECTOR_REQUESTS_MAX = 2
/** Spans or log lines in one request; also what is buffered at most between two requests. */
export const COLLECTOR_BATCH_MAX = 1_000

/** The collector took too long, or too many requests wait for it: what the request carried is dropped. */
export class TelemetryDropped extends Schema.TaggedError<TelemetryDropped>()("TelemetryDropped", {
  signal: Schema.Literal("traces", "logs"),
  reason: Schema.Literal("timeout", "busy")
}) {
  override get message() {
    return `The collector did not take ${this.signal} (${this.reason}): they are dropped and counted, nothing waits for them. Check telemetry.otlpEndpoint.`
  }
}

/**
 * A client that can neither pile up nor wait: beyond `COLLECTOR_REQUESTS_MAX` requests at once, and after
 * `COLLECTOR_TIMEOUT_MILLIS`, it dies with `TelemetryDropped`. Dies rather than fails, because the exporter
 * tries failures again, which would keep their spans; a defect makes it stand back for a minute.
 */
export const boundedCollector = (signal: "traces" | "logs", onDropped: (signal: "traces" | "logs") => void) =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.map(HttpClient.HttpClient, (client) => {
      let running = 0
      const drop = (reason: "timeout" | "busy") =>
        Effect.suspend(() => {
          onDropped(signal)
          return Effect.die(new TelemetryDropped({ signal, reason }))
        })
      return HttpClient.transformResponse(client, (response) =>
        Effect.suspend(() => {
          if (running >= COLLECTOR_REQUESTS_MAX) return drop("busy")
          running++
          return response.pipe(
            Effect.timeoutOption(COLLECTOR_TIMEOUT_MILLIS),
            Effect.flatMap((answer) =>
              answer._tag === "None" ? drop("timeout") : Effect.succeed(answer.value)
            ),
            Effect.ensuring(
              Effect.sync(() => {
                running--
              })
            )
          )
        })
      )
    })
  )

const levels = {
  debug: LogLevel.Debug,
  info: LogLevel.Info,
  warning: LogLevel.Warning,
  error: LogLevel.Error
} as const

/** Logs go to stderr in the configured form; stdout belongs to the data that commands print. */
export const loggerLayer = (telemetry: RunnerConfig["telemetry"]): Layer.Layer<never> =>
  Layer.merge(
    Logger.replace(Logger.defaultLogger, loggers[telemetry.logFormat]).pipe(
      Layer.provideMerge(Logger.remove(firstLogger))
    ),
    Logger.minimumLogLevel(levels[telemetry.logLevel])
  )

/** Traces and logs to the collector at `endpoint`; the transport comes from outside. */
export const collectorLayer = (endpoint: string, region: string, runner: string) =>
  Layer.unwrapEffect(
    Effect.map(Metrics, (metrics) => {
      const base = endpoint.replace(/\/+$/, "")
      const resource = {
        serviceName: "groundstate",
        attributes: { "service.instance.id": runner, "cloud.region": region }
      }
      const options = {
        resource,
        maxBatchSize: COLLECTOR_BATCH_MAX,
        shutdownTimeout: COLLECTOR_TIMEOUT_MILLIS
      }
      return Layer.mergeAll(
        OtlpTracer.layer({ ...options, url: `${base}/v1/traces` }).pipe(
          Layer.provide(boundedCollector("traces", metrics.telemetryDropped))
        ),
        OtlpLogger.layer({ ...options, url: `${base}/v1/logs` }).pipe(
          Layer.provide(boundedCollector("logs", metrics.telemetryDropped))
        )
      )
    })
  ).pipe(Layer.provide(OtlpSerialization.layerJson))

/**
 * What `Settings.telemetry` says: the logger always, the collector where an endpoint is set. Without one nobody
 * reads spans, and none are made: a statement, a message and a request each cost several.
 */
export const layer: Layer.Layer<never, never, Settings | Metrics> = Layer.unwrapEffect(
  Effect.map(Settings, ({ telemetry, region, runner }) =>
    telemetry.otlpEndpoint === undefined
      ? Layer.merge(loggerLayer(telemetry), Layer.setTracerEnabled(false))
      : Layer.provideMerge(
          collectorLayer(telemetry.otlpEndpoint, region, runner).pipe(Layer.provide(FetchHttpClient.layer)),
          loggerLayer(telemetry)
        )
  )
)
