// The cell's one fiber: claims the partition, restores its state, then fetch → process → emit → checkpoint, for ever.
import { Clock, Duration, Effect, Fiber, Option, Schedule, type Scope } from "effect"
import type { CellStalled } from "../../schema/error/CellError.ts"
import type { LogUnavailable, OffsetOutOfRange } from "../../schema/error/IngestError.ts"
import type { CorruptState, Fenced, StorageUnavailable } from "../../schema/error/StorageError.ts"
import type { RecordBatch } from "../../schema/event/Batch.ts"
import { EventLog, type PartitionReader } from "../../services/ingest/EventLog.ts"
import { Metrics } from "../../services/observe/Metrics.ts"
import { isDone, onward } from "../../services/runtime/atOnce.ts"
import { Ownership } from "../../services/runtime/Ownership.ts"
import { Settings } from "../../services/runtime/Settings.ts"
import type { ServedStream } from "../../services/runtime/Streams.ts"
import { turn } from "../../services/runtime/turn.ts"
import { Checkpoint } from "../../services/state/Checkpoint.ts"
import { applyDue } from "./CellCommands.ts"
import type { CellHandle } from "./CellHandle.ts"
import { restoreCell, type Snapshot, takeSnapshot, writeSnapshot } from "./CellPersistence.ts"
import { buryStretch, processSlice } from "./CellSlice.ts"
import { watchProgress } from "./CellWatch.ts"
import { makeEmitter } from "./Emitter.ts"
import { lookForModel, settleModel, wantedModel } from "./ModelInForce.ts"
import { probeModel } from "./ModelProbe.ts"
import { makeCellModel } from "./Models.ts"
import { firstRowFrom } from "./rowSearch.ts"
import type { SliceContext } from "./SliceContext.ts"

/** Lets sockets, timers and other cells have their turn after this much work without a pause, milliseconds. */
const TURN_MILLIS = 4
/** How long to wait before a log or database that failed is tried again. */
const RETRY_WAIT = "500 millis"

/** How long offsets may take to be committed. */
const COMMIT_TIMEOUT = "1 second"
/** A cell that waits longer than this for its checkpoint says so, and looks as often what it waits for. */
const SLOW_CHECKPOINT = "2 seconds"

/** Everything that ends a run of the loop; the supervisor decides what then. */
export type CellFailure =
  | CellStalled
  | LogUnavailable
  | OffsetOutOfRange
  | StorageUnavailable
  | Fenced
  | CorruptState

/**
 * One ownership of one partition, from claim to loss. Never succeeds. Whatever it had not checkpointed is
 * read again by the next run, with the same results.
 */
export const runCell = (handle: CellHandle, served: ServedStream, partition: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const settings = yield* Settings
      const log = yield* EventLog
      const store = yield* Checkpoint
      const metrics = yield* Metrics
      const { lastCheckpointMillis } = yield* Ownership
      const stream = served.plan.stream
      const key = { stream, partition }
      const begun = performance.now()

      handle.reset()
      const epoch = yield* store.claim(key, settings.runner)
      for (const skip of handle.skips.splice(0)) {
        yield* store.record(key, epoch, `skip-${skip.offset}`, skip.offset, { _tag: "Skip", ...skip })
      }
      const restored = yield* restoreCell(key, served.plan, epoch)
      const reader = yield* log.open({
        topic: served.topic,
        partition,
        offset: restored.core.nextOffset < 0 ? "earliest" : restored.core.nextOffset,
        epoch,
        stream,
        fetchBytesMax: settings.cell.fetchBytesMax
      })
      const bounds = yield* reader.bounds
      if (restored.core.nextOffset < 0) restored.core.nextOffset = bounds.earliest
      const emitter = yield* makeEmitter(settings.region, key, epoch)
      const model = yield* makeCellModel(restored.core)
      const context: SliceContext = {
        key,
        topic: served.topic,
        epoch,
        core: restored.core,
        commands: restored.commands,
        // What the owner before may have sent out lies below the end of the log as it stands now; whatever
        // is decided from now on holds from there, so that the tail is replayed as it was.
        replayUntil: bounds.end,
        emitter,
        host: handle,
        model,
        store,
        metrics,
        settings,
        over: undefined,
        wanted: wantedModel(restored.core),
        moves: 0,
        doing: "reading"
      }
      const snapshot = Effect.sync(() => takeSnapshot(key, epoch, restored))
      /** Stores a snapshot, once everything that the cell has sent out up to there is durable. */
      const save = (taken: Snapshot) =>
        Effect.gen(function* () {
          const from = performance.now()
          yield* emitter.flushed
          yield* writeSnapshot(store, taken)
          const { nextOffset } = taken.write
          handle.checkpointed(
            nextOffset,
            yield* Clock.currentTimeMillis,
            taken.bytes,
            performance.now() - from
          )
          // For lag tools alone: no checkpoint waits for a coordinator that does not answer.
          yield* reader.commit(nextOffset).pipe(Effect.timeout(COMMIT_TIMEOUT), Effect.ignore)
        })

      yield* handle.attach(context)
      yield* Effect.addFinalizer(() => handle.detach())
      handle.running(performance.now() - begun, bounds.end)
      // A clean stop leaves little to read again; a stop that can't write, or that cut a slice in half, loses
      // nothing either: the events since the last checkpoint are read again.
      yield* Effect.addFinalizer(() =>
        handle.lock
          .locked(Effect.suspend(() => (restored.core.whole ? Effect.flatMap(snapshot, save) : Effect.void)))
          .pipe(Effect.interruptible, Effect.timeout(Duration.millis(lastCheckpointMillis)), Effect.ignore)
      )
      yield* Effect.logInfo("cell started").pipe(
        Effect.annotateLogs({ epoch, offset: restored.core.nextOffset })
      )
      const running = Effect.raceFirst(loop(handle, context, reader, snapshot, save), emitter.broken)
      return yield* Effect.raceWith(running, watchProgress(handle, context, reader), {
        onSelfDone: (exit, watch) => Effect.zipRight(Fiber.interrupt(watch), exit),
        // What does not come back does not end when it is told to, either: nobody waits for it.
        onOtherDone: (exit, stalled) => Effect.zipRight(Fiber.interruptFork(stalled), exit)
      })
    })
  )

