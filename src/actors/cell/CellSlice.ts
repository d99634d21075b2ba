// One slice of a batch through the cell: take, score, decide, hand on. Commands enter between slices.
import { Effect } from "effect"
import type { ScorerUnavailable } from "../../schema/error/ModelError.ts"
import type { Fenced, StorageUnavailable } from "../../schema/error/StorageError.ts"
import type { RecordBatch, UnreadableRecords } from "../../schema/event/Batch.ts"
import type { DeadLetter } from "../../schema/event/DeadLetter.ts"
import { ASK_HEADER, type CellChange, CommandRefused } from "../../schema/protocol/CellProtocol.ts"
import type { Step } from "../../schema/stream/StreamDefinition.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"
import type { CommandKind, Metrics } from "../../services/observe/Metrics.ts"
import type { RunnerConfig } from "../../services/runtime/Settings.ts"
import { breakerLimits, closedBreaker, failed, passedBy, succeeded } from "../../services/score/breaker.ts"
import { chooseRung } from "../../services/score/ladder.ts"
import type { RowExplanation } from "../../services/score/Scorer.ts"
import type { CellKey, Checkpoint, RecordedCommand } from "../../services/state/Checkpoint.ts"
import { alertOf, verdictOf } from "./alertOf.ts"
import type { CellCore } from "./cellCore.ts"
import type { CellHandle } from "./CellHandle.ts"
import { letterOf, letterOfStretch } from "./deadLetterOf.ts"
import type { Emitter } from "./Emitter.ts"
import type { CellModel } from "./Models.ts"
import { PoisonRecord } from "./PoisonRecord.ts"

/** What a slice needs of the run that it belongs to. */
export interface SliceContext {
  readonly key: CellKey
  readonly topic: string
  readonly epoch: number
  readonly core: CellCore
  readonly commands: Array<RecordedCommand>
  readonly replayUntil: number
  readonly emitter: Emitter
  readonly handle: CellHandle
  readonly model: CellModel
  readonly store: Checkpoint["Type"]
  readonly metrics: Metrics["Type"]
  readonly settings: RunnerConfig
}

/** Batches until the first probe of a breaker that a replay found open. */
const PROBE_AFTER_REPLAY = 16

type SliceFailure = StorageUnavailable | Fenced

/** Processes records [from, to), or as many as fit; answers the first record not taken. */
export const processSlice = (
  context: SliceContext,
  batch: RecordBatch,
  from: number,
  to: number
): Effect.Effect<number, SliceFailure> =>
  Effect.gen(function* () {
    const { core, handle, key } = context
    const started = performance.now()
    const next = yield* guarded(batch, from, to, () => core.take(batch, from, to))
    const scoring = performance.now()
    const step = yield* scoreSlice(context, batch.offsets[from])
    const scored = performance.now()
    yield* guarded(batch, from, next, () => core.decide(step))
    const alerts = core.alertCount === 0 ? [] : yield* buildAlerts(context, batch, step)
    const letters = core.rejects.count === 0 ? [] : buryRejects(context, batch)
    if (batch.headers !== undefined) answerAskers(context, batch, from, next, step, alerts)
    handle.recent.add(batch, core, step)
    yield* context.emitter.offer({ alerts, letters })
    const counters = handle.counters
    counters.scored += core.scored
    counters.alerts += alerts.length
    counters.suppressed += core.suppressed
    counters.deadLetters += letters.length
    counters.duplicates += core.duplicates
    counters.late += core.late
    counters.ahead += core.ahead
    context.metrics.batch({
      stream: key.stream,
      partition: key.partition,
      path: step,
      records: next - from,
      scored: core.scored,
      alerts: alerts.length,
      suppressed: core.suppressed,
      duplicates: core.duplicates,
      late: core.late,
      ahead: core.ahead,
      batchSeconds: (performance.now() - started) / 1_000,
      scoreSeconds: (scored - scoring) / 1_000
    })
    return next
  })

