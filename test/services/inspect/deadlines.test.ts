// Many deadlines, one sleeper.
import { describe, expect, it } from "@effect/vitest"
import { Clock, Effect, Logger, TestClock } from "effect"
import { makeDeadlines } from "../../../src/services/inspect/deadlines.ts"

const TICK = 4

describe("deadlines", () => {
  it.effect("are told once, within a tick, in any order; one that is called off is not", () =>
    Effect.gen(function* () {
      const deadlines = yield* makeDeadlines(TICK)
      const from = yield* Clock.currentTimeMillis
      const told: Array<string> = []
      const add = (name: string, after: number) => deadlines.add(from + after, () => told.push(name))
      add("late", 20)
      add("early", 10)
      const off = add("off", 10)
      yield* TestClock.adjust(8)
      expect(told).toEqual([])
      off()
      yield* TestClock.adjust(TICK)
      expect(told).toEqual(["early"])
      yield* TestClock.adjust(100)
      expect(told).toEqual(["early", "late"])
    })
  )

  it.effect("start again after a time without any", () =>
    Effect.gen(function* () {
      const deadlines = yield* makeDeadlines(TICK)
      const told: Array<number> = []
      for (const n of [1, 2, 3]) {
        deadlines.add((yield* Clock.currentTimeMillis) + 10, () => told.push(n))
        yield* TestClock.adjust(100)
      }
      expect(told).toEqual([1, 2, 3])
    })
  )

  it.effect("are told although the code of another throws", () =>
    Effect.gen(function* () {
      const deadlines = yield* makeDeadlines(TICK)
      const from = yield* Clock.currentTimeMillis
      const told: Array<number> = []
      deadlines.add(from + 10, () => {
        throw new Error("a failpoint")
      })
      for (const after of [10, 20]) deadlines.add(from + after, () => told.push(after))
      yield* TestClock.adjust(100)
      expect(told).toEqual([10, 20])
      deadlines.add(from + 110, () => told.push(110))
      yield* TestClock.adjust(100)
      expect(told).toEqual([10, 20, 110])
    }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))
  )
})
