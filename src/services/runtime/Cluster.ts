// Where actors run: Effect Cluster, on one runner alone or on the runners of a region. Transport is made here alone.
import {
  type MessageStorage,
  Runner,
  RunnerAddress,
  RunnerHealth,
  RunnerStorage,
  Runners,
  type ShardId,
  Sharding,
  ShardingConfig,
  SocketRunner,
  SqlMessageStorage,
  SqlRunnerStorage
} from "@effect/cluster"
import { PersistenceError } from "@effect/cluster/ClusterError"
import type { SocketServer } from "@effect/platform"
import { NodeClusterSocket } from "@effect/platform-node"
import type { RpcSerialization } from "@effect/rpc"
import type { SqlClient } from "@effect/sql"
import { Context, Duration, Effect, Layer, Option } from "effect"
import type { ConfigInvalid } from "../../schema/error/ConfigError.ts"
import { RegionRefused, StorageUnavailable } from "../../schema/error/StorageError.ts"
import { groupOf, slotGroups } from "../../schema/protocol/slots.ts"
import { reasonOf } from "./Database.ts"
import { Membership } from "./Membership.ts"
import { layerPostgres } from "./Postgres.ts"
import { layerClientProtocol, layerSerialization, layerSocketServer } from "./RunnerSockets.ts"
import type { PostgresSettings, RunnerConfig } from "./Settings.ts"

/** The library's own singletons lie in this group. */
const DEFAULT_GROUP = "default"
const groups = [DEFAULT_GROUP, ...slotGroups]

const shared = {
  shardsPerGroup: 1,
  availableShardGroups: groups,
  simulateRemoteSerialization: false,
  entityMailboxCapacity: 4_096,
  entityMessagePollInterval: 2_000
} as const

/**
 * One runner that owns every shard, on the given storage of messages. Put together here instead of by the library's
 * `SingleRunner`, which reads the bare variables HOST and PORT from the environment.
 */
export const layerAlone = <E, R>(
  messages: Layer.Layer<MessageStorage.MessageStorage, E, R | ShardingConfig.ShardingConfig>
) =>
  Sharding.layer.pipe(
    Layer.provideMerge(Runners.layerNoop),
    Layer.provideMerge(messages),
    Layer.provide([RunnerStorage.layerMemory, RunnerHealth.layerNoop]),
    Layer.provide(
      ShardingConfig.layer({ ...shared, assignedShardGroups: groups, refreshAssignmentsInterval: 250 })
    ),
    Layer.orDie
  )

/** One runner that owns every shard; needs `SqlClient`. */
export const layerSingle = layerAlone(SqlMessageStorage.layer)

/** How often a runner reads who is there and who has what. */
const READ_EVERY_MILLIS = 100
/** Also how long a look at the locks may take: an answer may be half a second away, and another call before it. */
const LOCK_REFRESH_MILLIS = 2_000
/** A session that holds locks and says nothing for so long is ended by the database; a peer is usually first. */
const LOCK_IDLE_MILLIS = 8_000
const LOCK_CALL_MILLIS = 2_000
/** How long the next owner waits for locks that the one before is about to let go, and how often it looks. */
const ACQUIRE_WAIT_MILLIS = 1_500
const ACQUIRE_LOOK_MILLIS = 20
/** Having some of them, it waits for the others no longer than this. */
const ACQUIRE_STRAGGLERS_MILLIS = 150

const parseAddress = (address: string): RunnerAddress.RunnerAddress => {
  const colon = address.lastIndexOf(":")
  return RunnerAddress.make(address.slice(0, colon), Number(address.slice(colon + 1)))
}

/** The slots whose locks this runner holds: what a runner that is to stop waits to be rid of. */
export class HeldSlots extends Context.Tag("groundstate/services/runtime/HeldSlots")<
  HeldSlots,
  { readonly groups: () => ReadonlyArray<string> }
>() {}

