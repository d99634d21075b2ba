// Answers supervisors: alive, ready, and what is counted. Whoever may not read learns only whether.
import { HttpApiBuilder, HttpServerResponse } from "@effect/platform"
import { Effect } from "effect"
import { GroundstateApi } from "../../schema/api/Api.ts"
import { Health } from "../observe/Health.ts"
import { Metrics } from "../observe/Metrics.ts"
import { AskedBy, mayDo } from "./caller.ts"

export const ProbesHandlers = HttpApiBuilder.group(GroundstateApi, "probes", (handlers) =>
  Effect.gen(function* () {
    const health = yield* Health
    const metrics = yield* Metrics
    return handlers
      .handleRaw("livez", () =>
        Effect.map(AskedBy, (caller) => {
          const report = health.liveness()
          const told = mayDo(caller, "read") ? report : { ...report, stuck: [] }
          return HttpServerResponse.unsafeJson(told, { status: report.live ? 200 : 503 })
        })
      )
      .handleRaw("readyz", () =>
        Effect.map(AskedBy, (caller) => {
          const report = health.readiness()
          const told = mayDo(caller, "read") ? report : { ...report, components: [] }
          return HttpServerResponse.unsafeJson(told, { status: report.ready ? 200 : 503 })
        })
      )
      .handleRaw("metrics", () =>
        Effect.map(metrics.exposition, (text) =>
          HttpServerResponse.text(text, { contentType: metrics.contentType })
        )
      )
  })
)
