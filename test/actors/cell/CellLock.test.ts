import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { makeCellLock } from "../../../src/actors/cell/CellLock.ts"

describe("the lock of a cell", () => {
  it("lets one in, at once, and nobody else", () => {
    const lock = makeCellLock()
    const [loop, command] = [{}, {}]
    expect(lock.tryEnter(loop)).toBe(true)
    expect(lock.tryEnter(command)).toBe(false)
    lock.leave(command)
    expect(lock.tryEnter(command)).toBe(false)
    lock.leave(loop)
    expect(lock.tryEnter(command)).toBe(true)
  })

  it.effect("lets those who wait in before whoever comes then, the first first", () =>
    Effect.gen(function* () {
      const lock = makeCellLock()
      const loop = {}
      const told: Array<string> = []
      lock.tryEnter(loop)
      const first = yield* Effect.fork(lock.locked(Effect.sync(() => void told.push("first"))))
      const second = yield* Effect.fork(lock.locked(Effect.sync(() => void told.push("second"))))
      yield* Effect.yieldNow()
      lock.leave(loop)
      expect(lock.tryEnter(loop)).toBe(false)
      yield* Fiber.joinAll([first, second])
      expect(told).toEqual(["first", "second"])
      expect(lock.tryEnter(loop)).toBe(true)
    })
  )

  it.effect("is left by whoever is interrupted, inside or while waiting", () =>
    Effect.gen(function* () {
      const lock = makeCellLock()
      const inside = yield* Deferred.make<void>()
      const holder = yield* Effect.fork(
        lock.locked(Effect.zipRight(Deferred.succeed(inside, undefined), Effect.never))
      )
      yield* Deferred.await(inside)
      const waiter = yield* Effect.fork(lock.locked(Effect.never))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(waiter)
      expect(lock.tryEnter({})).toBe(false)
      yield* Fiber.interrupt(holder)
      expect(lock.tryEnter({})).toBe(true)
    })
  )
})
