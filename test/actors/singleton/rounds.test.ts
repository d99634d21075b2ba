// A singleton goes on whatever becomes of a round: one that fails, dies or hangs is followed by another.
import { Effect, Fiber, Logger, TestClock, TestContext } from "effect"
import { expect, it } from "vitest"
import { rounds } from "../../../src/actors/singleton/rounds.ts"

/** Plays rounds of every ten seconds, each as given, then for ever well; tells the seconds at which one began. */
const begun = (outcomes: ReadonlyArray<Effect.Effect<void, string>>, seconds: number) =>
  Effect.gen(function* () {
    const at: Array<number> = []
    const lines: Array<string> = []
    const round = Effect.gen(function* () {
      at.push((yield* Effect.clock).unsafeCurrentTimeMillis() / 1_000)
      yield* outcomes[at.length - 1] ?? Effect.void
    })
    const fiber = yield* rounds({ name: "a sweep", every: "10 seconds", round }).pipe(
      Effect.provide(
        Logger.replace(
          Logger.defaultLogger,
          Logger.make(({ message }) => void lines.push(String(message)))
        )
      ),
      Effect.fork
    )
    yield* TestClock.adjust(`${seconds} seconds`)
    yield* Fiber.interrupt(fiber)
    return { at, lines }
  }).pipe(Effect.provide(TestContext.TestContext), Effect.runPromise)

it("comes again after each interval", async () => {
  expect((await begun([], 35)).at).toEqual([0, 10, 20, 30])
})

it("waits twice as long after each failure, and as ever after a success", async () => {
  const { at, lines } = await begun([Effect.fail("away"), Effect.die("broken"), Effect.void], 90)
  expect(at).toEqual([0, 20, 60, 70, 80, 90])
  expect(lines).toEqual([
    expect.stringContaining("a sweep failed; the next one follows in 20s"),
    expect.stringContaining("a sweep failed; the next one follows in 40s")
  ])
})

it("never waits longer than five minutes", async () => {
  const { at } = await begun(
    Array.from({ length: 9 }, () => Effect.fail("away")),
    1_500
  )
  expect(at.slice(5)).toEqual([600, 900, 1_200, 1_500])
})

it("ends a round that hangs, and goes on", async () => {
  expect((await begun([Effect.never], 100)).at).toEqual([0, 80, 90, 100])
})
