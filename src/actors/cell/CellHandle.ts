// What the outside sees of a cell while its loop runs: status, waiting askers, commands, the lock between slices.
import { Cause, Effect } from "effect"
import { CellStalled } from "../../schema/error/CellError.ts"
import { Fenced } from "../../schema/error/StorageError.ts"
import type { RecordBatch } from "../../schema/event/Batch.ts"
import { type CellChange, type CellStatus, CellUnavailable } from "../../schema/protocol/CellProtocol.ts"
import { Health } from "../../services/observe/Health.ts"
import { Metrics } from "../../services/observe/Metrics.ts"
import { RegionEvents } from "../../services/observe/RegionEvents.ts"
import { Settings } from "../../services/runtime/Settings.ts"
import type { ServedStream } from "../../services/runtime/Streams.ts"
import { makeAskers } from "./askers.ts"
import { applyChange } from "./CellCommands.ts"
import { makeCellLock } from "./CellLock.ts"
import type { PoisonRecord } from "./PoisonRecord.ts"
import { makeRates } from "./rates.ts"
import { makeRecentScores } from "./recentScores.ts"
import { firstRowFrom } from "./rowSearch.ts"
import type { CellCounters, SliceContext } from "./SliceContext.ts"

type PauseCause = NonNullable<CellStatus["paused"]>

const noCounters = (): CellCounters => ({
  scored: 0,
  secondStage: 0,
  alerts: 0,
  suppressed: 0,
  deadLetters: 0,
  duplicates: 0,
  late: 0,
  ahead: 0
})

export type CellHandle = Effect.Effect.Success<ReturnType<typeof makeCellHandle>>

