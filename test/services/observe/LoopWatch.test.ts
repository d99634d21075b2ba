// F36 an event loop that is blocked is told: by an event, a metric and a line of the log.
import { expect, it } from "@effect/vitest"
import { Deferred, Effect, Layer, Logger } from "effect"
import { Health } from "../../../src/services/observe/Health.ts"
import * as LoopWatch from "../../../src/services/observe/LoopWatch.ts"
import { Metrics } from "../../../src/services/observe/Metrics.ts"
import { RegionEvents, type Told } from "../../../src/services/observe/RegionEvents.ts"

const BLOCK_MILLIS = 2_000

it.live("is told with how long it stood, once", () =>
  Effect.gen(function* () {
    const told: Array<Told> = []
    const first = yield* Deferred.make<void>()
    const events = Layer.succeed(RegionEvents, {
      tell: (event) => {
        told.push(event)
        Deferred.unsafeDone(first, Effect.void)
      },
      list: () => Effect.succeed([]),
      after: () => Effect.succeed([]),
      newest: Effect.succeed(0)
    })
    const exposition = yield* Effect.gen(function* () {
      const until = performance.now() + BLOCK_MILLIS
      while (performance.now() < until);
      yield* Deferred.await(first)
      return yield* (yield* Metrics).exposition
    }).pipe(
      Effect.provide(
        LoopWatch.layer.pipe(
          Layer.provideMerge(Layer.mergeAll(Health.layer, Metrics.layer)),
          Layer.provide(events),
          Layer.provide(Logger.remove(Logger.defaultLogger))
        )
      )
    )
    expect(told).toHaveLength(1)
    const seconds = Number(/for ([\d.]+) s/.exec(told[0].detail)?.[1])
    expect([told[0].kind, seconds >= BLOCK_MILLIS / 1_000 - 0.3]).toEqual(["loop-blocked", true])
    expect(exposition).toContain("groundstate_event_loop_blocked_total 1")
  })
)
