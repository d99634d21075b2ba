// One slice of a batch through the cell: take, score, decide, hand on. Commands enter between slices.
import { Effect } from "effect"
import type { Fenced, StorageUnavailable } from "../../schema/error/StorageError.ts"
import type { RecordBatch, UnreadableRecords } from "../../schema/event/Batch.ts"
import type { DeadLetter } from "../../schema/event/DeadLetter.ts"
import { ASK_HEADER } from "../../schema/protocol/CellProtocol.ts"
import type { Step } from "../../schema/stream/StreamDefinition.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"
import { breakerLimits, closedBreaker, failed, passedBy, succeeded } from "../../services/score/breaker.ts"
import { chooseRung } from "../../services/score/ladder.ts"
import { alertOf, verdictOf } from "./alertOf.ts"
import { moveBreaker } from "./CellCommands.ts"
import { letterOf, letterOfStretch } from "./deadLetterOf.ts"
import { PoisonRecord } from "./PoisonRecord.ts"
import type { SliceContext } from "./SliceContext.ts"
import { explainAlerts, type StepFailure, scoreByStep } from "./Stages.ts"

type SliceFailure = StorageUnavailable | Fenced

/** Processes records [from, to), or as many as fit; answers the first record not taken. */
export const processSlice = (
  context: SliceContext,
  batch: RecordBatch,
  from: number,
  to: number
): Effect.Effect<number, SliceFailure> =>
  Effect.gen(function* () {
    const { core, host, key } = context
    const started = performance.now()
    const next = guarded(batch, from, to, () => core.take(batch, from, to))
    const scoring = performance.now()
    const step = yield* scoreSlice(context, batch.offsets[from])
    const scored = performance.now()
    guarded(batch, from, next, () => core.decide(step))
    const alerts = core.alertCount === 0 ? [] : yield* buildAlerts(context, batch, step)
    const letters = core.rejects.count === 0 ? [] : buryRejects(context, batch)
    if (batch.headers !== undefined) answerAskers(context, batch, from, next, step, alerts)
    host.recent.add(batch.offsets, core, step)
    if (alerts.length > 0 || letters.length > 0) yield* context.emitter.offer({ alerts, letters })
    const counters = host.counters
    counters.scored += core.scored
    counters.secondStage += core.staging.suspected
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
      suspected: core.staging.staged ? core.staging.suspected : undefined,
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

/** The cell's own code must not fail on any record; where it does, the run dies of it, and the record is known by its place. */
const guarded = <A>(batch: RecordBatch, from: number, to: number, run: () => A): A => {
  try {
    return run()
  } catch (cause) {
    throw new PoisonRecord(batch.offsets[from], batch.offsets[to - 1], cause)
  }
}

/**
 * Scores the slice by the first healthy rung of the ladder. A batch is tried again until its breaker opens;
 * then the next rung scores it, from a recorded offset on, so that a replay takes the same turn.
 */
const scoreSlice = (context: SliceContext, offset: number): Effect.Effect<Step, SliceFailure> => {
  const { core } = context
  if (offset >= context.replayUntil && core.count > 0) {
    for (const [step, breaker] of Object.entries(core.breakers)) {
      core.breakers[step as Step] = passedBy(breaker, offset)
    }
  }
  return scoreByRung(context, offset)
}

const scoreByRung = (context: SliceContext, offset: number): Effect.Effect<Step, SliceFailure> => {
  const { core } = context
  const loaded = context.model.current()
  const { step } = chooseRung(core.plan.ladder, loaded?.steps ?? [], core.breakers, core.staging.declared)
  if ((step !== "deep" && step !== "fast") || loaded === undefined || core.count === 0) {
    return Effect.succeed(step)
  }
  return Effect.matchEffect(scoreByStep(core, loaded, step), {
    onSuccess: () => {
      if (step === "fast" || !core.staging.declared) return Effect.as(succeed(context, step, offset), step)
      const first = succeed(context, "fast", offset)
      // Where no event went on, the deep energy's probe is still to come.
      const both =
        core.staging.suspected > 0 ? Effect.zipRight(first, succeed(context, "deep", offset)) : first
      return Effect.as(both, step)
    },
    onFailure: (failure: StepFailure) =>
      Effect.flatMap(fail(context, failure, offset), () => scoreByRung(context, offset))
  })
}

const succeed = (context: SliceContext, step: Step, offset: number): Effect.Effect<void, SliceFailure> => {
  const { breakers } = context.core
  const breaker = breakers[step] ?? closedBreaker
  const next = succeeded(breaker, offset)
  const moved = next.state !== breaker.state
  const told = moved ? moveBreaker(context, step, false, offset, "a probe succeeded") : Effect.void
  return Effect.map(told, () => {
    context.core.breakers[step] = next
  })
}

const fail = (
  context: SliceContext,
  { step, error }: StepFailure,
  offset: number
): Effect.Effect<void, SliceFailure> => {
  const { breakerFailures, breakerProbeBatches } = context.settings.score
  const limits = breakerLimits(breakerFailures, breakerProbeBatches)
  const breaker = context.core.breakers[step] ?? closedBreaker
  const next = failed(breaker, offset, error.message, limits)
  const moved = next.state !== breaker.state
  const told = moved ? moveBreaker(context, step, next.state === "open", offset, error.message) : Effect.void
  return Effect.map(told, () => {
    context.core.breakers[step] = next
  })
}

/** Alerts of the slice with their explanations. */
const buildAlerts = (
  context: SliceContext,
  batch: RecordBatch,
  step: Step
): Effect.Effect<ReadonlyArray<Alert>> => {
  const { core, model } = context
  const loaded = model.current()
  return Effect.map(explainAlerts(core, loaded), (explained) => {
    const alerts: Array<Alert> = []
    for (let i = 0; i < core.alertCount; i++) {
      alerts.push(alertOf(context, batch, step, i, explained[i], loaded?.manifest))
    }
    return alerts
  })
}

const buryRejects = (context: SliceContext, batch: RecordBatch): ReadonlyArray<DeadLetter> => {
  const { core, key, topic, metrics } = context
  const letters: Array<DeadLetter> = []
  for (let i = 0; i < core.rejects.count; i++) {
    const reason = core.rejects.reason[i]
    const record = core.rejects.record[i]
    const attempts = core.skips.get(batch.offsets[record])?.attempts ?? 1
    letters.push(letterOf(key, topic, batch, record, reason, core.rejects.detail[i], attempts))
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
    if (askId !== undefined)
      context.host.askers.answer(askId, verdictOf(context, batch, record, step, alerts))
  }
}

/** A stretch of the log that nobody can read goes to the dead letters by its offsets. */
export const buryStretch = (context: SliceContext, stretch: UnreadableRecords): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { key, topic } = context
    const reason = stretch.reason
    context.host.counters.deadLetters += stretch.lastOffset - stretch.firstOffset + 1
    context.metrics.deadLetters(key.stream, reason, stretch.lastOffset - stretch.firstOffset + 1)
    return context.emitter.offer({ alerts: [], letters: [letterOfStretch(key, topic, stretch)] })
  })
