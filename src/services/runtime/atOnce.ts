// Effects that are done before they are run: the hot loop's steps nearly always are, and then cost no fiber a step.
import { Effect, Exit } from "effect"

/** What it has come to, where it is a success that needs no running. */
export const isDone = <A>(effect: Effect.Effect<A, unknown, unknown>): effect is Exit.Success<A, never> =>
  Exit.isExit(effect) && Exit.isSuccess(effect)

/** `Effect.flatMap`, but at once where the first is done. Throws what `next` throws then. */
export const onward = <A, E, R, B, E2, R2>(
  effect: Effect.Effect<A, E, R>,
  next: (value: A) => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E | E2, R | R2> => (isDone(effect) ? next(effect.value) : Effect.flatMap(effect, next))
