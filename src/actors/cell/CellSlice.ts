// One slice of a batch through the cell: take, score, decide, hand on. Commands enter between slices.
import { Effect } from "effect"
import type { ScorerUnavailable } from "../../schema/error/ModelError.ts"
import type { Fenced, StorageUnavailable } from "../../schema/error/StorageError.ts"
import type { RecordBatch, UnreadableRecords } from "../../schema/event/Batch.ts"
import type { DeadLetter } from "../../schema/event/DeadLetter.ts"
import { ASK_HEADER } from "../../schema/protocol/CellProtocol.ts"
import type { Step } from "../../schema/stream/StreamDefinition.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"
import { onward } from "../../services/runtime/atOnce.ts"
import { breakerLimits, closedBreaker, failed, passedBy, succeeded } from "../../services/score/breaker.ts"
import { chooseRung } from "../../services/score/ladder.ts"
import type { RowExplanation } from "../../services/score/Scorer.ts"
import { alertOf, verdictOf } from "./alertOf.ts"
import { moveBreaker } from "./CellCommands.ts"
import { letterOf, letterOfStretch } from "./deadLetterOf.ts"
import { PoisonRecord } from "./PoisonRecord.ts"
import type { SliceContext } from "./SliceContext.ts"

type SliceFailure = StorageUnavailable | Fenced

/**
 * Processes records [from, to), or as many as fit; answers the first record not taken. Begins at the call, and is
 * done with it where nothing has to be waited for: a model of this thread, no step of a breaker. Nobody may touch the
 * cell's state until it is done.
 */
export const processSlice = (
  context: SliceContext,
  batch: RecordBatch,
  from: number,
  to: number
): Effect.Effect<number, SliceFailure> => {
  const { core } = context
  const started = performance.now()
  const next = guarded(batch, from, to, () => core.take(batch, from, to))
  const scoring = performance.now()
  return onward(scoreSlice(context, batch.offsets[from]), (step) => {
    const scoreMillis = performance.now() - scoring
    guarded(batch, from, next, () => core.decide(step))
    return onward(core.alertCount === 0 ? noAlerts : buildAlerts(context, batch, step), (alerts) => {
      handOn(context, batch, from, next, step, alerts)
      report(context, next - from, step, alerts.length, performance.now() - started, scoreMillis)
      return Effect.succeed(next)
    })
  })
}

const noAlerts: Effect.Effect<ReadonlyArray<Alert>> = Effect.succeed([])

/** What the slice has come to goes to those who wait for it; askers first. */
const handOn = (
  context: SliceContext,
  batch: RecordBatch,
  from: number,
  next: number,
  step: Step,
  alerts: ReadonlyArray<Alert>
): void => {
  const { core, host, emitter } = context
  if (batch.headers !== undefined) answerAskers(context, batch, from, next, step, alerts)
  const letters = core.rejects.count === 0 ? [] : buryRejects(context, batch)
  host.recent.add(batch.offsets, core, step)
  if (alerts.length > 0 || letters.length > 0) emitter.offer({ alerts, letters })
  host.counters.deadLetters += letters.length
}

const report = (
  context: SliceContext,
  records: number,
  path: Step,
  alerts: number,
  millis: number,
  scoreMillis: number
): void => {
  const { core, host, key, metrics } = context
  const { counters } = host
  const { scored, suppressed, duplicates, late, ahead } = core
  counters.scored += scored
  counters.alerts += alerts
  counters.suppressed += suppressed
  counters.duplicates += duplicates
  counters.late += late
  counters.ahead += ahead
  metrics.batch({
    stream: key.stream,
    partition: key.partition,
    path,
    records,
    scored,
    alerts,
    suppressed,
    duplicates,
    late,
    ahead,
    batchSeconds: millis / 1_000,
    scoreSeconds: scoreMillis / 1_000
  })
}

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
    const { breakers } = core
    for (const step in breakers) {
      const breaker = breakers[step as Step]
      if (breaker !== undefined) breakers[step as Step] = passedBy(breaker, offset)
    }
  }
  return scoreByRung(context, offset)
}

const scoreByRung = (context: SliceContext, offset: number): Effect.Effect<Step, SliceFailure> => {
  const { core } = context
  const loaded = context.model.current()
  const { step } = chooseRung(core.plan.ladder, loaded?.steps ?? [], core.breakers)
  if ((step !== "deep" && step !== "fast") || loaded === undefined || core.count === 0) {
    return Effect.succeed(step)
  }
  const { scoreNow } = loaded
  if (scoreNow !== undefined) {
    return scored(context, step, offset, scoreNow(step, core.rows, core.count, core.energies))
  }
  return Effect.matchEffect(loaded.score(step, core.rows, core.count, core.energies), {
    onSuccess: () => scored(context, step, offset, undefined),
    onFailure: (error) => scored(context, step, offset, error)
  })
}

/** What the rung's breaker makes of the try: the step, or after an error whatever rung scores instead. */
const scored = (
  context: SliceContext,
  step: Step,
  offset: number,
  error: ScorerUnavailable | undefined
): Effect.Effect<Step, SliceFailure> => {
  const { breakers } = context.core
  const breaker = breakers[step] ?? closedBreaker
  const { breakerFailures, breakerProbeBatches } = context.settings.score
  const next =
    error === undefined
      ? succeeded(breaker, offset)
      : failed(breaker, offset, error.message, breakerLimits(breakerFailures, breakerProbeBatches))
  const told =
    next.state === breaker.state
      ? Effect.void
      : moveBreaker(context, step, next.state === "open", offset, error?.message ?? "a probe succeeded")
  return onward(told, () => {
    // A step of the breaker that was recorded has put its own in place.
    context.core.breakers[step] = next
    return error === undefined ? Effect.succeed(step) : scoreByRung(context, offset)
  })
}

/** Alerts of the slice with their explanations; an explanation that fails costs the details, not the alert. */
const buildAlerts = (
  context: SliceContext,
  batch: RecordBatch,
  step: Step
): Effect.Effect<ReadonlyArray<Alert>> => {
  const { core, model } = context
  const loaded = model.current()
  const explained =
    (step === "deep" || step === "fast") && loaded !== undefined
      ? Effect.orElseSucceed(loaded.explain(step, core.alertRows(), core.alertCount), () => [])
      : Effect.succeed([])
  return onward(explained, (explanations: ReadonlyArray<RowExplanation>) => {
    const alerts: Array<Alert> = []
    for (let i = 0; i < core.alertCount; i++) {
      alerts.push(alertOf(context, batch, step, i, explanations[i], loaded?.manifest))
    }
    return Effect.succeed(alerts)
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
    context.emitter.offer({ alerts: [], letters: [letterOfStretch(key, topic, stretch)] })
    return Effect.void
  })
