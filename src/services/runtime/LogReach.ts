// Whether this runner reaches the event log: told by whoever uses it, asked by whoever divides the region's cells.
import { Context, Layer } from "effect"

export interface LogReachService {
  readonly answered: () => void
  readonly failed: () => void
  /**
   * Has it answered whenever it was asked since this was asked last? Time in which the process stood still is nobody's
   * failure: what counts is an answer that did not come.
   */
  readonly held: () => boolean
}

export const makeLogReach = (): LogReachService => {
  let away = false
  let failedSince = false
  return {
    answered: () => {
      away = false
    },
    failed: () => {
      away = true
      failedSince = true
    },
    held: () => {
      const held = !away && !failedSince
      failedSince = false
      return held
    }
  }
}

export class LogReach extends Context.Tag("groundstate/services/runtime/LogReach")<
  LogReach,
  LogReachService
>() {
  static readonly layer = Layer.sync(LogReach, makeLogReach)
}
