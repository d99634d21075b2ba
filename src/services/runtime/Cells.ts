// Names of cells: an id whose shard is its partition, so that partitions spread evenly over shards.
import { EntityId, Sharding } from "@effect/cluster"
import { Context, Effect, Layer } from "effect"

/** Shards of the default group; a power of two keeps 2, 4, 8 … partitions evenly spread. Never changed on a live region. */
export const SHARDS_PER_GROUP = 64

/**
 * `<stream>/<partition>~<salt>`: the smallest salt that puts the entity on shard `partition mod SHARDS_PER_GROUP`.
 * Shards are numbered from 1 in Effect Cluster, so partition p sits on shard (p mod n) + 1.
 */
export class Cells extends Context.Tag("groundstate/services/runtime/Cells")<
  Cells,
  { readonly idOf: (stream: string, partition: number) => string }
>() {
  static readonly layer = Layer.effect(
    Cells,
    Effect.gen(function* () {
      const sharding = yield* Sharding.Sharding
      const known = new Map<string, string>()
      const search = (stream: string, partition: number): string => {
        const wanted = (partition % SHARDS_PER_GROUP) + 1
        for (let salt = 0; salt < 100_000; salt++) {
          const id = `${stream}/${partition}~${salt}`
          if (sharding.getShardId(EntityId.make(id), "default").id === wanted) return id
        }
        return `${stream}/${partition}~0`
      }
      return {
        idOf: (stream, partition) => {
          const key = `${stream}/${partition}`
          let id = known.get(key)
          if (id === undefined) {
            id = search(stream, partition)
            known.set(key, id)
          }
          return id
        }
      }
    })
  )
}

/** The stream and partition that a cell's entity id names. */
export const parseCellId = (id: string): { readonly stream: string; readonly partition: number } => {
  const slash = id.lastIndexOf("/")
  const tilde = id.lastIndexOf("~")
  return { stream: id.slice(0, slash), partition: Number(id.slice(slash + 1, tilde)) }
}
