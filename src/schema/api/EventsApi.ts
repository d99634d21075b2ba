// Contract of what producers send: events into the log, and one event whose verdict is waited for.
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { problemOf } from "../error/ApiError.ts"
import { Verdict } from "../verdict/Verdict.ts"
import { Needs } from "./Access.ts"
import { StreamParam } from "./paging.ts"

/** What the log holds now: `accepted` events, and the offsets that they have in each partition. */
export const AcceptedEvents = Schema.Struct({
  stream: Schema.String,
  accepted: Schema.NonNegativeInt,
  partitions: Schema.Array(
    Schema.Struct({
      partition: Schema.NonNegativeInt,
      count: Schema.NonNegativeInt,
      firstOffset: Schema.NonNegativeInt,
      lastOffset: Schema.NonNegativeInt
    })
  )
}).annotations({ identifier: "AcceptedEvents" })
export type AcceptedEvents = typeof AcceptedEvents.Type

/** Bodies that `POST /v1/events` takes, with what each holds. */
export const eventMediaTypes = {
  "application/json": "one event (an object), or an array of events",
  "application/x-ndjson": "one event per line",
  "application/cloudevents+json": "one CloudEvent, structured mode",
  "application/cloudevents-batch+json": "an array of CloudEvents"
} as const
export type EventMediaType = keyof typeof eventMediaTypes

/** Bodies that `POST /v1/score` takes; CloudEvents in binary mode are `application/json` with `ce-` headers. */
export const scoreMediaTypes: ReadonlyArray<EventMediaType> = [
  "application/json",
  "application/cloudevents+json"
]

const requestBody = (types: ReadonlyArray<EventMediaType>) => ({
  required: true,
  content: Object.fromEntries(
    types.map((type) => [
      type,
      {
        schema:
          type === "application/x-ndjson"
            ? { type: "string", description: eventMediaTypes[type] }
            : type === "application/cloudevents-batch+json"
              ? { type: "array", items: { type: "object" }, description: eventMediaTypes[type] }
              : { type: ["object", "array"], description: eventMediaTypes[type] }
      }
    ])
  )
})

const Headers = Schema.Struct({
  "groundstate-stream": StreamParam,
  "idempotency-key": Schema.optional(
    Schema.NonEmptyString.pipe(Schema.maxLength(128)).annotations({
      description:
        "the same key with the same body within 10 minutes has the same answer and appends nothing; kept in " +
        "the memory of one runner, so after a restart the events' own ids tell repeats apart"
    })
  )
})

export const EventsApi = HttpApiGroup.make("events")
  .add(
    HttpApiEndpoint.post("append", "/events")
      .setUrlParams(Schema.Struct({ stream: StreamParam }))
      .setHeaders(Headers)
      .addSuccess(AcceptedEvents.annotations(HttpApiSchema.annotations({ status: 202 })))
      .addError(problemOf(413, "the body or its number of events is over the limit"))
      .addError(problemOf(415, "the content type or encoding is not taken"))
      .addError(
        problemOf(
          422,
          "events break the stream's schema (each named by row and field), or the key was used before"
        )
      )
      .addError(problemOf(429, "more bytes wait for the log than are allowed; ask again after `Retry-After`"))
      .annotate(Needs, "produce")
      .annotate(OpenApi.Summary, "Append events")
      .annotate(
        OpenApi.Description,
        "All or nothing: 202 only after the log holds every event; where one event is wrong, none is appended. " +
          "`Content-Encoding: gzip` is taken; the limit counts the unpacked bytes. CloudEvents in binary mode " +
          "carry their attributes in `ce-` headers."
      )
      .annotate(OpenApi.Override, {
        requestBody: requestBody(Object.keys(eventMediaTypes) as ReadonlyArray<EventMediaType>)
      })
  )
  .add(
    HttpApiEndpoint.post("score", "/score")
      .setUrlParams(Schema.Struct({ stream: StreamParam }))
      .setHeaders(Schema.Struct({ "groundstate-stream": StreamParam }))
      .addSuccess(Verdict.annotations({ identifier: "Verdict" }))
      .addError(problemOf(413, "the body is over the limit"))
      .addError(problemOf(415, "the content type or encoding is not taken"))
      .addError(problemOf(422, "the event breaks the stream's schema"))
      .addError(problemOf(429, "more bytes wait for the log than are allowed; ask again after `Retry-After`"))
      .annotate(Needs, "produce")
      .annotate(OpenApi.Summary, "Append one event and wait for its verdict")
      .annotate(
        OpenApi.Description,
        "Waits at most the stream's `score.timeout`; then the rules alone answer, marked `fallback: true`, and " +
          "the event is still scored when it can be."
      )
      .annotate(OpenApi.Override, { requestBody: requestBody(scoreMediaTypes) })
  )
  .annotate(OpenApi.Title, "Events")
  .annotate(OpenApi.Description, "What producers send.")
