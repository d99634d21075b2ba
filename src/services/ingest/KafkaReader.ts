// Reads one partition of a Kafka topic from a given offset on, one fetch ahead of its caller.
import { Cause, Clock, Effect, Exit, Fiber, Option, Schedule, type Scope } from "effect"
import { LogUnavailable, OffsetOutOfRange } from "../../schema/error/IngestError.ts"
import type { RecordBatch } from "../../schema/event/Batch.ts"
import type { OpenOptions, PartitionReader } from "./EventLog.ts"
import {
  connectPartition,
  type KafkaConnection,
  KafkaErrorCode,
  OFFSET_OUT_OF_RANGE,
  type PartitionClient,
  PartitionMissing
} from "./KafkaClient.ts"
import { type BatchLimits, isSpent, openCursor, type RecordsCursor, readBatch } from "./kafkaBatch.ts"
import type { FetchedPartition } from "./kafkaFetch.ts"
import { makeRecordColumns } from "./recordBatch.ts"

/** Bounds of a reader; times in ms, sizes in bytes. */
export interface ReaderLimits extends BatchLimits {
  /** How long the broker may hold a fetch open while there is nothing to read. */
  readonly longPollMillis: number
  /**
   * After a response of less than `pacedBytes`, requests are at least this far apart: a trickle would otherwise
   * be fetched record by record, each fetch at the price of hundreds of events, and keep the whole core busy.
   */
  readonly paceMillis: number
  readonly pacedBytes: number
  /** Trouble is retried this long, at the same offset, before a fetch fails with LogUnavailable. */
  readonly unavailableAfterMillis: number
  readonly retryMinMillis: number
  readonly retryMaxMillis: number
}

const detailOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

/**
 * Opens a partition. The connection is the reader's own and is made anew, at the same offset, when it breaks
 * or stalls. `groupId` names the member-less group that offsets are committed to. A fetch may answer a batch
 * without rows whose `nextOffset` has moved: control records or a gap lay there.
 */
