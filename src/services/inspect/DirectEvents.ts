// The two endpoints that take events, answered without the router, an effect or a span per request: what producers
// send most must cost least. Takes plain requests alone, of those who may send events; whatever is unusual about a
// request's head goes to the router, and so does whoever is to be denied. Both do the same work with the body
// (`Ingestion`, `judge.ts`).
import type { IncomingMessage, ServerResponse } from "node:http"
import { Effect, Layer } from "effect"
import { ApiProblem, PROBLEM_CONTENT_TYPE } from "../../schema/error/ApiError.ts"
import { Metrics } from "../observe/Metrics.ts"
import { Settings } from "../runtime/Settings.ts"
import { type ServedStream, Streams } from "../runtime/Streams.ts"
import { Access } from "./Access.ts"
import { denialOf } from "./caller.ts"
import { eventOptions } from "./EventsHandlers.ts"
import { answerHeaders } from "./guard.ts"
import { DirectRoutes } from "./HttpServer.ts"
import { Ingestion, type Or } from "./Ingestion.ts"
import { makeJudge } from "./judge.ts"
import { problemText } from "./problems.ts"

const EVENTS = "/v1/events"
const SCORE = "/v1/score"

/** Starts to work on a request and calls `answer` once; its own answer stops what can be stopped. */
type Work = (
  request: IncomingMessage,
  served: ServedStream,
  answer: (outcome: Or<unknown>) => void
) => () => void

const send = (response: ServerResponse, status: number, type: string, text: string, retryAfter?: number) => {
  response.writeHead(status, {
    ...answerHeaders,
    "content-type": type,
    "content-length": Buffer.byteLength(text),
    ...(retryAfter === undefined ? {} : { "retry-after": String(retryAfter) })
  })
  response.end(text)
}

const make = Effect.gen(function* () {
  const settings = yield* Settings
  const streams = yield* Streams
  const ingestion = yield* Ingestion
  const metrics = yield* Metrics
  const judge = yield* makeJudge
  const access = yield* Access
  const clock = yield* Effect.clock
  const options = eventOptions(settings)

  const append: Work = (request, served, answer) =>
    ingestion.take(request, served, options.append, (batch) => {
      if (batch instanceof ApiProblem) answer(batch)
      else ingestion.accept(batch, answer)
    })

  const score: Work = (request, served, answer) => {
    const startedAt = clock.unsafeCurrentTimeMillis()
    let stop = ingestion.take(request, served, options.score, (batch) => {
      if (batch instanceof ApiProblem) answer(batch)
      else stop = judge(batch, startedAt, answer)
    })
    return () => stop()
  }

  const run = (
    template: string,
    work: Work,
    success: number,
    request: IncomingMessage,
    response: ServerResponse,
    served: ServedStream
  ) => {
    const startedAt = performance.now()
    let open = true
    const close = (status: number) => {
      open = false
      metrics.httpRequest(template, "POST", status, (performance.now() - startedAt) / 1_000)
    }
    const stop = work(request, served, (outcome) => {
      if (!open) return
      if (outcome instanceof ApiProblem) {
        close(outcome.status)
        send(
          response,
          outcome.status,
          PROBLEM_CONTENT_TYPE,
          problemText(outcome.at(template)),
          outcome.retryAfter
        )
      } else {
        close(success)
        send(response, success, "application/json", JSON.stringify(outcome))
      }
    })
    response.on("close", () => {
      // Nobody is there any more to read an answer.
      if (!open) return
      close(499)
      stop()
    })
  }

  /** The stream that a plain target names; undefined where the router has to look at it. */
  const streamOf = (url: string, path: string, header: string | undefined): ServedStream | undefined => {
    if (url.length === path.length) {
      return header === undefined
        ? streams.all.length === 1
          ? streams.all[0]
          : undefined
        : streams.get(header)
    }
    return url.startsWith("?stream=", path.length) ? streams.get(url.slice(path.length + 8)) : undefined
  }

  const mayProduce = (request: IncomingMessage): boolean => {
    const outcome = access.known(request)
    return (
      outcome !== undefined &&
      denialOf(outcome, "produce", access.region) === undefined &&
      !access.isForeign(request)
    )
  }

  return (request: IncomingMessage, response: ServerResponse): boolean => {
    const url = request.url as string
    const path = url.startsWith(SCORE) ? SCORE : url.startsWith(EVENTS) ? EVENTS : undefined
    if (path === undefined || request.method !== "POST") return false
    if (request.headers["idempotency-key"] !== undefined) return false
    const named = request.headers["groundstate-stream"] as string | undefined
    if (named !== undefined && url.length > path.length) return false
    const served = streamOf(url, path, named)
    if (served === undefined || !mayProduce(request)) return false
    if (path === SCORE) run(SCORE, score, 200, request, response, served)
    else run(EVENTS, append, 202, request, response, served)
    return true
  }
})

/** Where spans are collected, every request goes through the router, which makes them. */
export const layer = Layer.scopedDiscard(
  Effect.gen(function* () {
    const { telemetry } = yield* Settings
    if (telemetry.otlpEndpoint !== undefined) return
    const routes = yield* DirectRoutes
    yield* routes.open(yield* make)
  })
)