/**
 * The library's storage of runners with our division of slots. It takes a runner for a group's only member where we say
 * that it owns the slot: an entry of the runner's address with that one group, told from its others by its weight.
 * Locks stay the library's own (PostgreSQL's advisory ones).
 */
const regionStorage = Effect.gen(function* () {
  // All of them speak through one session, which takes one statement at a time. Where many slots go at once, a look at
  // the locks waits for one of them, not for all: it has to come in time.
  const library = yield* RunnerStorage.RunnerStorage
  const session = yield* Effect.makeSemaphore(1)
  const inTurn = session.withPermits(1)
  const releases = yield* Effect.makeSemaphore(1)
  const inner: Pick<RunnerStorage.RunnerStorage["Type"], "acquire" | "refresh" | "release" | "releaseAll"> = {
    acquire: (address, shardIds) => inTurn(library.acquire(address, shardIds)),
    // The library's own writes a heartbeat first, which nobody reads here, and then does this: one trip to the database.
    refresh: (address, shardIds) =>
      Effect.map(inTurn(library.acquire(address, shardIds)), (held) => [...held]),
    release: (address, shardId) => releases.withPermits(1)(inTurn(library.release(address, shardId))),
    releaseAll: (address) => inTurn(library.releaseAll(address))
  }
  const membership = yield* Membership
  const entries = new Map<string, Runner.Runner>()
  const entryOf = (address: string, group: string, weight: number) => {
    const key = `${address} ${group}`
    let entry = entries.get(key)
    if (entry === undefined) {
      entry = Runner.make({ address: parseAddress(address), groups: [group], weight })
      entries.set(key, entry)
    }
    return entry
  }
  const held = new Map<string, ShardId.ShardId>()
  const persistence = <A, E>(effect: Effect.Effect<A, E>) =>
    Effect.mapError(effect, (cause) => new PersistenceError({ cause }))

  const getRunners = persistence(membership.read).pipe(
    Effect.map(({ members, slots }) => {
      const list: Array<readonly [Runner.Runner, boolean]> = []
      for (const { able, address, incarnation, state } of members) {
        const displaced = address === membership.address && incarnation !== membership.incarnation
        list.push([entryOf(address, DEFAULT_GROUP, 1), state === "active" && able && !displaced])
        if (displaced || state === "dead") continue
        slots.forEach((owner, slot) => {
          if (owner === address) list.push([entryOf(address, groupOf(slot), 0.1 + slot / 1_000), true])
        })
      }
      return list
    })
  )

  const acquire: RunnerStorage.RunnerStorage["Type"]["acquire"] = (address, shardIds) =>
    Effect.gen(function* () {
      const wanted = [...shardIds]
      const before = held.size
      let acquired: Array<ShardId.ShardId> = []
      let gainedAt = 0
      // A lock that the owner before has not let go yet is worth a moment: the library looks again after a second.
      for (let waited = 0; waited < ACQUIRE_WAIT_MILLIS; waited += ACQUIRE_LOOK_MILLIS) {
        const now = yield* inner.acquire(address, wanted)
        if (now.length > acquired.length) gainedAt = waited
        acquired = now
        const missing = wanted.filter((id) => !acquired.some((one) => one.toString() === id.toString()))
        if (missing.length === 0) break
        if (acquired.length > before && waited - gainedAt >= ACQUIRE_STRAGGLERS_MILLIS) break
        yield* Effect.sleep(ACQUIRE_LOOK_MILLIS)
      }
      for (const id of acquired) held.set(id.toString(), id)
      return acquired
    })

  const storage = RunnerStorage.RunnerStorage.of({
    getRunners,
    register: (runner, healthy) =>
      Effect.zipRight(persistence(membership.join), library.register(runner, healthy)),
    unregister: (address) => Effect.zipRight(persistence(membership.leave), library.unregister(address)),
    // Who is healthy is for peers to say (`PeerWatch`), not for the library's own check.
    setRunnerHealth: () => Effect.void,
    acquire,
    refresh: (address, shardIds) => inner.refresh(address, shardIds),
    release: (address, shardId) =>
      Effect.tap(inner.release(address, shardId), () => Effect.sync(() => held.delete(shardId.toString()))),
    releaseAll: (address) => Effect.tap(inner.releaseAll(address), () => Effect.sync(() => held.clear()))
  })
  return Context.make(RunnerStorage.RunnerStorage, storage).pipe(
    Context.add(HeldSlots, {
      groups: () => [...held.values()].flatMap(({ group }) => (group === DEFAULT_GROUP ? [] : [group]))
    })
  )
})

