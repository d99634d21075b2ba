// Reads one partition of a Kafka topic from a given offset on; what it needs is fetched together with the needs of
// all other readers of the process.
import { Cause, Clock, Effect, Exit, Option, Schedule, type Scope } from "effect"
import { LogUnavailable, OffsetOutOfRange } from "../../schema/error/IngestError.ts"
import type { RecordBatch } from "../../schema/event/Batch.ts"
import type { OpenOptions, PartitionReader } from "./EventLog.ts"
import { type ClusterClient, KafkaErrorCode, OFFSET_OUT_OF_RANGE, PartitionMissing } from "./KafkaClient.ts"
import type { FetcherLimits, KafkaFetcher } from "./KafkaFetcher.ts"
import { type BatchLimits, isSpent, openCursor, type RecordsCursor, readBatch } from "./kafkaBatch.ts"
import { makeRecordColumns } from "./recordBatch.ts"

/** Bounds of a reader. */
export interface ReaderLimits extends BatchLimits, FetcherLimits {}

const nothing: Effect.Effect<undefined> = Effect.succeed(undefined)

const detailOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

/**
 * Opens a partition. `groupId` names the member-less group that offsets are committed to. A fetch may answer a
 * batch without rows whose `nextOffset` has moved: control records or a gap lay there.
 */
export const openKafkaReader = (
  fetcher: KafkaFetcher,
  limits: ReaderLimits,
  groupId: string,
  options: OpenOptions
): Effect.Effect<PartitionReader, LogUnavailable | OffsetOutOfRange, Scope.Scope> =>
  Effect.gen(function* () {
    const { topic, partition } = options
    const unavailable = (operation: LogUnavailable["operation"], cause: unknown) =>
      new LogUnavailable({ topic, operation, detail: detailOf(cause) })

    /** Runs `use` until it succeeds, on a fresh connection after each failure, within the time allowed. */
    const persist = <A>(use: (client: ClusterClient) => Promise<A>): Effect.Effect<A, LogUnavailable> =>
      Effect.gen(function* () {
        const started = yield* Clock.currentTimeMillis
        let pause = limits.retryMinMillis
        for (;;) {
          const exit = yield* Effect.exit(
            Effect.tryPromise({ try: () => fetcher.client().then(use), catch: (cause) => cause })
          )
          if (Exit.isSuccess(exit)) return exit.value
          const cause = Option.getOrUndefined(Cause.failureOption(exit.cause))
          if (cause instanceof PartitionMissing) return yield* unavailable("read", cause)
          if (cause instanceof KafkaErrorCode) {
            // The partition may have moved to another broker; the connections are in order.
            yield* Effect.ignore(Effect.tryPromise(() => fetcher.client().then((client) => client.refresh())))
          } else fetcher.discard()
          if ((yield* Clock.currentTimeMillis) - started >= limits.unavailableAfterMillis) {
            return yield* unavailable("read", cause)
          }
          yield* Effect.logDebug("Kafka does not tell a partition's bounds; it is asked again", {
            topic,
            partition,
            cause: detailOf(cause)
          })
          yield* Effect.sleep(pause)
          pause = Math.min(pause * 2, limits.retryMaxMillis)
        }
      })

    const readBounds = persist((client) => client.bounds(topic, partition))

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
    const feed = yield* Effect.acquireRelease(
      Effect.sync(() => fetcher.feed(topic, partition, options.fetchBytesMax)),
      (made) => Effect.sync(made.close)
    )
    let cursor: RecordsCursor | undefined
    /** Where `position` stood when the response at hand came. */
    let openedAt = position

    /** Rows of what has come; with the last of a response the next is asked for, while these are worked on. */
    const next = (): RecordBatch | undefined => {
      for (;;) {
        if (cursor === undefined) {
          const fetched = feed.take()
          if (fetched === undefined) {
            feed.want(position)
            return undefined
          }
          cursor = openCursor(fetched, position)
          openedAt = position
        }
        const opened = cursor
        cursor = undefined
        const batch = readBatch(opened, columns, limits)
        if (batch !== undefined) position = batch.nextOffset
        else if (position === openedAt) {
          throw new RangeError("the broker answered with no record batch from this offset on")
        }
        if (batch !== undefined && !isSpent(opened)) cursor = opened
        if (cursor === undefined) feed.want(position)
        if (batch !== undefined) return batch
      }
    }

    const failed = (cause: unknown): Effect.Effect<never, LogUnavailable | OffsetOutOfRange> =>
      cause instanceof KafkaErrorCode && cause.code === OFFSET_OUT_OF_RANGE
        ? Effect.flatMap(readBounds, (bounds) => Effect.fail(outOfRange(position, bounds)))
        : Effect.fail(unavailable("read", cause))

    /** What is there, or why there will be nothing; done at once either way, where it can be. */
    const take = (): Effect.Effect<RecordBatch | undefined, LogUnavailable | OffsetOutOfRange> => {
      try {
        const batch = next()
        return batch === undefined ? nothing : Effect.succeed(batch)
      } catch (cause) {
        return failed(cause)
      }
    }
    /** One wait is enough: it ends with something to take, or when the time is over. */
    const again = Effect.suspend(take)

    const fetch: PartitionReader["fetch"] = (maxWaitMillis) => {
      const taken = take()
      return taken !== nothing || maxWaitMillis <= 0
        ? taken
        : Effect.async((resume) => {
            const cancel = feed.wait(maxWaitMillis, () => resume(again))
            return Effect.sync(cancel)
          })
    }

    return {
      fetch,
      commit: (offset) =>
        Effect.tryPromise({
          try: () => fetcher.client().then((client) => client.commit(groupId, topic, partition, offset)),
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
