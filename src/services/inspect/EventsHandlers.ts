// Answers producers: events into the log, and one event whose verdict is waited for. Plain requests are answered
// by `DirectEvents` before they come here.
import { HttpApiBuilder, HttpServerResponse } from "@effect/platform"
import { NodeHttpServerRequest } from "@effect/platform-node"
import { Clock, Effect, Fiber } from "effect"
import { GroundstateApi } from "../../schema/api/Api.ts"
import {
  type AcceptedEvents,
  type EventMediaType,
  eventMediaTypes,
  scoreMediaTypes
} from "../../schema/api/EventsApi.ts"
import { ApiProblem } from "../../schema/error/ApiError.ts"
import type { Verdict } from "../../schema/verdict/Verdict.ts"
import { type RunnerConfig, Settings } from "../runtime/Settings.ts"
import { Streams } from "../runtime/Streams.ts"
import { type CheckedBatch, effectOf, Ingestion, type IngestOptions } from "./Ingestion.ts"
import { makeJudge } from "./judge.ts"
import { servedStream } from "./servedStream.ts"

const eventTypes = Object.keys(eventMediaTypes) as ReadonlyArray<EventMediaType>

/** Room for an envelope around the largest event. */
const ENVELOPE_BYTES_MAX = 64 * 1024

/** What may be asked of the bodies of both endpoints. */
export const eventOptions = ({
  http,
  cell
}: RunnerConfig): { readonly append: IngestOptions; readonly score: IngestOptions } => ({
  append: { types: eventTypes, bytesMax: http.bodyBytesMax, rowsMax: http.rowsMax, single: false },
  score: {
    types: scoreMediaTypes,
    bytesMax: Math.min(http.bodyBytesMax, cell.eventBytesMax + ENVELOPE_BYTES_MAX),
    rowsMax: 1,
    single: true
  }
})

export const EventsHandlers = HttpApiBuilder.group(GroundstateApi, "events", (handlers) =>
  Effect.gen(function* () {
    const options = eventOptions(yield* Settings)
    const streams = yield* Streams
    const ingestion = yield* Ingestion
    const judge = yield* makeJudge
    return handlers
      .handleRaw("append", ({ request, urlParams, headers }) =>
        Effect.gen(function* () {
          const served = yield* servedStream(streams, urlParams.stream ?? headers["groundstate-stream"])
          const source = NodeHttpServerRequest.toIncomingMessage(request)
          const batch = yield* effectOf<CheckedBatch>((done) =>
            ingestion.take(source, served, options.append, done)
          )
          const key = headers["idempotency-key"]
          // In a fiber of its own: a caller who hangs up does not cut what others may wait for.
          const accepting = yield* Effect.forkDaemon(
            key === undefined
              ? effectOf<AcceptedEvents>((done) => void ingestion.accept(batch, done))
              : ingestion.acceptOnce(key, batch)
          )
          const accepted = yield* Fiber.join(accepting)
          return HttpServerResponse.unsafeJson(accepted, { status: 202 })
        })
      )
      .handleRaw("score", ({ request, urlParams, headers }) =>
        Effect.gen(function* () {
          const startedAt = yield* Clock.currentTimeMillis
          const served = yield* servedStream(streams, urlParams.stream ?? headers["groundstate-stream"])
          const source = NodeHttpServerRequest.toIncomingMessage(request)
          const verdict = yield* effectOf<Verdict>((done) => {
            let stop = ingestion.take(source, served, options.score, (batch) => {
              if (batch instanceof ApiProblem) done(batch)
              else stop = judge(batch, startedAt, done)
            })
            return () => stop()
          })
          return HttpServerResponse.unsafeJson(verdict)
        })
      )
  })
)
