// From a request's body to records in the log: checked as a whole, appended as a whole, bounded in bytes held.
import { createHash } from "node:crypto"
import type { HttpServerRequest } from "@effect/platform"
import { Clock, Context, Effect, Fiber, Layer } from "effect"
import type { AcceptedEvents, EventMediaType } from "../../schema/api/EventsApi.ts"
import { ApiProblem, PROBLEM_ENTRIES_MAX } from "../../schema/error/ApiError.ts"
import { type Appended, EventLog, type NewRecord } from "../ingest/EventLog.ts"
import { partitionOf } from "../ingest/partition.ts"
import { Settings } from "../runtime/Settings.ts"
import { type ServedStream, Streams } from "../runtime/Streams.ts"
import { type Answers, makeAnswers } from "./Answers.ts"
import { binaryHeaders } from "./cloudEventRows.ts"
import { eventRows, type RequestRows } from "./eventRows.ts"
import { problemOfError } from "./problems.ts"
import { readBody, requireMediaType, tooManyRows } from "./requestBody.ts"
import { makeRowCheck, type RowCheck, type RowFault } from "./rowCheck.ts"

/** The log must have taken a batch within this time; later the answer is 503 and the outcome unknown. */
export const APPEND_TIMEOUT_MILLIS = 15_000

/** What may be asked of a body. */
export interface IngestOptions {
  readonly types: ReadonlyArray<EventMediaType>
  readonly bytesMax: number
  readonly rowsMax: number
  /** One event alone: an array is refused. */
  readonly single: boolean
}

/** A checked body: records ready to append, all of one stream, and a print of what was sent. */
export interface CheckedBatch {
  readonly served: ServedStream
  readonly records: ReadonlyArray<
    NewRecord & { readonly key: Uint8Array; readonly value: Uint8Array; readonly partition: number }
  >
  readonly fingerprint: string
}

const faultsProblem = (stream: string, rows: number, faults: ReadonlyArray<RowFault>) =>
  ApiProblem.of(
    "invalid-content",
    `${faults.length} of ${rows} events break the form that stream ${stream} declares; nothing was appended. ` +
      `\`errors\` names ${faults.length > PROBLEM_ENTRIES_MAX ? `the first ${PROBLEM_ENTRIES_MAX}` : "them"}; rows count from 0.`,
    {
      errors: faults.slice(0, PROBLEM_ENTRIES_MAX).map(({ row, reason, field, detail }) => ({
        row,
        ...(field === undefined ? {} : { field }),
        reason,
        detail
      }))
    }
  )

const splitProblem = (rows: Exclude<RequestRows, { readonly _tag: "Rows" }>, rowsMax: number): ApiProblem => {
  switch (rows._tag) {
    case "TooManyRows":
      return tooManyRows(rowsMax)
    case "TooDeep":
      return ApiProblem.of("malformed-request", "The body nests too deep to be read; nothing was appended.")
    case "Empty":
      return ApiProblem.of(
        "malformed-request",
        "The body is empty; nothing was appended. Send an event or an array of events."
      )
    case "NotJson":
      return ApiProblem.of(
        "malformed-request",
        `The body is not the JSON that its content type promises, from byte ${rows.position} on; nothing was appended.`
      )
  }
}

/** Counts, first and last offset of each partition, in order of the partitions. */
const byPartition = (appended: ReadonlyArray<Appended>): AcceptedEvents["partitions"] => {
  const seen = new Map<
    number,
    { partition: number; count: number; firstOffset: number; lastOffset: number }
  >()
  for (const { partition, offset } of appended) {
    const known = seen.get(partition)
    if (known === undefined)
      seen.set(partition, { partition, count: 1, firstOffset: offset, lastOffset: offset })
    else {
      known.count++
      known.firstOffset = Math.min(known.firstOffset, offset)
      known.lastOffset = Math.max(known.lastOffset, offset)
    }
  }
  return [...seen.values()].sort((a, b) => a.partition - b.partition)
}

