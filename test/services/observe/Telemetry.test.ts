// A collector that is away or never answers costs neither memory nor time, and what is lost is counted.
import { HttpClient, HttpClientError, HttpClientResponse } from "@effect/platform"
import { it } from "@effect/vitest"
import { Effect, Layer, TestClock } from "effect"
import { describe, expect } from "vitest"
import { Metrics } from "../../../src/services/observe/Metrics.ts"
import {
  COLLECTOR_BATCH_MAX,
  COLLECTOR_REQUESTS_MAX,
  collectorLayer
} from "../../../src/services/observe/Telemetry.ts"

const MINUTES = 30
const SPANS_PER_SECOND = 20

/** A collector that counts, and answers as told. */
const collector = (answer: "never" | "refused" | "well") => {
  const seen = { open: 0, openMax: 0, requests: 0, itemsMax: 0, urls: new Set<string>() }
  const layer = Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request) =>
      Effect.gen(function* () {
        seen.requests++
        seen.urls.add(request.url)
        seen.openMax = Math.max(seen.openMax, ++seen.open)
        const body = request.body._tag === "Uint8Array" ? Buffer.from(request.body.body).toString() : ""
        seen.itemsMax = Math.max(seen.itemsMax, body.split('"traceId"').length - 1)
        if (answer === "never") return yield* Effect.never
        if (answer === "refused") {
          return yield* new HttpClientError.RequestError({ request, reason: "Transport", cause: "refused" })
        }
        return HttpClientResponse.fromWeb(request, new Response("{}", { status: 200 }))
      }).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            seen.open--
          })
        )
      )
    )
  )
  return { seen, layer }
}

const work = (seconds: number) =>
  Effect.gen(function* () {
    for (let second = 0; second < seconds; second++) {
      for (let n = 0; n < SPANS_PER_SECOND; n++) yield* Effect.withSpan(Effect.void, "work")
      yield* Effect.logInfo("worked")
      yield* TestClock.adjust("1 second")
    }
  })

const dropped = (text: string): number =>
  [...text.matchAll(/^groundstate_telemetry_dropped_total\{.*\} (\d+)$/gm)].reduce(
    (sum, [, n]) => sum + Number(n),
    0
  )

const telemetryOf = (transport: Layer.Layer<HttpClient.HttpClient>) =>
  collectorLayer("http://collector:4318/", "eu", "runner-1").pipe(
    Layer.provide(transport),
    Layer.provideMerge(Metrics.layer)
  )

describe("a collector", () => {
  it.scoped(
    "that never answers has few requests open, each bounded, for half an hour",
    () => {
      const { seen, layer } = collector("never")
      return Effect.gen(function* () {
        yield* work(MINUTES * 60)
        expect(seen.openMax).toBeLessThanOrEqual(2 * COLLECTOR_REQUESTS_MAX)
        expect(seen.itemsMax).toBeLessThanOrEqual(COLLECTOR_BATCH_MAX)
        // It is left alone for a minute after each failure, so requests do not follow the load.
        expect(seen.requests).toBeLessThanOrEqual(4 * MINUTES)
        expect(dropped(yield* (yield* Metrics).exposition)).toBeGreaterThanOrEqual(MINUTES)
      }).pipe(Effect.provide(telemetryOf(layer)))
    },
    60_000
  )

  it.scoped("that refuses is asked a few times, then left alone for a minute", () => {
    const { seen, layer } = collector("refused")
    return Effect.gen(function* () {
      yield* work(120)
      expect(seen.open).toBe(0)
      expect(seen.requests).toBeLessThanOrEqual(24)
    }).pipe(Effect.provide(telemetryOf(layer)))
  })

  it.scoped("that answers gets traces and logs", () => {
    const { seen, layer } = collector("well")
    return Effect.gen(function* () {
      yield* work(20)
      expect([...seen.urls].sort()).toEqual([
        "http://collector:4318/v1/logs",
        "http://collector:4318/v1/traces"
      ])
      expect(seen.open).toBe(0)
      expect(dropped(yield* (yield* Metrics).exposition)).toBe(0)
    }).pipe(Effect.provide(telemetryOf(layer)))
  })
})
