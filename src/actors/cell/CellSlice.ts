// One slice of a batch through the cell: take, score, decide, hand on. Commands enter between slices.
import { Effect } from "effect"
import type { Fenced, StorageUnavailable } from "../../schema/error/StorageError.ts"
import type { RecordBatch, UnreadableRecords } from "../../schema/event/Batch.ts"
import type { DeadLetter } from "../../schema/event/DeadLetter.ts"
import { ASK_HEADER } from "../../schema/protocol/CellProtocol.ts"
import type { Step } from "../../schema/stream/StreamDefinition.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"
import { isDone, onward } from "../../services/runtime/atOnce.ts"
import { closedBreaker, failed, succeeded } from "../../services/score/breaker.ts"
import { chooseRung } from "../../services/score/ladder.ts"
import { alertOf, inOrder, silencesOf, verdictOf } from "./alertOf.ts"
import { openBreaker } from "./CellCommands.ts"
import { letterOf, letterOfStretch } from "./deadLetterOf.ts"
import { limitsOf } from "./ModelProbe.ts"
import { PoisonRecord } from "./PoisonRecord.ts"
import type { SliceContext } from "./SliceContext.ts"
import { explainAlerts, type ModelStep, type StepFailure, scoreByStep } from "./Stages.ts"

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
  return onward(scoreByRung(context, batch.offsets[from]), (step) => {
    const scoreMillis = performance.now() - scoring
    guarded(batch, from, next, () => core.decide(step))
    return onward(
      core.alertCount + core.silences().length === 0 ? noAlerts : buildAlerts(context, batch, step),
      (alerts) => {
        handOn(context, batch, from, next, step, alerts)
        report(context, next - from, step, alerts.length, performance.now() - started, scoreMillis)
        return Effect.succeed(next)
      }
    )
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
  const { scored, suppressed, duplicates, late, ahead, staging } = core
  const drift = core.drift.news()
  if (drift !== undefined) metrics.drift(key.stream, key.partition, drift)
  counters.scored += scored
  counters.secondStage += staging.suspected
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
    suspected: staging.staged ? staging.suspected : undefined,
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
 * then the next rung scores it, from a recorded offset on, so that a replay takes the same turn. `ModelProbe` finds out
 * when the rung is well again.
 */
const scoreByRung = (
  context: SliceContext,
  offset: number,
  begun = performance.now()
): Effect.Effect<Step, SliceFailure> => {
  const { core } = context
  const loaded = context.model.current()
  const { step } = chooseRung(core.plan.ladder, loaded?.steps ?? [], core.breakers, core.staging.declared)
  if ((step !== "deep" && step !== "fast") || loaded === undefined || core.count === 0) {
    return Effect.succeed(step)
  }
  const tried = scoreByStep(core, loaded, step)
  const passed = (): Step => {
    passedStep(context, step)
    return step
  }
  if (isDone(tried)) return Effect.succeed(passed())
  return Effect.matchEffect(tried, {
    onSuccess: () => Effect.succeed(passed()),
    onFailure: (failure: StepFailure) =>
      Effect.flatMap(
        mayHaveScored(context, failure, offset, performance.now() - begun)
          ? Effect.sleep(AGAIN_WAIT)
          : missedStep(context, failure, offset),
        () => scoreByRung(context, offset, begun)
      )
  })
}

/** Between two tries of a batch that the owner before may have scored. */
const AGAIN_WAIT = "500 millis"
/** No longer, so that the cell does not count as one that stands still. */
const AGAIN_MILLIS = 20_000

/**
 * What the owner before may have said by the model is not to be said by another rung because the worker here hangs or
 * is not there yet: that has nothing to do with the events.
 */
const mayHaveScored = (
  { replayUntil }: SliceContext,
  { error }: StepFailure,
  offset: number,
  millis: number
): boolean =>
  offset < replayUntil &&
  millis < AGAIN_MILLIS &&
  (error.reason === "timeout" || error.reason === "replacing")

/** The breakers hear that the step has scored; in two stages that of the deep energy only where an event went on to it. */
const passedStep = ({ core }: SliceContext, step: ModelStep): void => {
  const { breakers, staging } = core
  const both = step === "deep" && staging.declared
  countPassed(breakers, both ? "fast" : step)
  if (both && staging.suspected > 0) countPassed(breakers, "deep")
}

const countPassed = (breakers: SliceContext["core"]["breakers"], step: ModelStep): void => {
  const breaker = breakers[step]
  if (breaker !== undefined) breakers[step] = succeeded(breaker)
}

const missedStep = (
  context: SliceContext,
  { step, error }: StepFailure,
  offset: number
): Effect.Effect<void, SliceFailure> => {
  const breaker = context.core.breakers[step] ?? closedBreaker
  const next = failed(breaker, offset, error.message, limitsOf(context), performance.now())
  const moved = next.state !== breaker.state
  const told = moved ? openBreaker(context, step, offset, error.message) : Effect.void
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
  return onward(explainAlerts(core, loaded), (explained) => {
    const alerts: Array<Alert> = []
    for (let i = 0; i < core.alertCount; i++) {
      alerts.push(alertOf(context, batch, step, i, explained[i], loaded?.manifest))
    }
    return Effect.succeed(inOrder(alerts, silencesOf(context, batch)))
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
