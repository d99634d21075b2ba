// Answers producers: events into the log, and one event whose verdict is waited for.
import { randomUUID } from "node:crypto"
import { HttpApiBuilder, HttpServerResponse } from "@effect/platform"
import { Clock, Deferred, Effect, Option } from "effect"
import { GroundstateApi } from "../../schema/api/Api.ts"
import {
  type AcceptedEvents,
  type EventMediaType,
  eventMediaTypes,
  scoreMediaTypes
} from "../../schema/api/EventsApi.ts"
import type { ApiProblem } from "../../schema/error/ApiError.ts"
import { ASK_HEADER } from "../../schema/protocol/CellProtocol.ts"
import type { Verdict } from "../../schema/verdict/Verdict.ts"
import { Settings } from "../runtime/Settings.ts"
import { Streams } from "../runtime/Streams.ts"
import { Actors } from "./Actors.ts"
import { FallbackRules } from "./FallbackRules.ts"
import { type CheckedBatch, Ingestion } from "./Ingestion.ts"
import { servedStream } from "./servedStream.ts"

const eventTypes = Object.keys(eventMediaTypes) as ReadonlyArray<EventMediaType>

/** Room for an envelope around the largest event. */
const ENVELOPE_BYTES_MAX = 64 * 1024

const makeScore = Effect.gen(function* () {
  const actors = yield* Actors
  const ingestion = yield* Ingestion
  const rules = yield* FallbackRules

  const fallback = (batch: CheckedBatch, offset: number | null): Verdict => {
    const { served, records } = batch
    const [record] = records
    const verdict = rules.judge(served.plan.stream, record.value, record.headers)
    return {
      stream: served.plan.stream,
      device: Buffer.from(record.key).toString("utf8"),
      partition: record.partition,
      offset,
      anomalous: verdict.decision === "alert" || verdict.decision === "escalate",
      decision: verdict.decision,
      rule: verdict.rule,
      severity: verdict.severity,
      fallback: true,
      path: "rules",
      model: null,
      energy: null,
      pvalue: null,
      alertId: null,
      contributions: [],
      rejected: null
    }
  }

  /**
   * Appends and asks at once; the cell's verdict within the declared time, else that of the rules. The append
   * goes on after the answer; `release` frees the bytes when it is done.
   */
  return (batch: CheckedBatch, startedAt: number, release: Effect.Effect<void>): Effect.Effect<Verdict> =>
    Effect.gen(function* () {
      const { served, records } = batch
      const [record] = records
      const askId = randomUUID()
      const appended = yield* Deferred.make<number, ApiProblem>()
      const asked = { ...record, headers: { ...record.headers, [ASK_HEADER]: askId } }
      yield* ingestion.append(served, [asked]).pipe(
        Effect.map(([one]) => one.offset),
        Effect.intoDeferred(appended),
        Effect.ensuring(release),
        Effect.forkDaemon
      )
      const spent = (yield* Clock.currentTimeMillis) - startedAt
      const left = Math.max(1, served.definition.score.timeout - spent)
      // A cell that can't answer now, or an event that did not reach the log, gets no verdict: no use in waiting.
      const judged: Effect.Effect<Verdict | null> = actors
        .judge(served.plan.stream, record.partition, askId, left)
        .pipe(Effect.catchAllCause(() => Effect.succeed(null)))
      const refused: Effect.Effect<null> = Effect.matchEffect(Deferred.await(appended), {
        onFailure: () => Effect.succeed(null),
        onSuccess: () => Effect.never
      })
      const verdict = yield* Effect.raceFirst(judged, refused).pipe(
        Effect.timeoutOption(left),
        Effect.map(Option.getOrNull)
      )
      if (verdict !== null) return verdict
      const known = yield* Deferred.poll(appended)
      const offset = Option.isNone(known)
        ? null
        : yield* Effect.match(known.value, { onFailure: () => null, onSuccess: (at) => at })
      return fallback(batch, offset)
    })
})

export const EventsHandlers = HttpApiBuilder.group(GroundstateApi, "events", (handlers) =>
  Effect.gen(function* () {
    const { http, cell } = yield* Settings
    const streams = yield* Streams
    const ingestion = yield* Ingestion
    const score = yield* makeScore
    const appendOptions = {
      types: eventTypes,
      bytesMax: http.bodyBytesMax,
      rowsMax: http.rowsMax,
      single: false
    }
    const scoreOptions = {
      types: scoreMediaTypes,
      bytesMax: Math.min(http.bodyBytesMax, cell.eventBytesMax + ENVELOPE_BYTES_MAX),
      rowsMax: 1,
      single: true
    }
    return handlers
      .handleRaw("append", ({ request, urlParams, headers }) =>
        Effect.gen(function* () {
          const served = yield* servedStream(streams, urlParams.stream ?? headers["groundstate-stream"])
          const accepted = yield* ingestion.events(request, served, appendOptions, headers["idempotency-key"])
          return HttpServerResponse.unsafeJson(accepted satisfies AcceptedEvents, { status: 202 })
        })
      )
      .handleRaw("score", ({ request, urlParams, headers }) =>
        Effect.gen(function* () {
          const startedAt = yield* Clock.currentTimeMillis
          const served = yield* servedStream(streams, urlParams.stream ?? headers["groundstate-stream"])
          const verdict = yield* ingestion.ingest(request, served, scoreOptions, (batch, release) =>
            score(batch, startedAt, release)
          )
          return HttpServerResponse.unsafeJson(verdict)
        })
      )
  })
)
