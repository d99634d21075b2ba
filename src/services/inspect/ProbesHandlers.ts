// Answers supervisors: alive, ready, and what is counted.
import { HttpApiBuilder, HttpServerResponse } from "@effect/platform"
import { Effect } from "effect"
import { GroundstateApi } from "../../schema/api/Api.ts"
import { Health } from "../observe/Health.ts"
import { Metrics } from "../observe/Metrics.ts"

export const ProbesHandlers = HttpApiBuilder.group(GroundstateApi, "probes", (handlers) =>
  Effect.gen(function* () {
    const health = yield* Health
    const metrics = yield* Metrics
    return handlers
      .handleRaw("livez", () =>
        Effect.sync(() => {
          const report = health.liveness()
          return HttpServerResponse.unsafeJson(report, { status: report.live ? 200 : 503 })
        })
      )
      .handleRaw("readyz", () =>
        Effect.sync(() => {
          const report = health.readiness()
          return HttpServerResponse.unsafeJson(report, { status: report.ready ? 200 : 503 })
        })
      )
      .handleRaw("metrics", () =>
        Effect.map(metrics.exposition, (text) =>
          HttpServerResponse.text(text, { contentType: metrics.contentType })
        )
      )
  })
)
