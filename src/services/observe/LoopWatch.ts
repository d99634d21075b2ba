// Alarms where the event loop does not turn: long blocks as events, a lasting delay as a part that is not well.
import { monitorEventLoopDelay, performance } from "node:perf_hooks"
import { Effect, Layer } from "effect"
import { Health } from "./Health.ts"
import { Metrics } from "./Metrics.ts"
import { RegionEvents } from "./RegionEvents.ts"

const LOOK_MILLIS = 250
/** A block of this length or more is an event of its own: locks, pings and leases suffer from it. */
export const BLOCKED_MILLIS = 1_000
/** Delay that 99 of 100 turns stay below, over `DELAY_LOOKS`; more makes the runner one that is not well. */
export const DELAY_P99_MILLIS = 50
const DELAY_LOOKS = 40
const RESOLUTION_MILLIS = 10
const COMPONENT = "event loop"

/** Never fails. The runner stays ready: others see that it is slow before they see that it is gone. */
export const layer = Layer.scopedDiscard(
  Effect.gen(function* () {
    const health = yield* Health
    const metrics = yield* Metrics
    const events = yield* RegionEvents
    const delay = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const made = monitorEventLoopDelay({ resolution: RESOLUTION_MILLIS })
        made.enable()
        return made
      }),
      (made) => Effect.sync(() => made.disable())
    )
    let at = performance.now()
    let looks = 0
    const look = Effect.suspend(() => {
      const now = performance.now()
      const blocked = now - at - LOOK_MILLIS
      at = now
      if (++looks >= DELAY_LOOKS) {
        looks = 0
        const p99 = Math.max(0, delay.percentile(99) / 1e6 - RESOLUTION_MILLIS)
        delay.reset()
        const well = p99 <= DELAY_P99_MILLIS
        const reason = well
          ? null
          : `turns come up to ${Math.round(p99)} ms late (p99): the runner wants a core of its own, or fewer cells`
        health.report(COMPONENT, { ready: well, required: false, reason })
      }
      if (blocked < BLOCKED_MILLIS) return Effect.void
      metrics.loopBlocked()
      const detail = `This runner did nothing for ${(blocked / 1_000).toFixed(1)} s: its event loop was blocked, or the process stood still.`
      events.tell({ kind: "loop-blocked", detail })
      return Effect.logWarning(detail)
    })
    yield* look.pipe(Effect.delay(LOOK_MILLIS), Effect.forever, Effect.forkScoped)
  })
)
