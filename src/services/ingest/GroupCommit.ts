// Gathers appends that wait at the same time into groups, so that a log pays for durability once a group.
import { Deferred, Effect, Queue, type Scope } from "effect"
import { LogUnavailable } from "../../schema/error/IngestError.ts"
import type { Appended, NewRecord } from "./EventLog.ts"
import { partitionOf } from "./partition.ts"

/** Bounds of a writer, in bytes of keys, values and headers. */
export interface GroupLimits {
  /** Appends wait for room once this much is under way. */
  readonly pendingBytesMax: number
  /** A group takes no further append once it holds this much. */
  readonly groupBytesMax: number
}

/** One append under way; `partitions[i]` is where `records[i]` goes. */
export interface PendingAppend {
  readonly topic: string
  readonly records: ReadonlyArray<NewRecord>
  readonly partitions: ReadonlyArray<number>
  readonly size: number
  readonly done: Deferred.Deferred<ReadonlyArray<Appended>, LogUnavailable>
}

const RECORD_OVERHEAD = 32

/** Bytes that a record is counted with. */
export const sizeOf = (record: NewRecord): number => {
  let size = RECORD_OVERHEAD + (record.key?.length ?? 0) + (record.value?.length ?? 0)
  if (record.headers !== undefined) {
    for (const name of Object.keys(record.headers)) size += name.length + record.headers[name].length + 8
  }
  return size
}

/**
 * Chooses partitions as Kafka's default partitioner does for keys; records without one take turns. Fails
 * where a record names a partition that the topic does not have.
 */
export const makePlacement = () => {
  let turn = 0
  return (
    topic: string,
    records: ReadonlyArray<NewRecord>,
    partitions: number
  ): Effect.Effect<ReadonlyArray<number>, LogUnavailable> => {
    const places = records.map(
      (record) =>
        record.partition ?? (record.key === null ? turn++ % partitions : partitionOf(record.key, partitions))
    )
    const wrong = places.find((place) => !(Number.isInteger(place) && place >= 0 && place < partitions))
    return wrong === undefined
      ? Effect.succeed(places)
      : Effect.fail(
          new LogUnavailable({
            topic,
            operation: "append",
            detail: `there is no partition ${wrong}; it has ${partitions}`
          })
        )
  }
}

/** One round of the event loop: whatever has arrived is read. */
const socketsTurn = Effect.async<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

/** One permit stands for this many bytes under way. */
const PERMIT_BYTES = 1_024

/**
 * Starts the one fiber that writes. `write` must complete every append of its group. An append that is
 * interrupted may still be written: its outcome is unknown.
 */
export const makeGroupCommit = (
  limits: GroupLimits,
  write: (group: ReadonlyArray<PendingAppend>) => Effect.Effect<void>
): Effect.Effect<
  (
    topic: string,
    records: ReadonlyArray<NewRecord>,
    partitions: ReadonlyArray<number>
  ) => Effect.Effect<ReadonlyArray<Appended>, LogUnavailable>,
  never,
  Scope.Scope
> =>
  Effect.gen(function* () {
    const permits = Math.max(1, Math.floor(limits.pendingBytesMax / PERMIT_BYTES))
    const room = yield* Effect.makeSemaphore(permits)
    // The semaphore bounds the queue: every append under way holds at least one permit.
    const queue = yield* Queue.unbounded<PendingAppend>()
    let held: PendingAppend | undefined
    const underWay = new Set<PendingAppend>()
    yield* Effect.addFinalizer(() =>
      Effect.forEach(
        underWay,
        ({ done, topic }) =>
          Deferred.fail(
            done,
            new LogUnavailable({ topic, operation: "append", detail: "the log is closing" })
          ),
        { discard: true }
      )
    )
    const nextGroup = Effect.gen(function* () {
      const first = held ?? (yield* Queue.take(queue))
      held = undefined
      // Requests that are already at the door come in with this group: a write may hold the event loop, and
      // without a turn for the sockets every one of them would pay for a group of its own.
      yield* socketsTurn
      const group = [first]
      let size = first.size
      while (size < limits.groupBytesMax) {
        const [next] = yield* Queue.takeUpTo(queue, 1)
        if (next === undefined) break
        if (size + next.size > limits.groupBytesMax) {
          held = next
          break
        }
        group.push(next)
        size += next.size
      }
      return group
    })
    yield* Effect.forkScoped(Effect.forever(Effect.flatMap(nextGroup, write)))
    return (topic, records, partitions) =>
      Effect.suspend(() => {
        let size = 0
        for (const record of records) size += sizeOf(record)
        const cost = Math.min(permits, Math.max(1, Math.ceil(size / PERMIT_BYTES)))
        return room.withPermits(cost)(
          Effect.gen(function* () {
            const done = yield* Deferred.make<ReadonlyArray<Appended>, LogUnavailable>()
            const append = { topic, records, partitions, size, done }
            underWay.add(append)
            yield* Queue.offer(queue, append)
            return yield* Effect.ensuring(
              Deferred.await(done),
              Effect.sync(() => underWay.delete(append))
            )
          })
        )
      })
  })
