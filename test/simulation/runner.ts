// A simulated runner: the product's cell, emitter and device batches in a process whose requests the world holds up.
import { Effect, FiberId, Layer, Logger, LogLevel, Random } from "effect"
import { type CellHandle, makeCellHandle } from "../../src/actors/cell/CellHandle.ts"
import { superviseCell } from "../../src/actors/cell/CellSupervisor.ts"
import { Models } from "../../src/actors/cell/Models.ts"
import * as DeviceBatches from "../../src/actors/device/DeviceBatches.ts"
import { ModelRefused } from "../../src/schema/error/ModelError.ts"
import type { CellChange } from "../../src/schema/protocol/CellProtocol.ts"
import { DeadLetters } from "../../src/services/ingest/DeadLetters.ts"
import { EventLog } from "../../src/services/ingest/EventLog.ts"
import { AlertFeed } from "../../src/services/observe/AlertFeed.ts"
import { Health } from "../../src/services/observe/Health.ts"
import { Metrics } from "../../src/services/observe/Metrics.ts"
import { Ownership } from "../../src/services/runtime/Ownership.ts"
import { Settings } from "../../src/services/runtime/Settings.ts"
import { Streams } from "../../src/services/runtime/Streams.ts"
import { Checkpoint } from "../../src/services/state/Checkpoint.ts"
import { KEY, model, served, settings } from "./scenario.ts"
import type { SimulatedProcess, World } from "./world.ts"

/** What a runner reaches outside of itself, through gates of its own. */
export interface Ports {
  readonly log: EventLog["Type"]
  readonly store: Checkpoint["Type"]
  /** Can the model be opened now? */
  readonly hasModel: () => boolean
  readonly actors: Layer.Layer<import("../../src/services/state/ActorStore.ts").ActorStore>
}

export interface SimulatedRunner {
  readonly process: SimulatedProcess
  readonly handle: () => CellHandle | undefined
  /** Its cell has ended, or it is dead. */
  readonly over: () => boolean
  /** The shard has gone: the cell is stopped in order and not started again. */
  readonly stop: () => void
  /** Asks its cell for a change; hears the answer unless the process ends before. */
  readonly command: (id: string, change: CellChange, answer: (result: CommandAnswer) => void) => void
}

export type CommandAnswer =
  | { readonly _tag: "Recorded"; readonly offset: number; readonly fresh: boolean }
  | { readonly _tag: "Refused" | "Unavailable"; readonly detail: string }

/** Counts for nobody. */
const metrics = new Proxy({} as Metrics["Type"], { get: () => () => undefined })

const modelsWhere = (hasModel: Ports["hasModel"]) =>
  Layer.succeed(Models, {
    open: (digest) =>
      Effect.suspend(() =>
        digest === model.digest && hasModel()
          ? Effect.succeed(model)
          : Effect.fail(new ModelRefused({ model: digest, reason: "missing-file", detail: "there is none" }))
      )
  })
const streams = Layer.succeed(Streams, { all: [served], get: () => served })

export const startRunner = (world: World, process: SimulatedProcess, ports: Ports): SimulatedRunner => {
  let handle: CellHandle | undefined
  let owned = true
  let over = false
  let built = false
  const layer = DeviceBatches.layer.pipe(
    Layer.provideMerge(
      Layer.mergeAll(DeadLetters.layer({ partitions: 1 }), modelsWhere(ports.hasModel), streams, ports.actors)
    ),
    Layer.provideMerge(
      Layer.mergeAll(
        Layer.succeed(EventLog, ports.log),
        Layer.succeed(Checkpoint, ports.store),
        Layer.succeed(Settings, { ...settings, runner: process.name }),
        Layer.succeed(Metrics, metrics),
        Health.layer,
        // No lease: what the simulation finds must be held by the epoch alone.
        Ownership.layerAlone,
        AlertFeed.layer
      )
    )
  )
  const seed = world.below(2 ** 30)
  const owning = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    effect.pipe(
      Effect.withClock(world.clockOf(process)),
      Effect.withRandom(Random.make(seed)),
      Logger.withMinimumLogLevel(LogLevel.None)
    )
  const fiber = Effect.runFork(
    owning(
      Effect.gen(function* () {
        built = true
        if (!owned) return
        const made = yield* makeCellHandle(served, KEY.partition)
        handle = made
        yield* superviseCell(made, served, KEY.partition, () => owned)
      }).pipe(Effect.provide(layer), Effect.scoped)
    ),
    { scheduler: process }
  )
  fiber.addObserver(() => {
    over = true
  })
  return {
    process,
    handle: () => handle,
    over: () => over || process.state === "dead",
    stop: () => {
      owned = false
      world.note(process.name, "is told to stop")
      // A process that starts is not interrupted in it: it finds out when it has started.
      if (built) fiber.unsafeInterruptAsFork(FiberId.none)
    },
    command: (id, change, answer) => {
      const asked = Effect.suspend(() =>
        handle === undefined
          ? Effect.succeed<CommandAnswer>({ _tag: "Unavailable", detail: "it starts" })
          : Effect.match(handle.command(id, change), {
              onSuccess: ({ fresh, offset }): CommandAnswer => ({ _tag: "Recorded", offset, fresh }),
              onFailure: (error): CommandAnswer => ({
                _tag: error._tag === "CommandRefused" ? "Refused" : "Unavailable",
                detail: error.message
              })
            })
      )
      Effect.runFork(owning(asked), { scheduler: process }).addObserver((exit) =>
        answer(exit._tag === "Success" ? exit.value : { _tag: "Unavailable", detail: String(exit.cause) })
      )
    }
  }
}
