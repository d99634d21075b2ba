// Where `produce` sends events: a runner's HTTP API, or a Kafka topic. Both tell refused rows apart from lost ones.
import { randomUUID } from "node:crypto"
import { Duration, Effect, Layer, type Scope } from "effect"
import { type CliError, ServiceUnavailable } from "../../schema/error/CliError.ts"
import { EventLog } from "../ingest/EventLog.ts"
import type { KafkaLogOptions } from "../ingest/KafkaLog.ts"
import type { Api } from "./ApiClient.ts"
import type { EventRow } from "./EventFile.ts"
import { keyOf } from "./eventRow.ts"

export interface RefusedRow {
  readonly row: number
  readonly detail: string
}

export interface Sent {
  readonly accepted: number
  readonly refused: ReadonlyArray<RefusedRow>
}

/** Sends one batch; completes when every row is durable or refused. */
export interface EventSink {
  readonly target: string
  readonly send: (rows: ReadonlyArray<EventRow>) => Effect.Effect<Sent, CliError>
}

/** How long a full or absent server is waited for before `produce` gives up. */
const PATIENCE_MILLIS = 30_000
const RETRY_MILLIS = 500

/** `POST /v1/events`: a batch is all or nothing, so refused rows are taken out and the rest is sent again. */
export const httpSink = (api: Api, stream: string | undefined): EventSink => {
  const path = stream === undefined ? "/v1/events" : `/v1/events?stream=${encodeURIComponent(stream)}`
  const post = (rows: ReadonlyArray<EventRow>) =>
    Effect.suspend(() => {
      const headers = { "idempotency-key": randomUUID() }
      const body = rows.map((row) => row.json).join("\n")
      const attempt = (waited: number): Effect.Effect<unknown, CliError> =>
        Effect.catchAll(api.post(path, body, { headers, contentType: "application/x-ndjson" }), (error) => {
          const busy =
            error._tag === "ServerUnavailable" || (error._tag === "ServerRefused" && error.status === 429)
          if (!busy || waited >= PATIENCE_MILLIS) return Effect.fail(error)
          const asked =
            error._tag === "ServerRefused" && error.retryAfter !== null
              ? error.retryAfter * 1_000
              : RETRY_MILLIS
          const pause = Math.max(RETRY_MILLIS, Math.min(asked, 10_000))
          return Effect.zipRight(Effect.sleep(Duration.millis(pause)), attempt(waited + pause))
        })
      // A server that was never there should say so at once; only an accepted start earns patience.
      return attempt(started ? 0 : PATIENCE_MILLIS)
    })
  let started = false
  const send = (
    rows: ReadonlyArray<EventRow>,
    refused: ReadonlyArray<RefusedRow>
  ): Effect.Effect<Sent, CliError> =>
    rows.length === 0
      ? Effect.succeed({ accepted: 0, refused })
      : post(rows).pipe(
          Effect.map((): Sent => {
            started = true
            return { accepted: rows.length, refused }
          }),
          Effect.catchIf(
            (error) =>
              error._tag === "ServerRefused" &&
              error.status === 422 &&
              error.entries.some((entry) => entry.row !== null && entry.row < rows.length),
            (error) => {
              const wrong = new Map<number, string>()
              for (const { row, detail } of (
                error as { entries: ReadonlyArray<{ row: number | null; detail: string }> }
              ).entries) {
                if (row !== null && row < rows.length && !wrong.has(row)) wrong.set(row, detail)
              }
              started = true
              return send(
                rows.filter((_, at) => !wrong.has(at)),
                [...refused, ...Array.from(wrong, ([at, detail]) => ({ row: rows[at].row, detail }))]
              )
            }
          )
        )
  return {
    target: `${api.server}${stream === undefined ? "" : `, stream ${stream}`}`,
    send: (rows) => send(rows, [])
  }
}

/** A Kafka topic; `keyPath` names the field whose text keys the record, and so chooses its partition. */
export const kafkaSink = (options: {
  readonly kafka: KafkaLogOptions
  readonly topic: string
  readonly keyPath: string | undefined
}): Effect.Effect<EventSink, CliError, Scope.Scope> =>
  Effect.gen(function* () {
    const { KafkaLog } = yield* Effect.promise(() => import("../ingest/KafkaLog.ts"))
    const layer = KafkaLog.layer({ ...options.kafka, clientId: "groundstate-produce" })
    const scope = yield* Effect.scope
    const context = yield* Layer.buildWithScope(layer, scope)
    const log = yield* Effect.provide(EventLog, context)
    const where = `${options.kafka.brokers.join(",")}, topic ${options.topic}`
    const unavailable = (error: { readonly detail: string }) =>
      new ServiceUnavailable({
        problem: `Kafka at ${where} did not take events: ${error.detail}.`,
        next: "Check brokers, credentials and topic, and that the broker is up; rows that were counted as sent are in the topic."
      })
    yield* Effect.mapError(log.partitions(options.topic), unavailable)
    const encoder = new TextEncoder()
    return {
      target: where,
      send: (rows) =>
        Effect.suspend(() => {
          const refused: Array<RefusedRow> = []
          const records = rows.flatMap((row) => {
            const json = row.json as string
            const key = options.keyPath === undefined ? undefined : keyOf(json, options.keyPath)
            if (options.keyPath !== undefined && key === undefined) {
              refused.push({
                row: row.row,
                detail: `it has no text or number at ${options.keyPath}, or is no JSON`
              })
              return []
            }
            return [{ key: key === undefined ? null : encoder.encode(key), value: encoder.encode(json) }]
          })
          if (records.length === 0) return Effect.succeed({ accepted: 0, refused })
          return Effect.mapBoth(log.append(options.topic, records), {
            onSuccess: (appended) => ({ accepted: appended.length, refused }),
            onFailure: unavailable
          })
        })
    }
  })