export interface RegionOptions {
  readonly cluster: RunnerConfig["cluster"]
  readonly postgres: PostgresSettings
  readonly incarnation: string
  readonly region: string
}

/** Plain, or under mutual TLS where runners have certificates. */
const sockets = (
  tls: RunnerConfig["cluster"]["tls"],
  region: string
): Layer.Layer<
  SocketServer.SocketServer | Runners.RpcClientProtocol,
  SocketServer.SocketServerError | ConfigInvalid,
  ShardingConfig.ShardingConfig | RpcSerialization.RpcSerialization
> =>
  tls === undefined
    ? Layer.merge(NodeClusterSocket.layerSocketServer, NodeClusterSocket.layerClientProtocol)
    : Layer.merge(layerSocketServer({ ...tls, region }), layerClientProtocol({ ...tls, region }))

/** A runner among others: sockets between them, storage and locks in PostgreSQL; needs `SqlClient` and `Membership`. */
export const layerRegion = ({ cluster, postgres, incarnation, region }: RegionOptions) => {
  const address = RunnerAddress.make(cluster.host, cluster.port)
  const listen = RunnerAddress.make(cluster.listenHost ?? cluster.host, cluster.port)
  const config = ShardingConfig.layer({
    ...shared,
    // Said outright: the library would read the bare variables HOST and PORT.
    runnerAddress: Option.some(address),
    runnerListenAddress: Option.some(listen),
    assignedShardGroups: [DEFAULT_GROUP],
    refreshAssignmentsInterval: READ_EVERY_MILLIS,
    sendRetryInterval: 50,
    shardLockRefreshInterval: LOCK_REFRESH_MILLIS,
    shardLockExpiration: Duration.millis(3 * LOCK_REFRESH_MILLIS),
    entityTerminationTimeout: Duration.seconds(6)
  })
  // Sessions of their own, so that a frozen runner's locks go with them and nothing else waits for these.
  const lockSessions: Layer.Layer<SqlClient.SqlClient, StorageUnavailable> = layerPostgres({
    postgres: { ...postgres, callTimeout: LOCK_CALL_MILLIS },
    applicationName: incarnation,
    connectionsMax: 3,
    idleSessionMillis: LOCK_IDLE_MILLIS
  })
  const storage = Layer.effectContext(regionStorage).pipe(
    Layer.provide(SqlRunnerStorage.layer.pipe(Layer.provide(lockSessions)))
  )
  return SocketRunner.layer.pipe(
    Layer.provide(sockets(cluster.tls, region)),
    Layer.provide(RunnerHealth.layerNoop),
    Layer.provideMerge(SqlMessageStorage.layer),
    Layer.provideMerge(storage),
    Layer.provide(config),
    Layer.provide(layerSerialization),
    Layer.mapError((error) => {
      switch (error._tag) {
        case "StorageUnavailable":
        case "ConfigInvalid":
          return error
        case "SqlError":
          return new StorageUnavailable({ operation: "make the cluster's storage", detail: reasonOf(error) })
        case "SocketServerError":
          return new RegionRefused({
            detail: `it can't listen for the other runners on ${listen.host}:${listen.port} (${reasonOf(error)}); cluster.port names another port`
          })
      }
    })
  )
}
