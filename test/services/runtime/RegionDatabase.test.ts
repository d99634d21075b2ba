// A region's database: made once whoever comes first, waited for, never waited for for ever.
import { SqlClient } from "@effect/sql"
import { Cause, Duration, Effect, Exit, Layer, Redacted } from "effect"
import { afterAll, beforeAll, expect, it } from "vitest"
import type { DeviceRecord } from "../../../src/schema/protocol/DeviceProtocol.ts"
import { migrations } from "../../../src/services/runtime/migrations.ts"
import { layerPostgres, postgresPlace } from "../../../src/services/runtime/Postgres.ts"
import { layerRegion } from "../../../src/services/runtime/RegionDatabase.ts"
import { ActorStore } from "../../../src/services/state/ActorStore.ts"
import { Projections } from "../../../src/services/state/Projections.ts"
import * as SqlActorStore from "../../../src/services/state/SqlActorStore.ts"
import { type Postgres, startPostgres } from "../../support/postgres.ts"
import { layerEmptyRegion, postgresSettings } from "../../support/regionDatabase.ts"

let server: Postgres
beforeAll(async () => {
  server = await startPostgres()
})
afterAll(() => server.stop())

const region = (url: string, more: Partial<ReturnType<typeof postgresSettings>> = {}) =>
  layerRegion({
    postgres: { ...postgresSettings(url), ...more },
    applicationName: "groundstate-test",
    connectionsMax: 4
  })
const tables = (url: string) =>
  server.query(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")

it("F35 boot at once on an empty database, 20 times: every runner comes up, the tables are made once", async () => {
  for (let round = 0; round < 20; round++) {
    const url = await server.database()
    const boots = await Promise.all(
      [0, 1, 2].map(() => Effect.runPromiseExit(Effect.scoped(Layer.build(Layer.fresh(region(url))))))
    )
    expect(boots.map(Exit.isSuccess)).toEqual([true, true, true])
    const made = (await tables(url)).map(([name]) => name)
    for (const table of ["cell_epoch", "alert", "cluster_messages", "cluster_replies", "cluster_runners"])
      expect(made).toContain(table)
    expect(await server.query(url, "SELECT count(*) FROM groundstate_migration")).toEqual([
      [String(migrations.length)]
    ])
  }
}, 120_000)

it("keeps 64 bits of an offset and all of a time", async () => {
  const url = await server.database()
  await Effect.runPromise(Effect.scoped(Layer.build(region(url))))
  const types = await server.query(
    url,
    `SELECT column_name, data_type FROM information_schema.columns
      WHERE (table_name, column_name) IN
        (VALUES ('cell_checkpoint', 'next_offset'), ('cell_delta', 'bytes'), ('incident', 'last_alert_at'))
      ORDER BY column_name`
  )
  expect(types).toEqual([
    ["bytes", "bytea"],
    ["last_alert_at", "double precision"],
    ["next_offset", "bigint"]
  ])
})

it("takes devices whose names hold characters that the database has not", async () => {
  const device = "a\0b\u001ac"
  const record: DeviceRecord = {
    stream: "flows",
    device,
    version: 1,
    incident: null,
    quarantine: { reason: "odd\0", by: "test", at: 1 },
    override: null,
    label: null
  }
  const kept = await Effect.gen(function* () {
    const store = yield* ActorStore
    const projections = yield* Projections
    const saved = yield* store.saveDevices([
      { record, incidents: [], alerts: [], commandId: "c\0", cells: [] }
    ])
    return {
      saved,
      read: yield* store.devices([{ stream: "flows", device }]),
      listed: (yield* projections.devices({ state: "quarantined", device, limit: 5 })).items,
      known: yield* store.commandKnown("flows", device, "c\0")
    }
  }).pipe(
    Effect.provide(SqlActorStore.layer.pipe(Layer.provide(layerEmptyRegion(() => server)))),
    Effect.runPromise
  )
  expect(kept).toEqual({ saved: ["written"], read: [record], listed: [record], known: true })
})

it("says at once that the database refuses, where it is, and never the password", async () => {
  const url = (await server.database()).replace("postgres@", "nobody:hidden@")
  const exit = await Effect.runPromise(
    Effect.exit(Effect.scoped(Layer.build(region(url)))).pipe(Effect.timeout("5 seconds"))
  )
  const text = Exit.match(exit, { onFailure: Cause.pretty, onSuccess: () => "it came up" })
  expect(text).toContain('role "nobody" does not exist')
  expect(text).toContain(`127.0.0.1:${server.port}/`)
  expect(text).not.toContain("hidden")
})

it("fails with what it waited for when no database comes in time", async () => {
  const exit = await Effect.runPromise(
    Effect.exit(
      Effect.scoped(Layer.build(region("postgres://groundstate@127.0.0.1:9/none", { startTimeout: 300 })))
    )
  )
  expect(String(exit)).toContain("ECONNREFUSED")
})

it("ends a statement that takes too long, and a transaction that stands still, and goes on", async () => {
  const url = await server.database()
  const layer = layerPostgres({
    postgres: { ...postgresSettings(url), callTimeout: 400 },
    applicationName: "groundstate-test",
    connectionsMax: 2
  })
  const told = await Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const slow = yield* Effect.exit(sql`SELECT pg_sleep(30)`)
    const still = yield* Effect.exit(
      sql.withTransaction(Effect.zipRight(sql`SELECT 1`, Effect.delay(sql`SELECT 2`, Duration.seconds(1))))
    )
    return { slow: Exit.isFailure(slow), still: Exit.isFailure(still), after: yield* sql`SELECT 3 AS n` }
  }).pipe(Effect.provide(layer), Effect.timeout("10 seconds"), Effect.runPromise)
  expect(told).toEqual({ slow: true, still: true, after: [{ n: 3 }] })
})

it("F8 a frozen database: calls end in time, and go through when it moves again", async () => {
  const url = await server.database()
  const layer = layerPostgres({
    postgres: { ...postgresSettings(url), callTimeout: 500 },
    applicationName: "groundstate-frozen",
    connectionsMax: 1
  })
  await Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* sql`SELECT 1`
    const [[backend]] = yield* Effect.promise(() =>
      server.query(url, "SELECT pid FROM pg_stat_activity WHERE application_name = 'groundstate-frozen'")
    )
    process.kill(Number(backend), "SIGSTOP")
    const begun = performance.now()
    const frozen = yield* Effect.exit(sql`SELECT 2`)
    expect(Exit.isFailure(frozen)).toBe(true)
    expect(performance.now() - begun).toBeLessThan(3_000)
    // The one connection that there may be is given up: another takes its place.
    const again = yield* sql<{ n: number }>`SELECT 3 AS n`.pipe(Effect.retry({ times: 5 }))
    expect(again).toEqual([{ n: 3 }])
    process.kill(Number(backend), "SIGCONT")
  }).pipe(Effect.provide(layer), Effect.timeout("20 seconds"), Effect.runPromise)
})

it("names a database without its password", () => {
  const settings = postgresSettings("postgres://a:b@db.example:6000/region")
  expect(postgresPlace(settings)).toBe("db.example:6000/region")
  expect(
    postgresPlace({
      ...settings,
      url: undefined,
      host: "::1",
      user: "a@b",
      database: "x/y",
      password: Redacted.make("p:w")
    })
  ).toBe("[::1]:5432/x%2Fy")
})
