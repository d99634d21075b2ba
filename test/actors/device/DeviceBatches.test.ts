// Changes of many devices at once, on SQLite.
import { Layer } from "effect"
import { layerSqlite } from "../../../src/services/runtime/Database.ts"
import * as SqlActorStore from "../../../src/services/state/SqlActorStore.ts"
import { deviceChangesSuite } from "../../suite/deviceChangesSuite.ts"

deviceChangesSuite(
  "SQLite",
  Layer.suspend(() =>
    SqlActorStore.layer.pipe(
      Layer.provideMerge(
        layerSqlite({ filename: ":memory:", durability: "normal", busyTimeoutMillis: 1_000 })
      )
    )
  )
)
