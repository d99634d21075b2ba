// Finds out, beside the loop, when a rung that was left is well again; its return is recorded with an offset.
import { Cause, Effect, Exit, Option, type Scope } from "effect"
import { breakerLimits, isDue, probeFailed, probing } from "../../services/score/breaker.ts"
import type { LoadedModel } from "../../services/score/Scorer.ts"
import { recordFrom } from "./CellCommands.ts"
import type { CellHandle } from "./CellHandle.ts"
import type { SliceContext } from "./SliceContext.ts"
import type { ModelStep } from "./Stages.ts"

/** Rows of the last slice that a probe is made of, at most. */
const PROBE_ROWS_MAX = 256

export const limitsOf = ({ settings }: SliceContext) =>
  breakerLimits(settings.score.breakerFailures, settings.score.breakerProbeEvery)

/**
 * Probes with rows of the last slice, which the rungs below have scored: no event waits for it, however long the model
 * takes. What it answers is done at once where no probe is due.
 */
export const probeModel = (handle: CellHandle, context: SliceContext) => {
  const { core, key, metrics } = context
  const probe = (step: ModelStep, loaded: LoadedModel) => {
    const breaker = core.breakers[step]!
    const under = probing(breaker)
    core.breakers[step] = under
    const count = Math.min(core.count, PROBE_ROWS_MAX)
    const rows = core.rows.slice(0, count * core.width)
    /** Another model, or none, may have come into force meanwhile. */
    const stands = () => core.breakers[step] === under && context.model.current() === loaded
    return Effect.gen(function* () {
      const scored = yield* Effect.exit(loaded.score(step, rows, count, new Float32Array(count)))
      if (Exit.isSuccess(scored)) {
        const change = { _tag: "Breaker", step, open: false, reason: "a probe succeeded" } as const
        yield* handle.lock.locked(
          Effect.suspend(() => {
            if (context.over !== undefined || !stands()) return Effect.void
            const { epoch, moves } = context
            const offset = core.nextOffset
            context.moves = moves + 1
            return recordFrom(context, `probe-${epoch}-${offset}-${moves}`, offset, change, offset).pipe(
              Effect.tap(() => Effect.sync(() => metrics.breaker(key.stream, key.partition, step, "closed"))),
              Effect.zipRight(
                Effect.annotateLogs(Effect.logWarning(`model rung ${step} is used again`), { offset })
              )
            )
          })
        )
      } else if (stands()) {
        const error = Option.getOrUndefined(Cause.failureOption(scored.cause))
        const reason = error?.message ?? Cause.pretty(scored.cause)
        const taken = error?.reason !== "replacing"
        core.breakers[step] = probeFailed(breaker, reason, taken, limitsOf(context), performance.now())
      }
    }).pipe(
      // Whether it was recorded the next run finds out: this one is over by then.
      Effect.catchAllCause((cause) =>
        Effect.logWarning(`model rung ${step} is not used again yet`, Cause.pretty(cause))
      )
    )
  }
  return (): Effect.Effect<unknown, never, Scope.Scope> => {
    const { breakers } = core
    for (const name in breakers) {
      const step = name as ModelStep
      const breaker = breakers[step]
      if (breaker === undefined || breaker.state !== "open" || core.count === 0) continue
      const loaded = context.model.current()
      if (loaded === undefined || !loaded.steps.includes(step)) continue
      // What the owner before has said of these offsets is said as it was.
      if (core.nextOffset < context.replayUntil || !isDue(breaker, performance.now())) continue
      return Effect.forkScoped(probe(step, loaded))
    }
    return Effect.void
  }
}
