// The actor of one partition: one supervised fiber runs the hot loop, questions and commands reach it meanwhile.
import { Entity, Sharding } from "@effect/cluster"
import { Duration, Effect } from "effect"
import { CellProtocol, CellUnavailable } from "../../schema/protocol/CellProtocol.ts"
import { parseCellId } from "../../schema/protocol/slots.ts"
import type { Verdict } from "../../schema/verdict/Verdict.ts"
import { Asks } from "../../services/observe/Asks.ts"
import { Settings } from "../../services/runtime/Settings.ts"
import { Streams } from "../../services/runtime/Streams.ts"
import { makeCellHandle } from "./CellHandle.ts"
import { superviseCell } from "./CellSupervisor.ts"
import { describeDevice, listDevices } from "./deviceView.ts"

const build = Effect.gen(function* () {
  const address = yield* Entity.CurrentAddress
  const settings = yield* Settings
  const streams = yield* Streams
  const sharding = yield* Sharding.Sharding
  const asks = yield* Asks
  const { stream, partition } = parseCellId(address.entityId)
  const served = streams.get(stream)
  if (served === undefined) {
    return yield* Effect.dieMessage(`cell ${address.entityId}: this runner serves no stream ${stream}`)
  }
  const handle = yield* makeCellHandle(served, partition)
  // A cell whose shard has gone does not claim it back from its new owner.
  const supervised = superviseCell(handle, served, partition, () => sharding.hasShardId(address.shardId))
  // Registered first, so run last: what the loop reports while it stops is forgotten, too.
  yield* Effect.addFinalizer(() => Effect.sync(handle.forget))
  yield* Effect.forkScoped(supervised.pipe(Effect.annotateLogs({ stream, partition })))
  const leave = asks.open(stream, partition, handle.askers.wait)
  yield* Effect.addFinalizer(() => Effect.sync(leave))

  const live = Effect.suspend(() => {
    const core = handle.context?.core
    return core === undefined
      ? Effect.fail(
          new CellUnavailable({ stream, partition, detail: handle.status().pauseDetail ?? "it is starting" })
        )
      : Effect.succeed(core)
  })

  return CellProtocol.of({
    Inspect: () => Effect.sync(handle.status),
    Device: ({ payload }) =>
      Effect.map(live, (core) => describeDevice(core, handle, settings.runner, payload.device)),
    Drift: () =>
      Effect.map(live, (core) => {
        const counts = core.drift.counts()
        return counts === null ? null : { digest: counts.digest, counts: counts.bytes }
      }),
    Devices: ({ payload }) =>
      Effect.map(live, (core) => listDevices(core, payload.after, payload.limit, payload.prefix)),
    Judge: ({ payload }) =>
      Effect.async<Verdict>((resume) => {
        const stop = handle.askers.wait(payload.askId, (verdict) => resume(Effect.succeed(verdict)))
        return Effect.sync(stop)
      }).pipe(
        Effect.timeoutTo({
          duration: Duration.millis(payload.timeoutMillis),
          onSuccess: (verdict): Verdict | null => verdict,
          onTimeout: () => null
        })
      ),
    Command: ({ payload }) => handle.command(payload.command, payload.change)
  })
})

/** A cell is looked after by its waker; it never idles out between two looks. */
export const layer = CellProtocol.toLayer(build, {
  maxIdleTime: Duration.hours(24),
  concurrency: "unbounded",
  mailboxCapacity: 16_384
})
