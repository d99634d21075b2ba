import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { SqlClient } from "@effect/sql"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { layerSqlite } from "../../../src/services/runtime/Database.ts"

const PAGE = "x".repeat(4_000)

describe("the write-ahead log of a database", () => {
  it.scopedLive("is moved into the file by a thread, while the writer goes on", () =>
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "groundstate-wal-"))),
        (made) => Effect.sync(() => rmSync(made, { recursive: true, force: true }))
      )
      const filename = join(folder, "state.db")
      const empty = 512 * 1_024
      yield* Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE page (text TEXT NOT NULL)`
        for (let i = 0; i < 1_000; i++) yield* sql`INSERT INTO page (text) VALUES (${PAGE})`
        // Only the thread puts pages into the file: the writer does not before it has some thousands.
        const moved = Effect.sync(() => statSync(filename).size).pipe(
          Effect.repeat({ until: (size) => size > empty, schedule: Schedule.spaced("10 millis") })
        )
        yield* Effect.timeout(moved, "20 seconds")
        const [{ pages }] = yield* sql<{ pages: number }>`SELECT count(*) AS pages FROM page`
        expect(pages).toBe(1_000)
      }).pipe(Effect.provide(layerSqlite({ filename, durability: "normal", busyTimeoutMillis: 1_000 })))
    })
  )
})