/** The cell's own code must not fail on any record; where it does, the record is known by its place. */
const guarded = <A>(batch: RecordBatch, from: number, to: number, run: () => A): Effect.Effect<A> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(run())
    } catch (cause) {
      return Effect.die(new PoisonRecord(batch.offsets[from], batch.offsets[to - 1], cause))
    }
  })

/**
 * Scores the slice by the first healthy rung of the ladder. A batch is tried again until its breaker opens;
 * then the next rung scores it, from a recorded offset on, so that a replay takes the same turn.
 */
const scoreSlice = (context: SliceContext, offset: number): Effect.Effect<Step, SliceFailure> =>
  Effect.gen(function* () {
    const { core, model } = context
    const limits = breakerLimits(context.settings.score.breakerFailures, context.settings.score.breakerProbeBatches)
    const live = offset >= context.replayUntil
    const loaded = model.current()
    if (live && core.count > 0) {
      for (const [step, breaker] of Object.entries(core.breakers)) {
        core.breakers[step as Step] = passedBy(breaker, offset)
      }
    }
    for (;;) {
      const { step } = chooseRung(core.plan.ladder, loaded?.steps ?? [], core.breakers)
      if ((step !== "deep" && step !== "fast") || loaded === undefined || core.count === 0) return step
      const breaker = core.breakers[step] ?? closedBreaker
      const error = yield* loaded.score(step, core.rows, core.count, core.energies).pipe(
        Effect.as(undefined),
        Effect.catchAll((failure: ScorerUnavailable) => Effect.succeed(failure))
      )
      const next = error === undefined ? succeeded(breaker, offset) : failed(breaker, offset, error.message, limits)
      if (next.state !== breaker.state) {
        yield* moveBreaker(context, step, next.state === "open", offset, error?.message ?? "a probe succeeded")
      }
      core.breakers[step] = next
      if (error === undefined) return step
    }
  })

/** A step of the breaker holds from `offset` on, also in a replay: recorded before its first effect. */
const moveBreaker = (context: SliceContext, step: Step, open: boolean, offset: number, reason: string) =>
  Effect.gen(function* () {
    const change: CellChange = { _tag: "Breaker", step, open, reason }
    yield* context.store.record(context.key, context.epoch, `breaker-${step}-${open}-${offset}`, offset, change)
    applyState(context, change)
    context.metrics.breaker(context.key.stream, context.key.partition, step, open ? "open" : "closed")
    yield* Effect.logWarning(open ? `model rung ${step} is left` : `model rung ${step} is used again`, {
      offset,
      reason
    })
  })

/** Alerts of the slice with their explanations; an explanation that fails costs the details, not the alert. */
const buildAlerts = (
  context: SliceContext,
  batch: RecordBatch,
  step: Step
): Effect.Effect<ReadonlyArray<Alert>> =>
  Effect.gen(function* () {
    const { core, model } = context
    const loaded = model.current()
    let explained: ReadonlyArray<RowExplanation> = []
    if ((step === "deep" || step === "fast") && loaded !== undefined) {
      explained = yield* loaded
        .explain(step, core.alertRows(), core.alertCount)
        .pipe(Effect.orElseSucceed(() => []))
    }
    const alerts: Array<Alert> = []
    for (let i = 0; i < core.alertCount; i++) {
      alerts.push(alertOf(context, batch, step, i, explained[i], loaded?.manifest))
    }
    return alerts
  })

const buryRejects = (context: SliceContext, batch: RecordBatch): ReadonlyArray<DeadLetter> => {
  const { core, key, topic, metrics } = context
  const letters: Array<DeadLetter> = []
  for (let i = 0; i < core.rejects.count; i++) {
    const reason = core.rejects.reason[i]
    letters.push(letterOf(key, topic, batch, core.rejects.record[i], reason, core.rejects.detail[i], 1))
    metrics.deadLetters(key.stream, reason, 1)
  }
  return letters
}

