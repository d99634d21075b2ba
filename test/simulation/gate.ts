// Every request of a stand-in to its tables passes a gate: here at once, in the simulation when the schedule says so.
import { Effect, type Exit } from "effect"

/**
 * `apply` does all of the request in one step, as a transaction does; it may never be called, and its answer may
 * not be heard: then the caller hears `lost`, or nothing if it is gone.
 */
export type Gate = <A, E>(
  what: string,
  apply: () => Exit.Exit<A, E>,
  lost: (detail: string) => E
) => Effect.Effect<A, E>

export const openGate: Gate = (_, apply) => Effect.suspend(apply)
