// Device actors in memory: bounded, the least recently used leaves first, and none stays that nobody asks.
import { Entity, MessageStorage } from "@effect/cluster"
import { Rpc } from "@effect/rpc"
import { Effect, Layer, TestClock, TestContext } from "effect"
import { expect, it } from "vitest"
import { layerAlone } from "../../../src/services/runtime/Cluster.ts"
import { makeResidency, type Residency, UNKEPT_IDLE } from "../../../src/services/runtime/Residency.ts"

const Guest = Entity.make("Guest", [Rpc.make("Greet")])
const IDLE_MILLIS = 8_000

interface House {
  readonly residency: Residency
  readonly greet: (id: string) => Effect.Effect<void>
  /** Who is in memory, in order of name. */
  readonly resident: () => ReadonlyArray<string>
  readonly built: () => number
  /** Lets the library and the residency look around, as they do every five seconds. */
  readonly seconds: (count: number) => Effect.Effect<void>
}

const inHouse = (max: number, visit: (house: House) => Effect.Effect<void>) =>
  Effect.gen(function* () {
    const residency = yield* makeResidency({ max, idleMillis: IDLE_MILLIS })
    const live = new Set<string>()
    let built = 0
    const guests = Guest.toLayer(
      Effect.gen(function* () {
        const { entityId } = yield* Entity.CurrentAddress
        const used = yield* residency.enter
        live.add(entityId)
        built += 1
        yield* Effect.addFinalizer(() => Effect.sync(() => live.delete(entityId)))
        return Guest.of({ Greet: () => used })
      }),
      { maxIdleTime: UNKEPT_IDLE }
    )
    yield* Effect.gen(function* () {
      const client = yield* Guest.client
      yield* TestClock.adjust("1 second")
      yield* visit({
        residency,
        greet: (id) => Effect.orDie(client(id).Greet()),
        resident: () => [...live].sort(),
        built: () => built,
        seconds: (count) =>
          Effect.forEach(Array.from({ length: count }), () => TestClock.adjust("1 second"), { discard: true })
      })
    }).pipe(
      Effect.provide(guests.pipe(Layer.provideMerge(layerAlone(MessageStorage.layerMemory)))),
      Effect.scoped
    )
  }).pipe(Effect.scoped, Effect.provide(TestContext.TestContext), Effect.runPromise)

it("keeps an actor that was asked, for as long as it may be idle, and no longer", () =>
  inHouse(3, ({ greet, resident, built, seconds }) =>
    Effect.gen(function* () {
      yield* greet("a")
      yield* seconds(6)
      expect(resident()).toEqual(["a"])
      yield* greet("a")
      yield* seconds(6)
      expect(resident()).toEqual(["a"])
      expect(built()).toBe(1)
      yield* seconds(14)
      expect(resident()).toEqual([])
    })
  ))

it("lets the least recently used one go where there are more than may stay", () =>
  inHouse(3, ({ greet, resident, residency, seconds }) =>
    Effect.gen(function* () {
      for (const id of ["a", "b", "c"]) {
        yield* greet(id)
        yield* seconds(1)
      }
      yield* greet("a")
      yield* greet("d")
      expect(residency.kept()).toBe(3)
      yield* seconds(6)
      expect(resident()).toEqual(["a", "c", "d"])
    })
  ))

it("keeps one again that is asked after it had to go", () =>
  inHouse(1, ({ greet, resident, seconds }) =>
    Effect.gen(function* () {
      yield* greet("a")
      yield* greet("b")
      yield* greet("a")
      yield* seconds(6)
      expect(resident()).toEqual(["a"])
      yield* greet("b")
      yield* seconds(6)
      expect(resident()).toEqual(["b"])
    })
  ))

it("has a bound in memory whoever asks for how many", () =>
  inHouse(10, ({ greet, resident, residency, seconds }) =>
    Effect.gen(function* () {
      for (let round = 0; round < 3; round++) {
        for (let n = 0; n < 100; n++) yield* greet(`d-${n}`)
        expect(residency.kept()).toBe(10)
        yield* seconds(6)
        expect(resident()).toHaveLength(10)
      }
    })
  ))
