// From a request's body to records in the log: checked as a whole, appended as a whole, bounded in bytes held.
import { createHash } from "node:crypto"
import type { IncomingMessage } from "node:http"
import { Cause, Context, Effect, Exit, Layer, Runtime } from "effect"
import type { AcceptedEvents, EventMediaType } from "../../schema/api/EventsApi.ts"
import { ApiProblem, PROBLEM_ENTRIES_MAX } from "../../schema/error/ApiError.ts"
import { type Appended, EventLog, type NewRecord } from "../ingest/EventLog.ts"
import { partitionOf } from "../ingest/partition.ts"
import { Settings } from "../runtime/Settings.ts"
import { type ServedStream, Streams } from "../runtime/Streams.ts"
import { type Answers, makeAnswers } from "./Answers.ts"
import { binaryHeaders } from "./cloudEventRows.ts"
import { makeDeadlines } from "./deadlines.ts"
import { eventRows, type RequestRows } from "./eventRows.ts"
import { problemOfCause } from "./problems.ts"
import { mediaTypeIn, receiveBody, tooManyRows } from "./requestBody.ts"
import { makeRowCheck, type RowCheck, type RowFault } from "./rowCheck.ts"

/** The log must have taken a batch within this time; later the answer is 503 and the outcome unknown. */
export const APPEND_TIMEOUT_MILLIS = 15_000
/** By how much it may be more. */
const APPEND_TICK_MILLIS = 500

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
  readonly fingerprint: () => string
  /** The request's bytes are no longer held; calling it twice is harmless. */
  readonly release: () => void
}

/** What a step of a request came to. */
export type Or<A> = A | ApiProblem

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

const appendedLate = () =>
  ApiProblem.of(
    "unavailable",
    `The event log did not answer within ${APPEND_TIMEOUT_MILLIS / 1_000} s: it is not known whether it holds the events. Send them again with the same event ids; repeats are taken once.`,
    { retryAfter: 2 }
  )

/** A step that tells by a callback, as an effect; what it has begun goes on when nobody waits for it any more. */
export const effectOf = <A>(step: (done: (outcome: Or<A>) => void) => (() => void) | undefined) =>
  Effect.async<A, ApiProblem>((resume) => {
    const stop = step((outcome) =>
      resume(outcome instanceof ApiProblem ? Effect.fail(outcome) : Effect.succeed(outcome))
    )
    return stop === undefined ? undefined : Effect.sync(stop)
  })

