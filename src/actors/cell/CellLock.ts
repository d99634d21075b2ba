// Who works on a cell's state: its loop, slice by slice, and now and then a command or a snapshot between two slices.
import { Effect } from "effect"

export interface CellLock {
  /** Enters at once where nobody is in. */
  readonly tryEnter: (who: object) => boolean
  readonly enter: (who: object) => Effect.Effect<void>
  /** Whoever has waited longest comes in next. Nothing happens where `who` is not in, and does not wait. */
  readonly leave: (who: object) => void
  /** Runs alone. */
  readonly locked: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/**
 * A semaphore of one that can be entered without an effect, as the loop does a thousand times a second. It knows who
 * is in, so that one `leave` at the end of a fiber is enough, wherever it was interrupted.
 */
export const makeCellLock = (): CellLock => {
  let inside: object | undefined
  const waiting = new Map<object, () => void>()
  const tryEnter = (who: object): boolean => {
    if (inside !== undefined) return false
    inside = who
    return true
  }
  const enter = (who: object): Effect.Effect<void> =>
    Effect.async((resume) => {
      if (tryEnter(who)) resume(Effect.void)
      else waiting.set(who, () => resume(Effect.void))
    })
  const leave = (who: object): void => {
    waiting.delete(who)
    if (inside !== who) return
    inside = undefined
    for (const [next, come] of waiting) {
      waiting.delete(next)
      inside = next
      return come()
    }
  }
  return {
    tryEnter,
    enter,
    leave,
    locked: (effect) =>
      Effect.suspend(() => {
        const who = {}
        return Effect.ensuring(
          Effect.zipRight(enter(who), effect),
          Effect.sync(() => leave(who))
        )
      })
  }
}
