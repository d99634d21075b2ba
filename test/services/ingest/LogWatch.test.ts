// F14 a log that takes nothing is told by readiness until it takes something again, whether or not anybody tries.
import { expect, it } from "@effect/vitest"
import { Effect, Layer, Logger, Ref, TestClock } from "effect"
import { LogUnavailable } from "../../../src/schema/error/IngestError.ts"
import { EventLog } from "../../../src/services/ingest/EventLog.ts"
import * as LogWatch from "../../../src/services/ingest/LogWatch.ts"
import { Health } from "../../../src/services/observe/Health.ts"
import { LogReach } from "../../../src/services/runtime/LogReach.ts"

const full = new LogUnavailable({ topic: "flows", operation: "append", detail: "database or disk is full" })

/** What is asked of a log that is full or not. */
const logOf = (state: { append: boolean; ping: boolean }, asked: Ref.Ref<number>) =>
  Layer.succeed(EventLog, {
    ensureTopic: () => Effect.succeed(1),
    partitions: () => Effect.succeed(1),
    append: () => Effect.suspend(() => (state.append ? Effect.succeed([]) : Effect.fail(full))),
    open: () => Effect.die("nobody reads here"),
    ping: Effect.zipRight(
      Ref.update(asked, (n) => n + 1),
      Effect.suspend(() => (state.ping ? Effect.void : Effect.fail(full)))
    )
  })

const watched = <A, E>(
  state: { append: boolean; ping: boolean },
  use: (
    log: typeof EventLog.Service,
    health: typeof Health.Service,
    asked: Effect.Effect<number>,
    reach: typeof LogReach.Service
  ) => Effect.Effect<A, E>,
  always = false
) =>
  Effect.gen(function* () {
    const asked = yield* Ref.make(0)
    return yield* Effect.gen(function* () {
      return yield* use(yield* EventLog, yield* Health, Ref.get(asked), yield* LogReach)
    }).pipe(
      Effect.provide(
        LogWatch.layer({ always }).pipe(
          Layer.provide(logOf(state, asked)),
          Layer.provideMerge(Health.layer),
          Layer.provideMerge(LogReach.layer),
          Layer.provide(Logger.remove(Logger.defaultLogger))
        )
      )
    )
  })

const reasonOf = (health: typeof Health.Service) =>
  health.readiness().components.find(({ component }) => component === "log")?.reason

it.effect("from the first append that fails, until the log takes something again", () => {
  const state = { append: false, ping: false }
  return watched(state, (log, health, asked) =>
    Effect.gen(function* () {
      health.report("cells", { ready: true, reason: null })
      expect(yield* Effect.flip(log.append("flows", []))).toBe(full)
      yield* TestClock.adjust("3 seconds")
      expect(health.readiness().ready).toBe(false)
      expect(reasonOf(health)).toContain("disk is full")
      // Nobody appends meanwhile.
      expect(yield* asked).toBe(4)
      state.ping = true
      yield* TestClock.adjust("1 second")
      expect(health.readiness().ready).toBe(true)
      yield* TestClock.adjust("1 minute")
      expect(yield* asked).toBe(5)
    })
  )
})

it.effect("not where the log is there and refused one append", () => {
  const state = { append: false, ping: true }
  return watched(state, (log, health, asked) =>
    Effect.gen(function* () {
      yield* Effect.flip(log.append("flows", []))
      yield* TestClock.adjust("1 second")
      expect(yield* asked).toBe(1)
      expect([health.readiness().ready, reasonOf(health)]).toEqual([true, null])
    })
  )
})

it.effect("F11 from a second after it was lost where it is asked always, though nobody appends", () => {
  const state = { append: true, ping: true }
  return watched(
    state,
    (_, health, __, reach) =>
      Effect.gen(function* () {
        health.report("cells", { ready: true, reason: null })
        yield* TestClock.adjust("10 seconds")
        expect([health.readiness().ready, reach.held()]).toEqual([true, true])
        state.ping = false
        yield* TestClock.adjust("2 seconds")
        expect([health.readiness().ready, reach.held()]).toEqual([false, false])
        yield* TestClock.adjust("2 seconds")
        state.ping = true
        yield* TestClock.adjust("2 seconds")
        // A break that was over when somebody asked counts, once.
        expect([health.readiness().ready, reach.held(), reach.held()]).toEqual([true, false, true])
      }),
    true
  )
})
