// Where actors run: Effect Cluster on SQL, one runner for now; calls are plain in-process messages.
import {
  RunnerHealth,
  RunnerStorage,
  Runners,
  Sharding,
  ShardingConfig,
  SqlMessageStorage
} from "@effect/cluster"
import { Layer } from "effect"
import { SHARDS_PER_GROUP } from "./Cells.ts"

/**
 * One runner that owns every shard; needs `SqlClient`. Put together here instead of by the library's
 * `SingleRunner`, which reads the bare variables HOST and PORT from the environment.
 */
export const layerSingle = Sharding.layer.pipe(
  Layer.provideMerge(Runners.layerNoop),
  Layer.provideMerge(SqlMessageStorage.layer),
  Layer.provide([RunnerStorage.layerMemory, RunnerHealth.layerNoop]),
  Layer.provide(
    ShardingConfig.layer({
      shardsPerGroup: SHARDS_PER_GROUP,
      simulateRemoteSerialization: false,
      entityMailboxCapacity: 4_096,
      refreshAssignmentsInterval: 250,
      entityMessagePollInterval: 2_000
    })
  ),
  Layer.orDie
)