const make = Effect.gen(function* () {
  const log = yield* EventLog
  const streams = yield* Streams
  const { http, cell } = yield* Settings
  const clock = yield* Effect.clock
  const deadlines = yield* makeDeadlines(APPEND_TICK_MILLIS)
  const runFork = Runtime.runFork(yield* Effect.runtime<never>())
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
      release: () => {
        pending -= held
        held = 0
      }
    }
  }

  const checkBody = (
    attributes: Readonly<Record<string, string | undefined>>,
    served: ServedStream,
    type: EventMediaType,
    body: Uint8Array,
    options: IngestOptions,
    release: () => void
  ): Or<CheckedBatch> => {
    const { plan, partitions } = served
    const headers = type === "application/json" ? binaryHeaders(attributes) : undefined
    const rows = eventRows(plan.format, type, headers, body, options)
    if (rows._tag !== "Rows") return splitProblem(rows, options.rowsMax)
    const checked = (checks.get(plan.stream) as RowCheck).check(rows.rows, clock.unsafeCurrentTimeMillis())
    if (rows.faults.length > 0 || checked.faults.length > 0) {
      const faults = [...rows.faults, ...checked.faults.filter(({ row }) => !rows.faulty.has(row))]
      faults.sort((a, b) => a.row - b.row)
      return faultsProblem(plan.stream, rows.rows.length, faults)
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
    const fingerprint = () =>
      createHash("sha256")
        .update(`${plan.stream}\0${type}\0${JSON.stringify(headers ?? {})}\0`)
        .update(body)
        .digest("base64")
    return { served, records, fingerprint, release }
  }

  /** A request must be answered whatever happens; what nobody expects is logged. */
  const unexpected = (cause: unknown): ApiProblem => {
    const { problem, expected } = problemOfCause(Cause.die(cause))
    if (!expected) runFork(Effect.logError("A request failed", cause))
    return problem
  }

  /**
   * Reads and checks a body and hands it on, its bytes held until it is released. The answer stops that while it
   * still goes on; what was handed on is its taker's.
   */
  const take = (
    source: IncomingMessage,
    served: ServedStream,
    options: IngestOptions,
    done: (taken: Or<CheckedBatch>) => void
  ): (() => void) => {
    const type = mediaTypeIn(source.headers["content-type"], options.types)
    if (type instanceof ApiProblem) {
      done(type)
      return () => undefined
    }
    const hold = openHold()
    let taken = false
    const tell = (batch: Or<CheckedBatch>) => {
      taken = true
      if (batch instanceof ApiProblem) hold.release()
      done(batch)
    }
    const { bytesMax, rowsMax } = options
    const lines = type === "application/x-ndjson"
    const stop = receiveBody(source, { bytesMax, rowsMax, lines, hold: hold.add }, (body) => {
      if (body instanceof ApiProblem) return tell(body)
      let batch: Or<CheckedBatch>
      try {
        // Only `set-cookie` has several values, and it is no attribute of an event.
        const attributes = source.headers as Readonly<Record<string, string | undefined>>
        batch = checkBody(attributes, served, type, body, options, hold.release)
      } catch (cause) {
        batch = unexpected(cause)
      }
      tell(batch)
    })
    return () => {
      stop()
      if (!taken) hold.release()
    }
  }

  /**
   * Appends, bounded in time, and tells once what came of it: where each record lies, or 503, where what was not
   * acknowledged may or may not be in the log. Goes on whoever may have stopped listening.
   */
  const append = (
    served: ServedStream,
    records: ReadonlyArray<NewRecord>,
    done: (appended: Or<ReadonlyArray<Appended>>) => void
  ): void => {
    const fiber = runFork(log.append(served.topic, records))
    let late = false
    const stop = deadlines.add(clock.unsafeCurrentTimeMillis() + APPEND_TIMEOUT_MILLIS, () => {
      late = true
      fiber.unsafeInterruptAsFork(fiber.id())
      done(appendedLate())
    })
    fiber.addObserver((exit) => {
      if (late) return
      stop()
      if (Exit.isSuccess(exit)) return done(exit.value)
      const { problem, expected } = problemOfCause(exit.cause)
      if (!expected) runFork(Effect.logError("A request failed", exit.cause))
      done(problem)
    })
  }

  /** Appends a whole body and tells what is accepted. */
  const accept = (batch: CheckedBatch, done: (accepted: Or<AcceptedEvents>) => void): void => {
    const { served, records, release } = batch
    const { stream } = served.plan
    if (records.length === 0) {
      release()
      return done({ stream, accepted: 0, partitions: [] })
    }
    append(served, records, (appended) => {
      release()
      done(
        appended instanceof ApiProblem
          ? appended
          : { stream, accepted: appended.length, partitions: byPartition(appended) }
      )
    })
  }

  return {
    take,
    append,
    accept,
    /** Appends a checked body once per key. */
    acceptOnce: (key: string, batch: CheckedBatch): Effect.Effect<AcceptedEvents, ApiProblem> =>
      Effect.ensuring(
        answers.once(
          `${batch.served.plan.stream}\0${key}`,
          batch.fingerprint(),
          effectOf((done) => void accept(batch, done))
        ),
        Effect.sync(batch.release)
      ),
    /** Bytes of requests that are held now. */
    pendingBytes: () => pending,
    /** Why bytes would not decode under the stream's present definition, or undefined where they would. */
    explain: (
      stream: string,
      value: Uint8Array,
      headers: Readonly<Record<string, string>> | undefined,
      recordTime: number
    ): RowFault | undefined =>
      checks.get(stream)?.check([{ bytes: value, start: 0, end: value.length, headers }], recordTime)
        .faults[0]
  }
})

/** Takes events in: the only way from HTTP to the log. */
export class Ingestion extends Context.Tag("groundstate/services/inspect/Ingestion")<
  Ingestion,
  Effect.Effect.Success<typeof make>
>() {
  static readonly layer = Layer.effect(Ingestion, make)
}