const loop = (
  handle: CellHandle,
  context: SliceContext,
  reader: PartitionReader,
  snapshot: Effect.Effect<Snapshot>,
  save: (taken: Snapshot) => Effect.Effect<void, StorageUnavailable | Fenced>
): Effect.Effect<never, CellFailure, Scope.Scope> =>
  Effect.gen(function* () {
    const { settings, core } = context
    const { lock } = handle
    const look = lookForModel(handle, context)
    const probe = probeModel(handle, context)
    const me = {}
    yield* Effect.addFinalizer(() => Effect.sync(() => lock.leave(me)))
    const wait = settings.cell.idleWait
    let saving: Fiber.RuntimeFiber<void, StorageUnavailable | Fenced> | undefined
    /** The checkpoint under way, waited for; with the database away the cell stands still until one is stored. */
    const saved = Effect.suspend(() => {
      if (saving === undefined) return Effect.void
      const waiting = tellWaiting(handle, context, Fiber.join(saving))
      saving = undefined
      return Effect.catchTag(waiting, "StorageUnavailable", () =>
        handle.lock.locked(insist(handle, "database-unavailable", Effect.flatMap(snapshot, save)))
      )
    })
    // Cells that start together take turns: their snapshots would otherwise hold the event loop one after the other.
    let lastCheckpoint = performance.now() - phaseOf(context.key.partition) * settings.cell.checkpointEvery
    let lastOffset = core.nextOffset
    let begun = performance.now()
    for (;;) {
      if (context.wanted !== undefined) yield* settleModel(handle, context)
      const looking = look()
      if (!isDone(looking)) yield* looking
      const probing = probe()
      if (!isDone(probing)) yield* probing
      // What is there already, as most is where much arrives, comes without an effect.
      context.doing = "reading"
      const fetched = reader.fetch(wait)
      const batch = isDone(fetched)
        ? fetched.value
        : yield* insist(
            handle,
            "log-unavailable",
            fetched,
            Effect.suspend(() => reader.fetch(wait))
          )
      if (batch === undefined) {
        handle.idle()
        if (context.over !== undefined) return yield* context.over
      } else {
        let from = 0
        do {
          context.doing = "scoring"
          if (!lock.tryEnter(me)) yield* lock.enter(me)
          // A command may have come while the records were waited for, or the lock.
          while (context.wanted !== undefined) {
            lock.leave(me)
            yield* settleModel(handle, context)
            yield* lock.enter(me)
          }
          const sliced = nextSlice(handle, context, batch, from)
          from = isDone(sliced) ? sliced.value : yield* sliced
          lock.leave(me)
          const room = context.emitter.room()
          if (!isDone(room)) {
            context.doing = "sending"
            yield* room
          }
          if (performance.now() - begun > TURN_MILLIS) {
            yield* turn
            begun = performance.now()
          }
        } while (from < batch.count)
      }
      // With nothing left to replay, what was asked for meanwhile holds at once, not with the next event.
      if (context.commands.length > 0) yield* handle.lock.locked(applyDue(context, core.nextOffset))
      if (saving !== undefined && Option.isSome(yield* Fiber.poll(saving))) yield* saved
      const since = performance.now() - lastCheckpoint
      const moved = core.nextOffset - lastOffset
      if (
        moved >= settings.cell.checkpointEventsMax ||
        (since >= settings.cell.checkpointEvery && (moved > 0 || core.changed))
      ) {
        // The cell goes on while its state is written, until the next checkpoint is due.
        context.doing = "storing"
        yield* saved
        saving = yield* Effect.forkScoped(save(yield* handle.lock.locked(snapshot)))
        lastCheckpoint = performance.now()
        lastOffset = core.nextOffset
      }
    }
  })

/**
 * A cell that stands still is not to be taken for one with nothing to do: says what a slow checkpoint waits for. A
 * database that is away fails it; one that never ends is a standing still (`CellWatch`).
 */
