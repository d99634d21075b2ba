// One event whose verdict is waited for: appended, judged by its cell, or by the rules where that takes too long.
import { randomUUID } from "node:crypto"
import { Effect, Exit, Runtime } from "effect"
import { ApiProblem } from "../../schema/error/ApiError.ts"
import { ASK_HEADER } from "../../schema/protocol/CellProtocol.ts"
import type { Verdict } from "../../schema/verdict/Verdict.ts"
import { Asks } from "../observe/Asks.ts"
import { Actors } from "./Actors.ts"
import { makeDeadlines } from "./deadlines.ts"
import { FallbackRules } from "./FallbackRules.ts"
import { type CheckedBatch, Ingestion } from "./Ingestion.ts"

/** The declared time is kept to within this much, and never passed. */
const TICK_MILLIS = 4

/**
 * Calls `answer` once. The append goes on after the answer, and releases the batch when it is done. The answer of
 * this function stops waiting; `answer` is not called any more then.
 */
export type Judge = (batch: CheckedBatch, startedAt: number, answer: (verdict: Verdict) => void) => () => void

export const makeJudge = Effect.gen(function* () {
  const actors = yield* Actors
  const asks = yield* Asks
  const ingestion = yield* Ingestion
  const rules = yield* FallbackRules
  const deadlines = yield* makeDeadlines(TICK_MILLIS)
  const runFork = Runtime.runFork(yield* Effect.runtime<never>())

  const fallback = ({ served, records: [record] }: CheckedBatch, offset: number | null): Verdict => {
    const verdict = rules.judge(served.plan.stream, record.value, record.headers)
    return {
      stream: served.plan.stream,
      device: Buffer.from(record.key).toString("utf8"),
      partition: record.partition,
      offset,
      anomalous: verdict.decision === "alert" || verdict.decision === "escalate",
      decision: verdict.decision,
      rule: verdict.rule,
      severity: verdict.severity,
      fallback: true,
      path: "rules",
      model: null,
      energy: null,
      pvalue: null,
      alertId: null,
      contributions: [],
      rejected: null
    }
  }

  /** Asks a cell on another runner; null where it can't answer, so that nobody waits in vain. */
  const askAway = (
    stream: string,
    partition: number,
    askId: string,
    left: number,
    take: (verdict: Verdict | null) => void
  ): (() => void) => {
    const fiber = runFork(actors.judge(stream, partition, askId, left))
    fiber.addObserver((exit) => take(Exit.isSuccess(exit) ? exit.value : null))
    return () => fiber.unsafeInterruptAsFork(fiber.id())
  }

  const judge: Judge = (batch, startedAt, answer) => {
    const { served, records } = batch
    const [record] = records
    const { stream } = served.plan
    const { timeout } = served.definition.score
    const askId = randomUUID()
    let offset: number | null = null
    let open = true
    let stopAsking: (() => void) | undefined
    let stopTimer: (() => void) | undefined
    const stop = () => {
      open = false
      stopAsking?.()
      stopTimer?.()
    }
    const settle = (verdict: Verdict | null) => {
      if (!open) return
      stop()
      answer(verdict ?? fallback(batch, offset))
    }
    stopTimer = deadlines.add(startedAt + timeout - TICK_MILLIS, () => settle(null))
    const here = asks.of(stream, record.partition)
    stopAsking =
      here === undefined ? askAway(stream, record.partition, askId, timeout, settle) : here(askId, settle)
    const asked = { ...record, headers: { ...record.headers, [ASK_HEADER]: askId } }
    ingestion.append(served, [asked], (appended) => {
      batch.release()
      // An event that did not reach the log gets no verdict: no use in waiting.
      if (appended instanceof ApiProblem) settle(null)
      else offset = appended[0].offset
    })
    return stop
  }
  return judge
})