const make = Effect.gen(function* () {
  const log = yield* EventLog
  const streams = yield* Streams
  const { http, cell } = yield* Settings
  const limits = { eventBytesMax: cell.eventBytesMax, depthMax: cell.depthMax }
  const checks = new Map<string, RowCheck>(
    streams.all.map(({ plan }) => [plan.stream, makeRowCheck(plan, limits)] as const)
  )
  const answers: Answers<AcceptedEvents> = makeAnswers()
  let pending = 0

  /** Holds a request's bytes against `pendingBytesMax` until released; releasing twice is harmless. */
  const openHold = () => {
    let held = 0
    return {
      add: (bytes: number): boolean => {
        if (pending + bytes > http.pendingBytesMax) return false
        pending += bytes
        held += bytes
        return true
      },
      release: Effect.sync(() => {
        pending -= held
        held = 0
      })
    }
  }

  const checkBody = (
    request: HttpServerRequest.HttpServerRequest,
    served: ServedStream,
    type: EventMediaType,
    body: Uint8Array,
    options: IngestOptions
  ): Effect.Effect<CheckedBatch, ApiProblem> =>
    Effect.gen(function* () {
      const { plan, partitions } = served
      const headers = type === "application/json" ? binaryHeaders(request.headers) : undefined
      const rows = eventRows(plan.format, type, headers, body, options)
      if (rows._tag !== "Rows") return yield* splitProblem(rows, options.rowsMax).raise
      const now = yield* Clock.currentTimeMillis
      const checked = (checks.get(plan.stream) as RowCheck).check(rows.rows, now)
      const faults = [...rows.faults, ...checked.faults.filter(({ row }) => !rows.faulty.has(row))]
      if (faults.length > 0) {
        faults.sort((a, b) => a.row - b.row)
        return yield* faultsProblem(plan.stream, rows.rows.length, faults).raise
      }
      const records = rows.rows.map((row, r) => {
        const key = checked.devices[r] as Uint8Array
        return {
          key,
          value: row.bytes.subarray(row.start, row.end),
          partition: partitionOf(key, partitions),
          ...(row.headers === undefined ? {} : { headers: row.headers })
        }
      })
      const print = createHash("sha256").update(`${plan.stream}\0${type}\0${JSON.stringify(headers ?? {})}\0`)
      return { served, records, fingerprint: print.update(body).digest("base64") }
    })

  /** Appends, bounded in time. Fails with 503: what was not acknowledged may or may not be in the log. */
  const append = (served: ServedStream, records: ReadonlyArray<NewRecord>) =>
    log.append(served.topic, records).pipe(
      Effect.mapError((error) => problemOfError(error) as ApiProblem),
      Effect.timeoutFail({
        duration: APPEND_TIMEOUT_MILLIS,
        onTimeout: () =>
          ApiProblem.of(
            "unavailable",
            `The event log did not answer within ${APPEND_TIMEOUT_MILLIS / 1_000} s: it is not known whether it holds the events. Send them again with the same event ids; repeats are taken once.`,
            { retryAfter: 2 }
          )
      })
    )

  /**
   * Reads and checks a body, then does `work` with it in a fiber of its own, so that a caller who hangs up
   * neither cuts an append in half nor frees bytes that the log still has to take. `work` calls `release` when
   * the log has taken them; a failure of `work` releases them too.
   */
  const ingest = <A>(
    request: HttpServerRequest.HttpServerRequest,
    served: ServedStream,
    options: IngestOptions,
    work: (batch: CheckedBatch, release: Effect.Effect<void>) => Effect.Effect<A, ApiProblem>
  ): Effect.Effect<A, ApiProblem> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const hold = openHold()
        const received = Effect.gen(function* () {
          const type = yield* requireMediaType(request, options.types)
          const lines = type === "application/x-ndjson"
          const { bytesMax, rowsMax } = options
          const body = yield* readBody(request, { bytesMax, rowsMax, lines, hold: hold.add })
          return yield* checkBody(request, served, type, body, options)
        })
        const batch = yield* restore(received).pipe(Effect.onError(() => hold.release))
        const working = Effect.onError(Effect.interruptible(work(batch, hold.release)), () => hold.release)
        const fiber = yield* Effect.forkDaemon(working)
        return yield* restore(Fiber.join(fiber))
      })
    )

  const accept = (batch: CheckedBatch): Effect.Effect<AcceptedEvents, ApiProblem> =>
    batch.records.length === 0
      ? Effect.succeed({ stream: batch.served.plan.stream, accepted: 0, partitions: [] })
      : Effect.map(append(batch.served, batch.records), (appended) => ({
          stream: batch.served.plan.stream,
          accepted: appended.length,
          partitions: byPartition(appended)
        }))

  return {
    append,
    ingest,
    /** Appends a whole body; with a key, once per key. */
    events: (
      request: HttpServerRequest.HttpServerRequest,
      served: ServedStream,
      options: IngestOptions,
      key: string | undefined
    ): Effect.Effect<AcceptedEvents, ApiProblem> =>
      ingest(request, served, options, (batch, release) =>
        Effect.ensuring(
          key === undefined
            ? accept(batch)
            : answers.once(`${served.plan.stream}\0${key}`, batch.fingerprint, accept(batch)),
          release
        )
      ),
    /** Bytes of requests that are held now. */
    pendingBytes: () => pending,
    /** Why bytes would not decode under the stream's present definition, or undefined where they would. */
    explain: (stream: string, value: Uint8Array, recordTime: number): RowFault | undefined =>
      checks
        .get(stream)
        ?.check([{ bytes: value, start: 0, end: value.length, headers: undefined }], recordTime).faults[0]
  }
})

/** Takes events in: the only way from HTTP to the log. */
export class Ingestion extends Context.Tag("groundstate/services/inspect/Ingestion")<
  Ingestion,
  Effect.Effect.Success<typeof make>
>() {
  static readonly layer = Layer.effect(Ingestion, make)
}
