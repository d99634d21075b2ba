// A region's events on both databases; and what a database that is away does to them.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { SqlClient } from "@effect/sql"
import { afterAll, beforeAll, expect, it } from "@effect/vitest"
import { Effect, Layer, Schedule } from "effect"
import { Metrics } from "../../../src/services/observe/Metrics.ts"
import { EVENTS_WAITING_MAX, RegionEvents } from "../../../src/services/observe/RegionEvents.ts"
import { layerSqlite } from "../../../src/services/runtime/Database.ts"
import { defaultConfig, Settings } from "../../../src/services/runtime/Settings.ts"
import { regionEventsSuite } from "../../suite/regionEventsSuite.ts"
import { type Postgres, startPostgres } from "../../support/postgres.ts"
import { layerEmptyRegion } from "../../support/regionDatabase.ts"

const folder = mkdtempSync(join(tmpdir(), "groundstate-events-"))
let server: Postgres
beforeAll(async () => {
  server = await startPostgres()
}, 60_000)
afterAll(async () => {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

let files = 0
const sqlite = Layer.suspend(() =>
  layerSqlite({ filename: join(folder, `${files++}.db`), durability: "normal", busyTimeoutMillis: 1_000 })
)

regionEventsSuite("SQLite", sqlite)
regionEventsSuite(
  "PostgreSQL",
  layerEmptyRegion(() => server)
)

it.scopedLive(
  "those told while the database is away are written when it is back, the oldest dropped and counted",
  () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const events = yield* RegionEvents
      const metrics = yield* Metrics
      yield* sql`ALTER TABLE region_event RENAME TO away`
      for (let n = 1; n <= EVENTS_WAITING_MAX + 3; n++) events.tell({ kind: "paused", detail: `event ${n}` })
      yield* sql`ALTER TABLE away RENAME TO region_event`
      yield* events.newest.pipe(
        Effect.filterOrFail((seq) => seq >= EVENTS_WAITING_MAX),
        Effect.retry(Schedule.spaced("20 millis").pipe(Schedule.upTo("20 seconds")))
      )
      const [first] = yield* events.after(0, 1)
      expect(first.detail).toBe("event 4")
      expect(yield* metrics.exposition).toContain("groundstate_region_events_dropped_total 3")
    }).pipe(
      Effect.provide(
        RegionEvents.layer.pipe(
          Layer.provideMerge(Metrics.layer),
          Layer.provideMerge(sqlite),
          Layer.provide(Layer.succeed(Settings, defaultConfig))
        )
      )
    )
)
