// Contract of what a supervisor asks: is it alive, is it ready, what does it count.
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { Needs } from "./Access.ts"

/** Cells that have work and have not moved for too long; empty while all is well. */
export const LivenessReport = Schema.Struct({
  live: Schema.Boolean,
  stuck: Schema.Array(
    Schema.Struct({ cell: Schema.String, lag: Schema.NonNegativeInt, secondsWithoutProgress: Schema.Number })
  )
}).annotations({ identifier: "LivenessReport" })
export type LivenessReport = typeof LivenessReport.Type

/** Every part with what keeps it from being ready. */
export const ReadinessReport = Schema.Struct({
  ready: Schema.Boolean,
  components: Schema.Array(
    Schema.Struct({
      component: Schema.String,
      ready: Schema.Boolean,
      /** Whether the runner takes traffic without it. */
      required: Schema.Boolean,
      reason: Schema.NullOr(Schema.String)
    })
  )
}).annotations({ identifier: "ReadinessReport" })
export type ReadinessReport = typeof ReadinessReport.Type

export const ProbesApi = HttpApiGroup.make("probes", { topLevel: true })
  .add(
    HttpApiEndpoint.get("livez", "/livez")
      .addSuccess(LivenessReport)
      .addSuccess(LivenessReport, { status: 503 })
      .annotate(Needs, "nothing")
      .annotate(OpenApi.Summary, "Progress: 503 when work waits and nothing has moved for 60 s")
  )
  .add(
    HttpApiEndpoint.get("readyz", "/readyz")
      .addSuccess(ReadinessReport)
      .addSuccess(ReadinessReport, { status: 503 })
      .annotate(Needs, "nothing")
      .annotate(OpenApi.Summary, "Readiness of every part; 503 when a required one is not ready")
  )
  .add(
    HttpApiEndpoint.get("metrics", "/metrics")
      .addSuccess(HttpApiSchema.Text({ contentType: "text/plain" }))
      .annotate(OpenApi.Summary, "Metrics in the Prometheus text format")
  )
  .annotate(OpenApi.Title, "Probes")
