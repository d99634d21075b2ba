// What is past goes in time, on SQLite.
import { Layer } from "effect"
import { layerSqlite } from "../../../src/services/runtime/Database.ts"
import * as SqlActorStore from "../../../src/services/state/SqlActorStore.ts"
import { retentionSuite } from "../../suite/retentionSuite.ts"

retentionSuite(
  "SQLite",
  Layer.suspend(() =>
    SqlActorStore.layer.pipe(
      Layer.provideMerge(
        layerSqlite({ filename: ":memory:", durability: "normal", busyTimeoutMillis: 1_000 })
      )
    )
  )
)