export const openKafkaReader = (
  connection: KafkaConnection,
  limits: ReaderLimits,
  groupId: string,
  options: OpenOptions
): Effect.Effect<PartitionReader, LogUnavailable | OffsetOutOfRange, Scope.Scope> =>
  Effect.gen(function* () {
    const { topic, partition } = options
    const scope = yield* Effect.scope
    let client: Promise<PartitionClient> | undefined
    let closed = false
    const unavailable = (operation: LogUnavailable["operation"], cause: unknown) =>
      new LogUnavailable({ topic, operation, detail: detailOf(cause) })

    const disconnect = () => {
      client?.then(
        (made) => made.close(),
        () => undefined
      )
      client = undefined
    }
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        closed = true
        disconnect()
      })
    )

    const connected = (): Promise<PartitionClient> => {
      if (closed) return Promise.reject(new Error("this reader is closed"))
      client ??= connectPartition(connection, topic, partition)
      return client
    }

    /** Runs `use` until it succeeds, on a fresh connection after each failure, within the time allowed. */
    const persist = <A>(use: (client: PartitionClient) => Promise<A>) =>
      Effect.gen(function* () {
        const started = yield* Clock.currentTimeMillis
        let pause = limits.retryMinMillis
        for (;;) {
          const exit = yield* Effect.exit(
            Effect.tryPromise({ try: () => connected().then(use), catch: (cause) => cause })
          )
          if (Exit.isSuccess(exit)) {
            if (pause > limits.retryMinMillis)
              yield* Effect.logInfo("Kafka is read again", { topic, partition })
            return exit.value
          }
          const cause = Option.getOrUndefined(Cause.failureOption(exit.cause))
          if (cause instanceof KafkaErrorCode) {
            if (cause.code === OFFSET_OUT_OF_RANGE) return yield* Effect.fail(cause)
            // The partition may have moved to another broker; the connections are in order.
            yield* Effect.ignore(Effect.tryPromise(() => connected().then((reader) => reader.refresh())))
          } else disconnect()
          if (cause instanceof PartitionMissing) return yield* unavailable("read", cause)
          if ((yield* Clock.currentTimeMillis) - started >= limits.unavailableAfterMillis) {
            return yield* unavailable("read", cause)
          }
          const log = pause === limits.retryMinMillis ? Effect.logWarning : Effect.logDebug
          yield* log("Kafka cannot be read; it is tried again at the same offset", {
            topic,
            partition,
            cause: detailOf(cause)
          })
          yield* Effect.sleep(pause)
          pause = Math.min(pause * 2, limits.retryMaxMillis)
        }
      })

    const readBounds = persist((reader) => reader.bounds()).pipe(
      Effect.mapError((cause) => (cause instanceof LogUnavailable ? cause : unavailable("read", cause)))
    )

    const outOfRange = (offset: number, bounds: { readonly earliest: number; readonly end: number }) =>
      new OffsetOutOfRange({ topic, partition, offset, earliest: bounds.earliest, latest: bounds.end })

    const atOpen = yield* readBounds
    let position =
      options.offset === "earliest"
        ? atOpen.earliest
        : options.offset === "latest"
          ? atOpen.end
          : options.offset
    if (position < atOpen.earliest || position > atOpen.end) return yield* outOfRange(position, atOpen)

    const columns = makeRecordColumns(1_024)
    let cursor: RecordsCursor | undefined
    /** Where `position` stood when the response at hand came. */
    let openedAt = position
    let pending: Fiber.RuntimeFiber<FetchedPartition, LogUnavailable | OffsetOutOfRange> | undefined

    let requestedAt = Number.NEGATIVE_INFINITY
    let trickles = false

    const request = (offset: number) =>
      Effect.suspend(() => {
        const early = trickles ? requestedAt + limits.paceMillis - performance.now() : 0
        return early > 0 ? Effect.sleep(early) : Effect.void
      }).pipe(
        Effect.zipRight(
          Effect.suspend(() => {
            requestedAt = performance.now()
            return persist((reader) => reader.fetch(offset, options.fetchBytesMax, limits.longPollMillis))
          })
        ),
        Effect.tap((fetched) =>
          Effect.sync(() => {
            trickles = fetched.records.length < limits.pacedBytes
          })
        ),
        Effect.catchAll((cause) =>
          cause instanceof LogUnavailable
            ? Effect.fail(cause)
            : Effect.flatMap(readBounds, (bounds) => Effect.fail(outOfRange(offset, bounds)))
        )
      )

    /** Rows of the response at hand; the response is let go with its last whole batch. */
    const take = Effect.suspend((): Effect.Effect<RecordBatch | undefined, LogUnavailable> => {
      if (cursor === undefined) return Effect.succeed(undefined)
      const opened = cursor
      try {
        const batch = readBatch(opened, columns, limits)
        if (batch === undefined || isSpent(opened)) cursor = undefined
        if (batch !== undefined) position = batch.nextOffset
        else if (opened.records.length > 0 && position === openedAt) {
          return Effect.fail(
            unavailable("read", "the broker answered with no record batch from this offset on")
          )
        }
        return Effect.succeed(batch)
      } catch (cause) {
        cursor = undefined
        return Effect.fail(unavailable("read", cause))
      }
    })

    const prefetch = Effect.suspend(() =>
      pending === undefined && cursor === undefined
        ? Effect.map(Effect.forkIn(request(position), scope), (fiber) => {
            pending = fiber
          })
        : Effect.void
    )

    const fetch: PartitionReader["fetch"] = (maxWaitMillis) =>
      Effect.gen(function* () {
        const started = yield* Clock.currentTimeMillis
        for (;;) {
          const batch = yield* take
          yield* prefetch
          if (batch !== undefined) return batch
          const waiting = pending as NonNullable<typeof pending>
          let exit = Option.getOrUndefined(yield* Fiber.poll(waiting))
          if (exit === undefined) {
            const left = maxWaitMillis - ((yield* Clock.currentTimeMillis) - started)
            if (left <= 0) return undefined
            exit = Option.getOrUndefined(yield* Effect.timeoutOption(Fiber.await(waiting), left))
            if (exit === undefined) return undefined
          }
          pending = undefined
          const fetched = yield* exit
          if (fetched.records.length === 0) continue
          cursor = openCursor(fetched, position)
          openedAt = position
        }
      })

    return {
      fetch,
      commit: (offset) =>
        Effect.tryPromise({
          try: () => connected().then((reader) => reader.commit(groupId, offset)),
          catch: (cause) => unavailable("commit", cause)
        }).pipe(
          // The first commit on a new cluster makes Kafka create the topic for offsets.
          Effect.retry(
            Schedule.exponential(limits.retryMinMillis).pipe(Schedule.intersect(Schedule.recurs(6)))
          )
        ),
      bounds: readBounds
    }
  })
