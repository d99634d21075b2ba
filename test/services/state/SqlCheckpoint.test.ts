// The checkpoint store on SQLite.
import { Layer } from "effect"
import { layerSqlite } from "../../../src/services/runtime/Database.ts"
import * as SqlCheckpoint from "../../../src/services/state/SqlCheckpoint.ts"
import { checkpointSuite } from "../../suite/checkpointSuite.ts"

checkpointSuite(
  "SQLite",
  Layer.suspend(() =>
    SqlCheckpoint.layer.pipe(
      Layer.provide(layerSqlite({ filename: ":memory:", durability: "normal", busyTimeoutMillis: 1_000 }))
    )
  )
)
