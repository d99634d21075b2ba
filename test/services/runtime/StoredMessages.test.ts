// Stored messages on SQLite and on PostgreSQL.
import { ShardingConfig, SqlMessageStorage } from "@effect/cluster"
import { Layer } from "effect"
import { afterAll, beforeAll } from "vitest"
import { layerSqlite } from "../../../src/services/runtime/Database.ts"
import { storedMessagesSuite } from "../../suite/storedMessagesSuite.ts"
import { type Postgres, startPostgres } from "../../support/postgres.ts"
import { layerEmptyRegion } from "../../support/regionDatabase.ts"

let server: Postgres
beforeAll(async () => {
  server = await startPostgres()
})
afterAll(() => server.stop())

storedMessagesSuite(
  "SQLite",
  Layer.suspend(() =>
    SqlMessageStorage.layer.pipe(
      Layer.provide(ShardingConfig.layerDefaults),
      Layer.provideMerge(
        layerSqlite({ filename: ":memory:", durability: "normal", busyTimeoutMillis: 1_000 })
      )
    )
  )
)
storedMessagesSuite(
  "PostgreSQL",
  layerEmptyRegion(() => server)
)
