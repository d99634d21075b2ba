// Remembers answers by idempotency key, so that a request sent again is answered and not done again.
import { Clock, Deferred, Effect, type Exit } from "effect"
import { ApiProblem } from "../../schema/error/ApiError.ts"

export const ANSWER_KEPT_MILLIS = 10 * 60_000
/** Answers remembered at most; the oldest go first. */
export const ANSWERS_MAX = 10_000

interface Entry<A> {
  readonly fingerprint: string
  readonly at: number
  readonly answer: Deferred.Deferred<Exit.Exit<A, ApiProblem>>
}

export interface Answers<A> {
  /**
   * Runs `work` once per key: a second request with the same fingerprint gets the first's answer, also while
   * that is still running; with another fingerprint it fails with 422. Failures are not remembered.
   */
  readonly once: (
    key: string,
    fingerprint: string,
    work: Effect.Effect<A, ApiProblem>
  ) => Effect.Effect<A, ApiProblem>
  readonly count: () => number
}

/** In the memory of this runner: after a restart, or on another runner, the events' own ids tell repeats apart. */
export const makeAnswers = <A>(answersMax = ANSWERS_MAX): Answers<A> => {
  const entries = new Map<string, Entry<A>>()
  const forget = (now: number) => {
    // A map keeps the order of insertion, so the oldest come first.
    for (const [key, entry] of entries) {
      if (now - entry.at < ANSWER_KEPT_MILLIS && entries.size < answersMax) break
      entries.delete(key)
    }
  }
  const once: Answers<A>["once"] = (key, fingerprint, work) =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const known = entries.get(key)
      if (known !== undefined && now - known.at < ANSWER_KEPT_MILLIS) {
        if (known.fingerprint !== fingerprint) {
          return yield* ApiProblem.of(
            "idempotency-key-reused",
            "This idempotency key came with another body before; nothing was done. Use a new key for a new request."
          ).raise
        }
        return yield* Effect.flatten(Deferred.await(known.answer))
      }
      forget(now)
      entries.delete(key)
      const answer = yield* Deferred.make<Exit.Exit<A, ApiProblem>>()
      const entry: Entry<A> = { fingerprint, at: now, answer }
      entries.set(key, entry)
      return yield* Effect.onExit(work, (exit) =>
        Effect.suspend(() => {
          if (exit._tag === "Failure" && entries.get(key) === entry) entries.delete(key)
          return Deferred.succeed(entry.answer, exit)
        })
      )
    })
  return { once, count: () => entries.size }
}