export const makeCellHandle = (served: ServedStream, partition: number) =>
  Effect.gen(function* () {
    const settings = yield* Settings
    const health = yield* Health
    const metrics = yield* Metrics
    const events = yield* RegionEvents
    const lock = makeCellLock()
    const stream = served.plan.stream
    const name = `${stream}/${partition}`
    const component = `cell ${name}`
    const place = { stream, partition }
    const clock = yield* Effect.clock
    const startedAt = clock.unsafeCurrentTimeMillis()
    const askers = makeAskers()
    const recent = makeRecentScores()
    const rates = makeRates()
    let counters = noCounters()
    let context: SliceContext | undefined
    let paused: PauseCause | undefined = "starting"
    let pauseDetail: string | undefined
    let takeoverMillis = 0
    let endOffset = 0
    let oldestWaiting = 0
    let last: CellStatus["checkpoint"] = null
    /** Stretches of offsets in which the cell's own code failed: taken one record at a time. */
    const careful: Array<{ readonly first: number; readonly last: number }> = []
    /** Times that one record failed, by offset; those tried often enough are passed over. */
    const attempts = new Map<number, number>()
    const skips: Array<{ readonly offset: number; readonly attempts: number; readonly detail: string }> = []

    /** Does it wait for something outside that goes on by itself? A checkpoint that never ends does not. */
    const outside = (): boolean => paused !== undefined && paused !== "checkpoint-slow"
    const lagOf = (): number => (context === undefined ? 0 : Math.max(0, endOffset - context.core.nextOffset))
    /** The furthest that it has come: a run that starts again behind it has not moved before it is there. */
    let furthest = -1
    let lastProgressAt = performance.now()
    const report = () => {
      const offset = context?.core.nextOffset ?? -1
      if (offset > furthest) {
        furthest = offset
        lastProgressAt = performance.now()
      }
      health.progress(name, {
        lag: lagOf(),
        lastProgressAt,
        paused: paused !== "starting" && outside()
      })
      metrics.position({
        stream,
        partition,
        lag: lagOf(),
        oldestEventAgeSeconds: oldestWaiting / 1_000,
        devices: context?.core.devices ?? 0,
        stateBytes: context?.core.stateBytes() ?? 0
      })
    }

    return {
      askers,
      recent,
      skips,
      get counters() {
        return counters
      },
      get context() {
        return context
      },
      lock,

      reset: () => {
        counters = noCounters()
        paused = "starting"
        pauseDetail = undefined
      },
      attach: (next: SliceContext) =>
        Effect.sync(() => {
          context = next
          recent.clear()
        }),
      detach: () =>
        Effect.sync(() => {
          context = undefined
          paused = "stopped"
          health.report(component, { ready: false, reason: "the cell has stopped" })
        }),
      /** The cell lives elsewhere now: nothing here waits for it. */
      forget: () => {
        health.forget(component)
        health.forgetCell(name)
        metrics.forgetCell(stream, partition)
      },
      running: (millis: number, end: number) => {
        takeoverMillis = millis
        endOffset = end
        // The log was made anew.
        if (end < furthest) furthest = -1
        paused = undefined
        health.report(component, { ready: true, reason: null })
        metrics.takeover(stream, millis / 1_000)
        events.tell({
          ...place,
          kind: "takeover",
          detail: `Runner ${settings.runner} has cell ${name} with epoch ${context?.epoch ?? 0} and reads from offset ${Math.max(0, context?.core.nextOffset ?? 0)}, ${Math.round(millis)} ms after its claim.`
        })
      },
      /** Says why the cell waits, once per cause. */
      pause: (cause: PauseCause, error: { readonly message: string }) =>
        Effect.suspend(() => {
          const first = paused !== cause
          paused = cause
          pauseDetail = error.message
          report()
          const reason = outside() ? `${cause}: ${error.message}` : null
          health.report(component, { ready: reason === null, reason })
          if (first)
            events.tell({
              ...place,
              kind: "paused",
              detail: `Cell ${name} waits (${cause}): ${error.message}`
            })
          return first
            ? Effect.annotateLogs(Effect.logWarning(`cell ${name} waits`), { cause, detail: error.message })
            : Effect.void
        }),
      resume: (cause: PauseCause) =>
        Effect.suspend(() => {
          if (paused !== cause) return Effect.void
          paused = undefined
          pauseDetail = undefined
          health.report(component, { ready: true, reason: null })
          events.tell({ ...place, kind: "resumed", detail: `Cell ${name} goes on (${cause} is over).` })
          return Effect.annotateLogs(Effect.logInfo(`cell ${name} goes on`), { cause })
        }),

      /** Has it said what it waits for, and will that come by itself? */
      waits: outside,
      /** Where the log ends, learned from elsewhere than a fetch. */
      knownEnd: (end: number) => {
        endOffset = Math.max(endOffset, end)
        report()
      },

      /** Where the slice that begins at row `from` ends: one record at a time where a slice has failed before. */
      sliceEnd: (batch: RecordBatch, from: number): number => {
        let to = Math.min(batch.count, from + settings.cell.batchEventsMax)
        const offset = batch.offsets[from]
        for (const stretch of careful) {
          if (offset > stretch.last) continue
          to = offset >= stretch.first ? from + 1 : firstRowFrom(batch.offsets, from, to, stretch.first)
        }
        return to
      },
      /** The cell's code threw on these records: look closer next time, and pass one over that fails again and again. */
      poisoned: (poison: PoisonRecord, attemptsMax: number) => {
        if (poison.first !== poison.last) careful.push({ first: poison.first, last: poison.last })
        else {
          const tried = (attempts.get(poison.first) ?? 0) + 1
          attempts.set(poison.first, tried)
          if (tried >= attemptsMax)
            skips.push({ offset: poison.first, attempts: tried, detail: String(poison.cause) })
        }
        return Effect.logError(
          `cell ${name} could not process a record and starts again from its checkpoint`,
          poison
        )
      },
      failed: (cause: Cause.Cause<unknown>) =>
        Effect.suspend(() => {
          const error = Cause.squash(cause)
          if (error instanceof Fenced) metrics.fenced(stream)
          if (error instanceof CellStalled) metrics.stalled(stream, error.doing)
          paused = "stopped"
          pauseDetail = error instanceof Error ? error.message : String(error)
          health.report(component, { ready: false, reason: pauseDetail })
          events.tell({
            ...place,
            kind: error instanceof Fenced ? "fenced" : error instanceof CellStalled ? "stalled" : "stopped",
            detail: `Cell ${name} stopped and starts again where its slot lies: ${pauseDetail}`
          })
          return Effect.logError(`cell ${name} stopped and starts again`, cause)
        }),
      idle: () => {
        oldestWaiting = 0
        rates.add(0)
        if (context !== undefined) endOffset = Math.max(endOffset, context.core.nextOffset)
        report()
      },
      fetched: (batch: RecordBatch) => {
        endOffset = Math.max(batch.endOffset, batch.nextOffset)
        const waiting = lagOf() > 0 && batch.count > 0
        oldestWaiting = waiting
          ? Math.max(0, clock.unsafeCurrentTimeMillis() - batch.timestamps[batch.count - 1])
          : 0
        rates.add(batch.count)
        report()
      },
      checkpointed: (offset: number, at: number, bytes: number, millis: number) => {
        last = { offset, at, bytes, millis }
        metrics.checkpoint(stream, millis / 1_000, bytes)
      },

      status: (): CellStatus => {
        const core = context?.core
        const stuck = context?.emitter.stuck()
        return {
          stream,
          partition,
          owner: settings.runner,
          epoch: context?.epoch ?? 0,
          offset: Math.max(0, core?.nextOffset ?? 0),
          endOffset: Math.max(0, endOffset),
          lag: lagOf(),
          oldestEventAgeSeconds: oldestWaiting / 1_000,
          paused: paused ?? (stuck === undefined ? null : "alerts-undelivered"),
          pauseDetail: pauseDetail ?? stuck ?? core?.modelAway ?? null,
          watermark: core === undefined || !Number.isFinite(core.watermark) ? null : core.watermark,
          eventsPerSecond: rates.perSecond(),
          devices: core?.devices ?? 0,
          model: core?.modelDigest ?? null,
          path: core?.path ?? "baseline",
          breaker: core?.breaker ?? "none",
          counters: { ...counters },
          checkpoint: last,
          drift: core?.drift.report() ?? null,
          startedAt,
          takeoverMillis,
          stateBytes: core?.stateBytes() ?? 0
        }
      },

      /** Records a change, in a transaction, before its first effect; a known command id answers as it did then. */
      command: (commandId: string, change: CellChange) =>
        // A model is opened before the cell stands still for it; what is wrong with it is told under the lock.
        (change._tag === "UseModel" && change.digest !== null && context !== undefined
          ? Effect.ignore(context.model.check(change.digest))
          : Effect.void
        ).pipe(
          Effect.zipRight(
            lock.locked(
              Effect.gen(function* () {
                const live = context
                if (live === undefined) {
                  return yield* new CellUnavailable({
                    stream,
                    partition,
                    detail: pauseDetail ?? `it is ${paused ?? "starting"}`
                  })
                }
                return yield* applyChange(live, commandId, change)
              })
            )
          ),
          Effect.catchTags({
            StorageUnavailable: (error) =>
              Effect.fail(new CellUnavailable({ stream, partition, detail: error.detail })),
            Fenced: (error) => Effect.fail(new CellUnavailable({ stream, partition, detail: error.message }))
          })
        )
    }
  })
