// Answers questions about refused events, and gives them to their stream again.
import { HttpApiBuilder } from "@effect/platform"
import { Effect, Either, Option, Schema } from "effect"
import { GroundstateApi } from "../../schema/api/Api.ts"
import { ReplayRequest, type ReplayResult } from "../../schema/api/DeadLettersApi.ts"
import { ApiProblem } from "../../schema/error/ApiError.ts"
import type { LogUnavailable } from "../../schema/error/IngestError.ts"
import type { DeadLetter } from "../../schema/event/DeadLetter.ts"
import { DeadLetters } from "../ingest/DeadLetters.ts"
import { EventLog } from "../ingest/EventLog.ts"
import { Metrics } from "../observe/Metrics.ts"
import { Streams } from "../runtime/Streams.ts"
import { Ingestion } from "./Ingestion.ts"
import { problemOfError } from "./problems.ts"
import { readJson } from "./requestBody.ts"

/** Letters read at a time: each may weigh most of a megabyte. */
const READ_LETTERS = 64
/** Original bytes in one page of a list; it ends early when it has more. */
const PAGE_BYTES_MAX = 8 * 1024 * 1024
/** Letters looked through for one page of a filtered list; its cursor goes on from there. */
const LOOKED_LETTERS_MAX = 4_096
/** Letters looked through for one replay. */
const REPLAY_LOOKED_MAX = 200_000
/** A replay may name a thousand ids. */
const REPLAY_BYTES_MAX = 512 * 1024
/** Each reading opens the topic: few at once, the rest wait. */
const READERS_MAX = 2

const CursorText = Schema.StringFromBase64Url.pipe(
  Schema.compose(
    Schema.parseJson(Schema.Struct({ partition: Schema.NonNegativeInt, from: Schema.NonNegativeInt }))
  )
)
const encodeCursor = Schema.encodeSync(CursorText)
const decodeCursor = Schema.decodeEither(CursorText)

interface Filter {
  readonly stream?: string | undefined
  readonly topic?: string | undefined
  readonly reason?: string | undefined
}

const passes = (filter: Filter) => (letter: DeadLetter) =>
  (filter.stream === undefined || letter.stream === filter.stream) &&
  (filter.topic === undefined || letter.topic === filter.topic) &&
  (filter.reason === undefined || letter.reason === filter.reason)

const result = (
  letter: DeadLetter,
  outcome: ReplayResult["outcome"],
  detail: string | null
): ReplayResult => ({
  id: letter.id,
  outcome,
  detail,
  partition: letter.partition,
  offset: null
})

/** A record without headers is not one with none: CloudEvents' modes differ by that. */
const headersOf = ({ headers }: DeadLetter) => (Object.keys(headers).length === 0 ? undefined : headers)

const bridged = <A, R>(work: Effect.Effect<A, LogUnavailable, R>) =>
  Effect.mapError(work, (error) => problemOfError(error) as ApiProblem)

const makeReading = Effect.gen(function* () {
  const deadLetters = yield* DeadLetters
  const readers = yield* Effect.makeSemaphore(READERS_MAX)

  /**
   * Walks the topic from `partition`, `from` on, giving letters to `visit` in pages until it answers false.
   * Answers where to go on, or undefined at the end.
   */
  const walk = (
    start: { readonly partition: number; readonly from: number },
    stream: string | undefined,
    size: () => number,
    visit: (letters: ReadonlyArray<DeadLetter>) => boolean
  ) =>
    Effect.gen(function* () {
      const partitions = yield* deadLetters.partitions
      let { partition, from } = start
      while (partition < partitions) {
        const page = yield* deadLetters.page({
          partition,
          from,
          limit: size(),
          ...(stream === undefined ? {} : { stream })
        })
        const ended = page.next >= page.end || page.next <= from
        partition = ended ? partition + 1 : partition
        from = ended ? 0 : page.next
        if (!visit(page.letters)) break
      }
      return partition < partitions ? { partition, from } : undefined
    }).pipe(readers.withPermits(1), bridged)

  const list = (
    filter: Filter,
    limit: number,
    start: { readonly partition: number; readonly from: number }
  ) =>
    Effect.gen(function* () {
      const items: Array<DeadLetter> = []
      let looked = 0
      let bytes = 0
      const next = yield* walk(
        start,
        filter.stream,
        () => Math.min(READ_LETTERS, limit - items.length),
        (letters) => {
          looked += letters.length
          for (const letter of letters) {
            if (!passes(filter)(letter)) continue
            items.push(letter)
            bytes += letter.bytes.length
          }
          return items.length < limit && bytes < PAGE_BYTES_MAX && looked < LOOKED_LETTERS_MAX
        }
      )
      return { items, next: next === undefined ? null : encodeCursor(next) }
    })

  /** The letters a replay means, at most `limit`; each id once. */
  const pick = (wanted: (letter: DeadLetter) => boolean, stream: string | undefined, limit: number) =>
    Effect.gen(function* () {
      const picked = new Map<string, DeadLetter>()
      let looked = 0
      yield* walk(
        { partition: 0, from: 0 },
        stream,
        () => READ_LETTERS,
        (letters) => {
          looked += letters.length
          for (const letter of letters) {
            if (picked.size < limit && wanted(letter)) picked.set(letter.id, letter)
          }
          return picked.size < limit && looked < REPLAY_LOOKED_MAX
        }
      )
      return [...picked.values()]
    })

  return { list, pick, get: (id: string) => readers.withPermits(1)(bridged(deadLetters.get(id))) }
})

