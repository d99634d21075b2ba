// Gathers appends that wait at the same time into groups, so that a log pays for durability once a group.
import { Clock, Effect, Exit, type Scope } from "effect"
import { LogUnavailable } from "../../schema/error/IngestError.ts"
import { turn } from "../runtime/turn.ts"
import type { Appended, NewRecord } from "./EventLog.ts"
import { partitionOf } from "./partition.ts"
import { makeSpacing } from "./spacing.ts"

/** Bounds of a writer, in bytes of keys, values and headers. */
export interface GroupLimits {
  /** Appends wait for room once this much is under way. */
  readonly pendingBytesMax: number
  /** A group takes no further append once it holds this much. */
  readonly groupBytesMax: number
  /** The least time between the end of a write and the next, while that makes groups larger; 0 where absent. */
  readonly spacingMillis?: number
}

/** One append under way; `partitions[i]` is where `records[i]` goes. */
export interface PendingAppend {
  readonly topic: string
  readonly records: ReadonlyArray<NewRecord>
  readonly partitions: ReadonlyArray<number>
  readonly size: number
  /** Answers the append and makes room for others; only the first call counts. */
  readonly done: (answer: Exit.Exit<ReadonlyArray<Appended>, LogUnavailable>) => void
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

/** The pace of disks and sockets, whatever clock a test has put in the place of the real one. */
const realClock = Clock.make()

/**
 * Starts the one fiber that writes. `write` must complete every append of its group. An append that is
 * interrupted may still be written: its outcome is unknown. What happens once an append is plain calls: the
 * caller's fiber waits for one callback, and the writer for one bell.
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
    /** Appends that wait for room, those that wait for the writer, and all that have room; in order. */
    const outside: Array<PendingAppend> = []
    const queue: Array<PendingAppend> = []
    const underWay = new Set<PendingAppend>()
    let bytes = 0
    const spacing = makeSpacing(limits.spacingMillis ?? 0, () => performance.now())
    let bell: (() => void) | undefined
    let closed = false

    const admit = () => {
      // One that is larger than all the room goes alone.
      while (outside.length > 0 && (bytes === 0 || bytes + outside[0].size <= limits.pendingBytesMax)) {
        const next = outside.shift() as PendingAppend
        bytes += next.size
        underWay.add(next)
        queue.push(next)
      }
      if (queue.length === 0 || bell === undefined) return
      const ring = bell
      bell = undefined
      ring()
    }
    const closing = (topic: string) =>
      Exit.fail(new LogUnavailable({ topic, operation: "append", detail: "the log is closing" }))
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        closed = true
        const late = outside.splice(0)
        for (const append of underWay) append.done(closing(append.topic))
        for (const append of late) append.done(closing(append.topic))
      })
    )
    const rung = Effect.async<void>((resume) => {
      bell = () => resume(Effect.void)
    })
    const nextGroup = Effect.gen(function* () {
      if (queue.length === 0) yield* rung
      const wait = spacing.next()
      if (wait > 0) yield* Effect.withClock(Effect.sleep(wait), realClock)
      // Requests that are already at the door come in with this group: a write may hold the event loop, and
      // without a turn for the sockets every one of them would pay for a group of its own.
      else yield* turn
      let count = 0
      let size = 0
      while (count < queue.length && (count === 0 || size + queue[count].size <= limits.groupBytesMax)) {
        size += queue[count++].size
      }
      spacing.closed(count)
      return queue.splice(0, count)
    })
    const writing = Effect.flatMap(nextGroup, (group) =>
      // A defect is this group's alone: the appends after it still need their writer.
      Effect.catchAllDefect(write(group), (defect) =>
        Effect.sync(() => {
          const detail = `it can't be written: ${defect instanceof Error ? defect.message : String(defect)}`
          for (const { done, topic } of group) {
            done(Exit.fail(new LogUnavailable({ topic, operation: "append", detail })))
          }
        })
      ).pipe(Effect.tap(spacing.written))
    )
    yield* Effect.forkScoped(Effect.forever(writing))
    return (topic, records, partitions) =>
      Effect.async((resume) => {
        if (closed) return resume(closing(topic))
        let size = 0
        for (const record of records) size += sizeOf(record)
        let answered = false
        const append: PendingAppend = {
          topic,
          records,
          partitions,
          size,
          done: (answer) => {
            if (answered) return
            answered = true
            if (underWay.delete(append)) bytes -= size
            resume(answer)
            admit()
          }
        }
        outside.push(append)
        admit()
        return Effect.sync(() => {
          const at = outside.indexOf(append)
          if (at >= 0) outside.splice(at, 1)
        })
      })
  })