const tellWaiting = <A, E>(handle: CellHandle, context: SliceContext, checkpoint: Effect.Effect<A, E>) => {
  const telling = Effect.suspend(() => {
    const stuck = context.emitter.stuck()
    return stuck === undefined
      ? handle.pause("checkpoint-slow", { message: "the last checkpoint is not stored yet" })
      : handle.pause("alerts-undelivered", { message: stuck })
  })
  return Effect.raceFirst(
    checkpoint,
    Effect.sleep(SLOW_CHECKPOINT).pipe(Effect.zipRight(telling), Effect.forever)
  ).pipe(
    Effect.ensuring(Effect.zipRight(handle.resume("checkpoint-slow"), handle.resume("alerts-undelivered")))
  )
}

/** Where in the interval between checkpoints a partition has its own: any number of them lies evenly (golden ratio). */
const phaseOf = (partition: number): number => (partition * 0.618_033_988_749_895) % 1

/**
 * Up to one slice of the batch: never past a recorded command's offset, never past what is left; and what lies behind
 * the last record. Begins at the call. A partition at the pace of a trickle has hundreds of slices a second, of a few
 * rows each: what seldom has anything to do costs no effect.
 */
const nextSlice = (
  handle: CellHandle,
  context: SliceContext,
  batch: RecordBatch,
  from: number
): Effect.Effect<number, StorageUnavailable | Fenced> =>
  context.over !== undefined
    ? context.over
    : context.commands.length === 0 && batch.unreadable.length === 0
      ? takeSlice(handle, context, batch, from, batch.count)
      : Effect.gen(function* () {
          const { commands } = context
          let to = from
          if (from < batch.count) {
            const offset = batch.offsets[from]
            yield* buryUpTo(context, batch, offset)
            yield* applyDue(context, offset)
            // Not without the model that holds from here: the loop sees to that first.
            if (context.wanted !== undefined) return from
            to = batch.count
            if (commands.length > 0) to = firstRowFrom(batch.offsets, from, to, commands[0].fromOffset)
            for (const stretch of batch.unreadable) {
              if (stretch.firstOffset > offset)
                to = firstRowFrom(batch.offsets, from, to, stretch.firstOffset)
            }
          }
          return yield* takeSlice(handle, context, batch, from, to)
        })

/** Up to one slice of the rows [from, to), and where they are the batch's last what lies behind them. */
const takeSlice = (
  handle: CellHandle,
  context: SliceContext,
  batch: RecordBatch,
  from: number,
  to: number
): Effect.Effect<number, StorageUnavailable | Fenced> => {
  const { core } = context
  if (from === to) return endBatch(handle, context, batch, from)
  core.whole = false
  return onward(processSlice(context, batch, from, Math.min(to, handle.sliceEnd(batch, from))), (next) => {
    core.nextOffset = batch.offsets[next - 1] + 1
    core.whole = true
    return endBatch(handle, context, batch, next)
  })
}

/** Behind a batch's last record: control records, gaps, and stretches that nobody can read. */
const endBatch = (handle: CellHandle, context: SliceContext, batch: RecordBatch, next: number) => {
  if (next < batch.count) return Effect.succeed(next)
  const { core } = context
  return onward(
    batch.unreadable.length === 0 ? Effect.void : buryUpTo(context, batch, Number.POSITIVE_INFINITY),
    () => {
      core.nextOffset = Math.max(core.nextOffset, batch.nextOffset)
      handle.fetched(batch)
      return Effect.succeed(next)
    }
  )
}

/** Stretches below `offset` that nobody can read, each once and in its place. */
const buryUpTo = (context: SliceContext, batch: RecordBatch, offset: number) =>
  Effect.gen(function* () {
    for (const stretch of batch.unreadable) {
      if (stretch.firstOffset >= offset || stretch.lastOffset < context.core.nextOffset) continue
      yield* buryStretch(context, stretch)
      context.core.nextOffset = stretch.lastOffset + 1
    }
  })

/**
 * Waits for what is away, saying so; anything else ends the run. A first try that succeeds, as nearly all do,
 * costs no schedule.
 */
const insist = <A, E extends { readonly _tag: string; readonly message: string }, R>(
  handle: CellHandle,
  cause: "log-unavailable" | "database-unavailable",
  first: Effect.Effect<A, E, R>,
  again: Effect.Effect<A, E, R> = first
): Effect.Effect<A, E, R> =>
  Effect.catchAll(first, (error) => {
    const pausing = Effect.tapError(again, (next) => handle.pause(cause, next))
    return Effect.zipRight(handle.pause(cause, error), isAway(error) ? Effect.void : Effect.fail(error)).pipe(
      Effect.zipRight(Effect.sleep(RETRY_WAIT)),
      Effect.zipRight(Effect.retry(pausing, { while: isAway, schedule: Schedule.spaced(RETRY_WAIT) })),
      Effect.tap(() => handle.resume(cause))
    )
  })

const isAway = (error: { readonly _tag: string }): boolean =>
  error._tag === "LogUnavailable" || error._tag === "StorageUnavailable"
