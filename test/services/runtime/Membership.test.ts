// F11 a region's slots and a runner that alone does not reach the log, on a real database; its clock is moved by hand.
import { SqlClient } from "@effect/sql"
import { Context, Effect, Layer } from "effect"
import { afterAll, beforeAll, expect, it } from "vitest"
import { planStream } from "../../../src/schema/stream/StreamPlan.ts"
import { LogReach, type LogReachService, makeLogReach } from "../../../src/services/runtime/LogReach.ts"
import { Membership } from "../../../src/services/runtime/Membership.ts"
import { rosterOf } from "../../../src/services/runtime/roster.ts"
import { defaultConfig, Settings } from "../../../src/services/runtime/Settings.ts"
import { Streams } from "../../../src/services/runtime/Streams.ts"
import { type Postgres, startPostgres } from "../../support/postgres.ts"
import { layerEmptyRegion } from "../../support/regionDatabase.ts"
import { flows } from "../inspect/samples.ts"

let server: Postgres
beforeAll(async () => {
  server = await startPostgres()
})
afterAll(() => server.stop())

const all = [{ definition: flows, plan: planStream(flows), topic: "flows", partitions: 8 }]

interface One {
  readonly membership: typeof Membership.Service
  readonly reach: LogReachService
}

const join = (runner: string, port: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const reach = makeLogReach()
    const context = yield* Layer.build(
      Layer.fresh(
        Membership.layer(`groundstate ${runner}`).pipe(
          Layer.provide(Layer.succeed(LogReach, reach)),
          Layer.provide(Layer.succeed(SqlClient.SqlClient, sql)),
          Layer.provide(
            Layer.succeed(Settings, {
              ...defaultConfig,
              runner,
              log: { ...defaultConfig.log, kind: "kafka" },
              cluster: { ...defaultConfig.cluster, port }
            })
          ),
          Layer.provide(Layer.succeed(Streams, { all, get: () => all[0] }))
        )
      )
    )
    const one: One = { membership: Context.get(context, Membership), reach }
    yield* one.membership.join
    return one
  })

/** Lets so much time pass in the database, for everybody. */
const passes = (millis: number) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => sql`UPDATE region_runner SET log_at = log_at - ${millis},
      log_since = CASE WHEN log_since > 0 THEN log_since - ${millis} ELSE 0 END`
  )

/** Both tell how they are, and whoever sees that somebody is to be left out or taken in does it. */
const beats = (...runners: ReadonlyArray<One>) =>
  Effect.gen(function* () {
    for (const { membership } of runners) yield* membership.beat
    for (const { membership } of runners) {
      yield* membership.read
      if (membership.sifts()) yield* membership.rebalance
    }
    return yield* Effect.map(runners[0].membership.read, (view) =>
      rosterOf(view, all, view.readAt).map(({ cells, id }) => `${id}: ${cells.length}`)
    )
  })

it("gives its cells to the others, and its share back when it has reached the log for half a minute", async () => {
  await Effect.gen(function* () {
    const a = yield* join("a", 7_001)
    const b = yield* join("b", 7_002)
    expect(yield* beats(a, b)).toEqual(["a: 4", "b: 4"])
    yield* passes(60_000)
    yield* beats(a, b)
    b.reach.failed()
    expect(yield* beats(a, b)).toEqual(["a: 4", "b: 4"])
    yield* passes(10_000)
    expect(yield* beats(a, b)).toEqual(["a: 8", "b: 0"])
    expect([...a.membership.takeNews(), ...b.membership.takeNews()]).toContainEqual({
      _tag: "LeftOut",
      runner: "b"
    })
    b.reach.answered()
    yield* beats(a, b)
    yield* passes(29_000)
    expect(yield* beats(a, b)).toEqual(["a: 8", "b: 0"])
    yield* passes(1_000)
    expect(yield* beats(a, b)).toEqual(["a: 4", "b: 4"])
  }).pipe(Effect.scoped, Effect.provide(layerEmptyRegion(() => server)), Effect.runPromise)
}, 60_000)

it("F6 moves nothing where nobody reaches the log, nor while all find it again", async () => {
  await Effect.gen(function* () {
    const a = yield* join("a", 7_001)
    const b = yield* join("b", 7_002)
    yield* passes(60_000)
    const before = yield* Effect.zipRight(beats(a, b), a.membership.read)
    a.reach.failed()
    b.reach.failed()
    yield* beats(a, b)
    yield* passes(300_000)
    expect(yield* beats(a, b)).toEqual(["a: 4", "b: 4"])
    a.reach.answered()
    yield* beats(a, b)
    yield* passes(9_000)
    yield* beats(a, b)
    b.reach.answered()
    expect(yield* beats(a, b)).toEqual(["a: 4", "b: 4"])
    expect((yield* a.membership.read).slots).toEqual(before.slots)
  }).pipe(Effect.scoped, Effect.provide(layerEmptyRegion(() => server)), Effect.runPromise)
}, 60_000)

it("comes back into the region as what it was: left out, where it still does not reach the log", async () => {
  await Effect.gen(function* () {
    const a = yield* join("a", 7_001)
    const b = yield* join("b", 7_002)
    yield* passes(60_000)
    yield* beats(a, b)
    b.reach.failed()
    yield* beats(a, b)
    yield* passes(10_000)
    expect(yield* beats(a, b)).toEqual(["a: 8", "b: 0"])
    yield* b.membership.join
    expect(yield* beats(a, b)).toEqual(["a: 8", "b: 0"])
    // Nobody else is left: better one that may find the log than none.
    yield* a.membership.leave
    yield* b.membership.read
    expect(yield* beats(b)).toEqual(["b: 8"])
  }).pipe(Effect.scoped, Effect.provide(layerEmptyRegion(() => server)), Effect.runPromise)
}, 60_000)
