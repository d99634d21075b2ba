// What every store of a region's events must do: keep them in order, page through them, forget the oldest.

import type { SqlClient } from "@effect/sql"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Schedule } from "effect"
import { Metrics } from "../../src/services/observe/Metrics.ts"
import {
  EVENTS_KEPT_MAX,
  EVENTS_WAITING_MAX,
  RegionEvents,
  type Told
} from "../../src/services/observe/RegionEvents.ts"
import { defaultConfig, Settings } from "../../src/services/runtime/Settings.ts"

const event = (n: number): Told => ({
  kind: n % 2 === 0 ? "takeover" : "paused",
  stream: "flows",
  partition: n % 8,
  detail: `event ${n}`
})

/** Waits until so many are written. */
const written = (newest: number) =>
  Effect.flatMap(RegionEvents, (events) =>
    events.newest.pipe(
      Effect.filterOrFail((seq) => seq >= newest),
      Effect.retry(Schedule.spaced("10 millis").pipe(Schedule.upTo("20 seconds")))
    )
  )

export const regionEventsSuite = <E>(name: string, database: Layer.Layer<SqlClient.SqlClient, E>) => {
  const layer = RegionEvents.layer.pipe(
    Layer.provide([Metrics.layer, Layer.succeed(Settings, { ...defaultConfig, runner: "a" })]),
    Layer.provideMerge(database)
  )

  describe(`a region's events, ${name}`, () => {
    it.scopedLive("are listed newest first, by kind and page by page", () =>
      Effect.gen(function* () {
        const events = yield* RegionEvents
        expect(yield* events.newest).toBe(0)
        for (let n = 1; n <= 5; n++) events.tell(event(n))
        events.tell({ kind: "runner-gone", detail: "a\0b" })
        expect(yield* written(6)).toBe(6)
        const [gone, fifth] = yield* events.list({ limit: 2 })
        expect(gone).toMatchObject({
          seq: 6,
          kind: "runner-gone",
          stream: null,
          partition: null,
          detail: "a\ufffdb"
        })
        expect(fifth).toMatchObject({ seq: 5, runner: "a", stream: "flows", partition: 5, detail: "event 5" })
        expect((yield* events.list({ before: 5, limit: 2 })).map(({ seq }) => seq)).toEqual([4, 3])
        expect((yield* events.list({ kind: "takeover", limit: 9 })).map(({ seq }) => seq)).toEqual([4, 2])
        expect((yield* events.after(3, 2)).map(({ seq }) => seq)).toEqual([4, 5])
        expect(yield* events.after(6, 2)).toEqual([])
      }).pipe(Effect.provide(layer))
    )

    it.scopedLive(`are bounded: the last ${EVENTS_KEPT_MAX} are kept`, () =>
      Effect.gen(function* () {
        const events = yield* RegionEvents
        const all = EVENTS_KEPT_MAX + 100
        let told = 0
        while (told < all) {
          for (let n = 0; n < EVENTS_WAITING_MAX && told < all; n++) events.tell(event(++told))
          yield* written(told)
        }
        const oldest = yield* events.after(0, 1)
        expect(oldest.map(({ seq, detail }) => [seq, detail])).toEqual([[101, "event 101"]])
      }).pipe(Effect.provide(layer))
    )
  })
}