const makeReplay = Effect.gen(function* () {
  const log = yield* EventLog
  const streams = yield* Streams
  const ingestion = yield* Ingestion

  /** What keeps a letter from being appended at all. */
  const hindrance = (letter: DeadLetter): ReplayResult | undefined => {
    const served = streams.get(letter.stream)
    if (served === undefined || served.topic !== letter.topic || letter.partition >= served.partitions) {
      return result(
        letter,
        "unserved",
        `no stream ${letter.stream} with partition ${letter.partition} of topic ${letter.topic} is served here`
      )
    }
    return letter.size > letter.bytes.length
      ? result(letter, "cut", `${letter.bytes.length} of ${letter.size} bytes were kept`)
      : undefined
  }

  const foresee = (letter: DeadLetter): ReplayResult => {
    const fault = ingestion.explain(letter.stream, letter.bytes, headersOf(letter), letter.timestamp)
    if (fault !== undefined) return result(letter, "would-fail", `${fault.reason}: ${fault.detail}`)
    return letter.reason === "id-conflict" || letter.reason === "handler-failed"
      ? result(letter, "unknown", `it decodes; ${letter.reason} depends on what its cell remembers`)
      : result(letter, "would-decode", null)
  }

  const append = (letter: DeadLetter) =>
    log
      .append(letter.topic, [
        {
          key: null,
          value: letter.bytes,
          partition: letter.partition,
          ...(headersOf(letter) === undefined ? {} : { headers: letter.headers })
        }
      ])
      .pipe(
        Effect.map(([{ partition, offset }]) => ({ ...result(letter, "appended", null), partition, offset })),
        Effect.catchAll((error) => Effect.succeed(result(letter, "failed", error.message)))
      )

  return (letters: ReadonlyArray<DeadLetter>, dryRun: boolean) =>
    Effect.forEach(
      letters,
      (letter) => {
        const hindered = hindrance(letter)
        if (hindered !== undefined) return Effect.succeed(hindered)
        return dryRun ? Effect.sync(() => foresee(letter)) : append(letter)
      },
      { concurrency: 16 }
    )
})

export const DeadLettersHandlers = HttpApiBuilder.group(GroundstateApi, "deadletters", (handlers) =>
  Effect.gen(function* () {
    const reading = yield* makeReading
    const replay = yield* makeReplay
    const metrics = yield* Metrics
    return handlers
      .handle("list", ({ urlParams: { limit, cursor, ...filter } }) => {
        const start = cursor === undefined ? Either.right({ partition: 0, from: 0 }) : decodeCursor(cursor)
        return Either.isRight(start)
          ? reading.list(filter, limit, start.right)
          : ApiProblem.of(
              "malformed-request",
              "The cursor is not one that this list gave out; start again without it.",
              {
                errors: [{ field: "cursor", detail: "expected `next` of a page before" }]
              }
            ).raise
      })
      .handle("describe", ({ path }) =>
        Effect.flatMap(
          reading.get(path.id),
          Option.match({
            onNone: () =>
              ApiProblem.of(
                "not-found",
                `There is no dead letter ${path.id}; /v1/deadletters lists those that are.`
              ).raise,
            onSome: (letter) => Effect.succeed(letter)
          })
        )
      )
      .handleRaw("replay", ({ request }) =>
        Effect.gen(function* () {
          const { ids, filter, dryRun } = yield* readJson(request, ReplayRequest, REPLAY_BYTES_MAX)
          const wanted = ids === undefined ? undefined : new Set(ids)
          const letters =
            wanted === undefined
              ? yield* reading.pick(passes(filter ?? {}), filter?.stream, filter?.limit ?? 0)
              : yield* reading.pick(({ id }) => wanted.has(id), undefined, wanted.size)
          for (const { id } of letters) wanted?.delete(id)
          if (wanted !== undefined && wanted.size > 0) {
            return yield* ApiProblem.of(
              "invalid-content",
              `${wanted.size} of the ids name no dead letter; nothing was appended. /v1/deadletters lists those that are.`,
              {
                errors: [...wanted]
                  .slice(0, 100)
                  .map((id) => ({ field: "ids", detail: `no dead letter ${id}` }))
              }
            ).raise
          }
          const results = yield* replay(letters, dryRun)
          const appended = results.filter(({ outcome }) => outcome === "appended").length
          if (!dryRun) metrics.command("replay", appended === results.length ? "applied" : "failed")
          return { dryRun, appended, results }
        })
      )
  })
)
