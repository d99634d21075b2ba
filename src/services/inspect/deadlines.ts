// Deadlines of many waits at once: one sleeping fiber for all of them, to within a tick.
import { Clock, Effect, Runtime } from "effect"

export interface Deadlines {
  /** Calls `late` once, at `at` (epoch ms) or up to a tick later. The answer calls it off. What it throws is logged. */
  readonly add: (at: number, late: () => void) => () => void
}

interface Entry {
  readonly at: number
  readonly late: () => void
}

/** The fiber runs only while something waits, and outlives its maker's scope for as long. */
export const makeDeadlines = (tickMillis: number): Effect.Effect<Deadlines> =>
  Effect.map(Effect.runtime<never>(), (runtime) => {
    const runFork = Runtime.runFork(runtime)
    const entries = new Set<Entry>()
    let runs = false
    const look = Effect.map(Clock.currentTimeMillis, (now) => {
      for (const entry of entries) {
        if (entry.at > now) continue
        entries.delete(entry)
        try {
          entry.late()
        } catch (cause) {
          // The others are not to wait for ever because of one.
          runFork(Effect.logError("A deadline's own code failed", cause))
        }
      }
      runs = entries.size > 0
      return runs
    })
    const ticking = Effect.repeat(Effect.zipRight(Effect.sleep(tickMillis), look), { while: (more) => more })
    return {
      add: (at, late) => {
        const entry = { at, late }
        entries.add(entry)
        if (!runs) {
          runs = true
          runFork(ticking)
        }
        return () => void entries.delete(entry)
      }
    }
  })
