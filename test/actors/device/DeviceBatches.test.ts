// Changes of many devices at once, on SQLite.
import { Layer } from "effect"
import { layerSqlite } from "../../../src/services/runtime/Database.ts"
import * as SqlActorStore from "../../../src/services/state/SqlActorStore.ts"
import * as SqlCheckpoint from "../../../src/services/state/SqlCheckpoint.ts"
import { deviceChangesSuite } from "../../suite/deviceChangesSuite.ts"

deviceChangesSuite(
  "SQLite",
  Layer.suspend(() =>
    Layer.merge(SqlActorStore.layer, SqlCheckpoint.layer).pipe(
      Layer.provideMerge(
        layerSqlite({ filename: ":memory:", durability: "normal", busyTimeoutMillis: 1_000 })
      )
    )
  )
)
