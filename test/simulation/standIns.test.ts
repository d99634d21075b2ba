// The stand-ins of the simulation pass what the real adapters pass.
import { Effect, Layer } from "effect"
import type { DeviceRecord } from "../../src/schema/protocol/DeviceProtocol.ts"
import { EventLog } from "../../src/services/ingest/EventLog.ts"
import { layerSqlite } from "../../src/services/runtime/Database.ts"
import { Checkpoint } from "../../src/services/state/Checkpoint.ts"
import { checkpointSuite } from "../suite/checkpointSuite.ts"
import { deviceChangesSuite } from "../suite/deviceChangesSuite.ts"
import { eventLogSuite } from "../suite/eventLogSuite.ts"
import { openGate } from "./gate.ts"
import { makeActorTables, memoryActors } from "./memoryActors.ts"
import { makeCheckpointTables, memoryCheckpoint } from "./memoryCheckpoint.ts"
import { makeLogTables, memoryLog } from "./memoryLog.ts"

checkpointSuite(
  "memory, as simulated",
  Layer.sync(Checkpoint, () => memoryCheckpoint(makeCheckpointTables(), openGate))
)

eventLogSuite(
  "memory, as simulated",
  Layer.sync(EventLog, () => memoryLog(makeLogTables(), openGate, () => 1_760_000_000_000))
)

let actors = makeActorTables()
let cells = makeCheckpointTables()
deviceChangesSuite(
  "memory, as simulated",
  Layer.suspend(() => {
    actors = makeActorTables()
    cells = makeCheckpointTables()
    // The suite's cluster keeps its messages in SQL.
    return Layer.merge(
      Layer.succeedContext(memoryActors(actors, cells, openGate)).pipe(
        Layer.merge(Layer.succeed(Checkpoint, memoryCheckpoint(cells, openGate)))
      ),
      layerSqlite({ filename: ":memory:", durability: "normal", busyTimeoutMillis: 1_000 })
    )
  }),
  (device) => Effect.sync(() => void actors.devices.set(`flows/${device}`, {} as DeviceRecord))
)