/** Those who asked for a verdict get it now, before anything else is waited for. */
const answerAskers = (
  context: SliceContext,
  batch: RecordBatch,
  from: number,
  to: number,
  step: Step,
  alerts: ReadonlyArray<Alert>
): void => {
  for (const [record, headers] of batch.headers ?? []) {
    if (record < from || record >= to) continue
    const askId = headers[ASK_HEADER]
    if (askId !== undefined) context.handle.askers.answer(askId, verdictOf(context, batch, record, step, alerts))
  }
}

/** A stretch of the log that nobody can read goes to the dead letters by its offsets. */
export const buryStretch = (context: SliceContext, stretch: UnreadableRecords): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { key, topic } = context
    if (stretch.lastOffset < context.core.nextOffset && context.core.nextOffset > stretch.firstOffset) return Effect.void
    const reason = stretch.reason
    context.handle.counters.deadLetters += stretch.lastOffset - stretch.firstOffset + 1
    context.metrics.deadLetters(key.stream, reason, stretch.lastOffset - stretch.firstOffset + 1)
    return context.emitter.offer({ alerts: [], letters: [letterOfStretch(key, topic, stretch)] })
  })

const commandKinds: Readonly<Partial<Record<CellChange["_tag"], CommandKind>>> = {
  UseModel: "use-model",
  Quarantine: "quarantine",
  Release: "release",
  Override: "override",
  ClearOverride: "clear-override"
}

/** Takes a change asked for from outside: recorded first, then in force from the first offset nobody has seen. */
export const applyChange = (context: SliceContext, commandId: string, change: CellChange) =>
  Effect.gen(function* () {
    const { core, key, epoch, store } = context
    if ("device" in change && core.deviceRow(change.device) < 0 && change._tag === "Override") {
      return yield* new CommandRefused({
        reason: "unknown-device",
        detail: `stream ${key.stream} has no device ${change.device}; an override is for a device that was seen`
      })
    }
    if (change._tag === "UseModel" && change.digest !== null) {
      yield* context.model
        .check(change.digest)
        .pipe(Effect.mapError((error) => new CommandRefused({ reason: "model-refused", detail: error.message })))
    }
    const from = Math.max(0, core.nextOffset, context.replayUntil)
    const { command, fresh } = yield* store.record(key, epoch, commandId, from, change)
    if (!fresh && JSON.stringify(command.change) !== JSON.stringify(change)) {
      return yield* new CommandRefused({
        reason: "different-change",
        detail: `command ${commandId} was taken before for another change (${command.change._tag})`
      })
    }
    const kind = commandKinds[change._tag]
    if (kind !== undefined) context.metrics.command(kind, fresh ? "applied" : "repeated")
    if (fresh) {
      if (from <= core.nextOffset) yield* applyRecorded(context, command)
      else context.commands.push(command)
    }
    return { offset: command.fromOffset, epoch: command.epoch, fresh }
  })

/** Brings a recorded change into force. Never fails: a model that is gone leaves the rungs below it. */
export const applyRecorded = (context: SliceContext, command: RecordedCommand): Effect.Effect<void> =>
  Effect.gen(function* () {
    applyState(context, command.change)
    if (command.change._tag === "UseModel") yield* context.model.use(command.change.digest)
  })

const applyState = ({ core }: SliceContext, change: CellChange): void => {
  core.changed = true
  switch (change._tag) {
    case "UseModel":
      core.modelDigest = change.digest
      core.breakers = {}
      return
    case "Quarantine":
      return core.quarantine(change.device, true)
    case "Release":
      return core.quarantine(change.device, false)
    case "Override":
      return core.override(change.device, {
        thresholdShift: change.shift,
        mute: change.mute,
        untilMillis: change.until
      })
    case "ClearOverride":
      return core.override(change.device, undefined)
    case "Skip":
      core.skips.set(change.offset, change)
      return
    case "Breaker":
      core.breakers[change.step] = change.open
        ? { ...closedBreaker, state: "open", openings: 1, wait: PROBE_AFTER_REPLAY, reason: change.reason }
        : closedBreaker
      return
  }
}
