// What could not be taken as an event, kept on a topic of the event log for people to look at.
import { Context, Effect, Layer, Option, Schema } from "effect"
import { LogUnavailable, type OffsetOutOfRange } from "../../schema/error/IngestError.ts"
import { DeadLetter } from "../../schema/event/DeadLetter.ts"
import { EventLog } from "./EventLog.ts"

export const DEAD_LETTER_TOPIC = "groundstate.deadletters"

/**
 * Most original bytes kept in a letter. As base64 in JSON they must fit a Kafka message of 1 MiB, which is
 * what brokers take by default; a letter's `size` tells the whole.
 */
export const DEAD_LETTER_BYTES_MAX = 720_000

/** Letters in the order in which they were written, and where the next page starts. */
export interface DeadLetterPage {
  readonly letters: ReadonlyArray<DeadLetter>
  readonly next: number
  /** Offset one past the last letter; `next` reaches it when there is no more. */
  readonly end: number
}

export interface DeadLetterQuery {
  readonly partition: number
  /** Offset in the dead-letter topic; the earliest held where it is older. */
  readonly from: number
  readonly limit: number
  /** Only letters of this stream. */
  readonly stream?: string
}

export class DeadLetters extends Context.Tag("groundstate/services/ingest/DeadLetters")<
  DeadLetters,
  {
    /** Completes when all letters are durable. Writing a letter again does no harm: its id is the same. */
    readonly write: (letters: ReadonlyArray<DeadLetter>) => Effect.Effect<void, LogUnavailable>
    readonly partitions: Effect.Effect<number, LogUnavailable>
    /** A page holds each id once. */
    readonly page: (query: DeadLetterQuery) => Effect.Effect<DeadLetterPage, LogUnavailable>
    /** Looks through the topic from its start: for single questions by people. */
    readonly get: (id: string) => Effect.Effect<Option.Option<DeadLetter>, LogUnavailable>
  }
>() {
  /** On the event log, in a topic made with so many partitions where it does not exist yet. */
  static readonly layer = (options: {
    readonly partitions: number
  }): Layer.Layer<DeadLetters, never, EventLog> => Layer.effect(DeadLetters, make(options))
}

const codec = Schema.parseJson(DeadLetter)
const encode = Schema.encodeSync(codec)
const decode = Schema.decodeUnknownOption(codec)
const utf8 = new TextEncoder()
const text = new TextDecoder()

const FETCH_BYTES = 4 * 1_048_576
/** How long reading waits for what the log says is there, ms. */
const READ_WAIT = 5_000

const make = (options: { readonly partitions: number }) =>
  Effect.gen(function* () {
    const log = yield* EventLog
    // Asked for until it worked once; the log may be away when this starts.
    let known: number | undefined
    const partitions = Effect.suspend(() =>
      known !== undefined
        ? Effect.succeed(known)
        : Effect.tap(log.ensureTopic(DEAD_LETTER_TOPIC, options.partitions), (count) =>
            Effect.sync(() => {
              known = count
            })
          )
    )

    const lost = (error: LogUnavailable | OffsetOutOfRange) =>
      error._tag === "LogUnavailable"
        ? error
        : new LogUnavailable({ topic: DEAD_LETTER_TOPIC, operation: "read", detail: error.message })

    const openAt = (partition: number, offset: number | "earliest") =>
      log.open({
        topic: DEAD_LETTER_TOPIC,
        partition,
        offset,
        epoch: 0,
        stream: "deadletters",
        fetchBytesMax: FETCH_BYTES
      })

    /** Hands letters to `visit`, which answers false to stop, from `from` on; answers where it stood. */
    const walk = (partition: number, from: number, visit: (letter: DeadLetter) => boolean) =>
      Effect.scoped(
        Effect.gen(function* () {
          yield* partitions
          const reader = yield* openAt(partition, from).pipe(
            Effect.catchTag("OffsetOutOfRange", (error) =>
              openAt(partition, from > error.latest ? error.latest : "earliest")
            )
          )
          const { end, earliest } = yield* reader.bounds
          let next = Math.min(Math.max(from, earliest), end)
          while (next < end) {
            const batch = yield* reader.fetch(READ_WAIT)
            if (batch === undefined) break
            for (let row = 0; row < batch.count; row++) {
              next = batch.offsets[row] + 1
              if (batch.starts[row] < 0) continue
              const letter = decode(text.decode(batch.bytes.subarray(batch.starts[row], batch.ends[row])))
              if (Option.isSome(letter) && !visit(letter.value)) return { next, end }
            }
            next = batch.nextOffset
          }
          return { next, end }
        })
      ).pipe(Effect.mapError(lost))

    const service: typeof DeadLetters.Service = {
      partitions,
      write: (letters) =>
        letters.length === 0
          ? Effect.void
          : Effect.zipRight(
              partitions,
              Effect.asVoid(
                log.append(
                  DEAD_LETTER_TOPIC,
                  letters.map((letter) => ({
                    key: utf8.encode(letter.stream),
                    value: utf8.encode(
                      encode(
                        letter.bytes.length <= DEAD_LETTER_BYTES_MAX
                          ? letter
                          : { ...letter, bytes: letter.bytes.subarray(0, DEAD_LETTER_BYTES_MAX) }
                      )
                    )
                  }))
                )
              )
            ),
      page: ({ from, limit, partition, stream }) =>
        Effect.suspend(() => {
          const letters = new Map<string, DeadLetter>()
          return Effect.map(
            walk(partition, from, (letter) => {
              if ((stream === undefined || letter.stream === stream) && !letters.has(letter.id)) {
                letters.set(letter.id, letter)
              }
              return letters.size < limit
            }),
            ({ end, next }) => ({ letters: [...letters.values()], next, end })
          )
        }),
      get: (id) =>
        Effect.gen(function* () {
          const count = yield* partitions
          let found: DeadLetter | undefined
          for (let partition = 0; partition < count && found === undefined; partition++) {
            yield* walk(partition, 0, (letter) => {
              if (letter.id === id) found = letter
              return found === undefined
            })
          }
          return Option.fromNullable(found)
        })
    }
    return service
  })
