// The simulated producer: keeps its pace by the clock, sends the same events again when the log was away.
import { it } from "@effect/vitest"
import { Effect, Fiber, Layer, TestClock } from "effect"
import { describe, expect } from "vitest"
import { LogUnavailable } from "../../../src/schema/error/IngestError.ts"
import { EventLog, type NewRecord } from "../../../src/services/ingest/EventLog.ts"
import { PRODUCE_BATCH_EVENTS_MAX, Simulated } from "../../../src/services/ingest/Simulated.ts"
import { makeSimulation } from "../../../src/services/ingest/simulate.ts"

const options = { seed: 3, devices: 20, startMillis: 1_760_000_000_000 }

/** A log that remembers what it took, and refuses while `refuse` says so. */
const recorder = (refuse: (attempt: number) => boolean = () => false) => {
  const taken: Array<NewRecord> = []
  const appends: Array<number> = []
  let attempt = 0
  const away = (topic: string) => new LogUnavailable({ topic, operation: "append", detail: "away" })
  const layer = Layer.succeed(EventLog, {
    ensureTopic: () => Effect.succeed(1),
    partitions: () => Effect.succeed(1),
    append: (topic, records) =>
      Effect.suspend(() => {
        if (refuse(attempt++)) return Effect.fail(away(topic))
        appends.push(records.length)
        taken.push(...records)
        return Effect.succeed(
          records.map((_, i) => ({ partition: 0, offset: taken.length - records.length + i }))
        )
      }),
    open: () => Effect.die("not read here"),
    ping: Effect.void
  })
  return { taken, appends, layer: Simulated.layer("demo", options).pipe(Layer.provide(layer)) }
}

const join = (values: ReadonlyArray<Uint8Array>) => Buffer.concat(values).toString()
const expected = (count: number) =>
  join(
    makeSimulation(options)
      .next(count)
      .map((event) => event.value)
  )

describe("a simulated producer", () => {
  it.effect("sends as fast as the log takes when no pace is set, in bounded batches", () => {
    const log = recorder()
    return Effect.gen(function* () {
      const simulated = yield* Simulated
      const seen: Array<number> = []
      const produced = yield* simulated.produce({
        eventsMax: 10_000,
        onAppended: (events) => Effect.sync(() => seen.push(events.length))
      })
      expect(produced).toEqual({ events: 10_000, millis: 0, behind: 0 })
      expect(log.appends).toEqual([
        PRODUCE_BATCH_EVENTS_MAX,
        PRODUCE_BATCH_EVENTS_MAX,
        10_000 - 2 * PRODUCE_BATCH_EVENTS_MAX
      ])
      expect(seen).toEqual(log.appends)
      expect(join(log.taken.map((record) => record.value as Uint8Array))).toEqual(expected(10_000))
    }).pipe(Effect.provide(log.layer))
  })

  it.effect("keeps the pace of the clock and ends with its duration", () => {
    const log = recorder()
    return Effect.gen(function* () {
      const simulated = yield* Simulated
      const fiber = yield* Effect.fork(simulated.produce({ eventsPerSecond: 1_000, durationMillis: 5_000 }))
      yield* TestClock.adjust("2 seconds")
      expect(log.taken.length).toBe(2_000)
      yield* TestClock.adjust("3 seconds")
      expect(yield* Fiber.join(fiber)).toEqual({ events: 4_980, millis: 5_000, behind: 0 })
    }).pipe(Effect.provide(log.layer))
  })

  it.effect(
    "sends the very same events again after the log was away, and leaves out what it can't make up",
    () => {
      const log = recorder((attempt) => attempt >= 1 && attempt <= 6)
      return Effect.gen(function* () {
        const simulated = yield* Simulated
        const fiber = yield* Effect.fork(
          simulated.produce({ eventsPerSecond: 1_000, durationMillis: 10_000 })
        )
        yield* TestClock.adjust("10 seconds")
        const produced = yield* Fiber.join(fiber)
        expect(join(log.taken.map((record) => record.value as Uint8Array))).toEqual(expected(produced.events))
        expect(produced.behind).toBeGreaterThan(0)
        expect(produced.events + produced.behind).toBeGreaterThanOrEqual(9_980)
      }).pipe(Effect.provide(log.layer))
    }
  )

  it.effect("fails, with what to do, when the log stays away", () => {
    const log = recorder(() => true)
    return Effect.gen(function* () {
      const simulated = yield* Simulated
      const fiber = yield* Effect.fork(Effect.flip(simulated.produce({ eventsMax: 10 })))
      yield* TestClock.adjust("60 seconds")
      const error = yield* Fiber.join(fiber)
      expect(error._tag).toBe("LogUnavailable")
      expect(log.taken).toEqual([])
    }).pipe(Effect.provide(log.layer))
  })
})
