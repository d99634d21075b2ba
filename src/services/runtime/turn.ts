// Giving others their turn: sockets, timers and fibers that wait behind work which holds the event loop.
import { Effect } from "effect"

/** One round of the event loop. `Effect.yieldNow` lets other fibers run, but no socket. */
export const turn: Effect.Effect<void> = Effect.async((resume) => {
  setImmediate(() => resume(Effect.void))
})
