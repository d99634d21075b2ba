// Questions to actors, wherever they live: each call is bounded in time and fails with a problem to answer.
import { Context, Effect, Layer, Schedule } from "effect"
import { ApiProblem } from "../../schema/error/ApiError.ts"
import { CellProtocol } from "../../schema/protocol/CellProtocol.ts"
import { DeviceProtocol, deviceEntityId } from "../../schema/protocol/DeviceProtocol.ts"
import { ModelProtocol } from "../../schema/protocol/ModelProtocol.ts"
import { RegionProtocol } from "../../schema/protocol/RegionProtocol.ts"
import { Metrics } from "../observe/Metrics.ts"
import { Cells } from "../runtime/Cells.ts"
import { problemOfError } from "./problems.ts"

/** An actor that has not answered after this long is treated as away. */
export const ACTOR_TIMEOUT_MILLIS = 5_000
/** An activation waits for every cell of a stream to take its command. */
export const ACTIVATION_TIMEOUT_MILLIS = 20_000

/** Passing states in which nothing was done: a cell that starts, a queue that is full, a shard that moves. */
const passing: ReadonlySet<unknown> = new Set(["CellUnavailable", "MailboxFull", "EntityNotAssignedToRunner"])
const isPassing = (error: unknown): boolean =>
  passing.has((error as { readonly _tag?: unknown } | null)?._tag)

/** 50, 100, 200, 400 ms: within a second, as a takeover takes about that long. */
const again = Schedule.intersect(Schedule.exponential("50 millis"), Schedule.recurs(4))

const silent = (millis: number) =>
  ApiProblem.of(
    "unavailable",
    `The actor did not answer within ${millis / 1_000} s: it is not known whether anything was done. Ask again, with the same idempotency key.`,
    { retryAfter: 1 }
  )

/**
 * Bounds one call. Every call made here may be repeated: reads change nothing, commands carry their command id.
 * An unexpected failure stays a defect, which is answered as such and logged.
 */
const boundedBy =
  (metrics: Metrics["Type"]) =>
  (millis: number, actor: "cell" | "device" | "model" | "region") =>
  <A, E, R>(call: Effect.Effect<A, E, R>): Effect.Effect<A, ApiProblem, R> =>
    call.pipe(
      Effect.tapError((error) =>
        Effect.sync(() => {
          if ((error as { readonly _tag?: unknown } | null)?._tag === "MailboxFull")
            metrics.mailboxRefused(actor)
        })
      ),
      Effect.retry({ while: isPassing, schedule: again }),
      Effect.catchAll((error) => {
        const problem = problemOfError(error)
        return problem === undefined ? Effect.die(error) : Effect.fail(problem)
      }),
      Effect.timeoutFail({ duration: millis, onTimeout: () => silent(millis) })
    )

const make = Effect.gen(function* () {
  const cells = yield* Cells
  const cell = yield* CellProtocol.client
  const device = yield* DeviceProtocol.client
  const model = yield* ModelProtocol.client
  const region = yield* RegionProtocol.client
  const bounded = boundedBy(yield* Metrics)
  const askCell = bounded(ACTOR_TIMEOUT_MILLIS, "cell")
  const askDevice = bounded(ACTOR_TIMEOUT_MILLIS, "device")
  const at = (stream: string, partition: number) => cell(cells.idOf(stream, partition))
  const actor = (stream: string, id: string) => device(deviceEntityId(stream, id))
  type DevicesQuery = { readonly after: number; readonly limit: number; readonly prefix: string }
  type Payload<N extends keyof ReturnType<typeof device>> = Parameters<ReturnType<typeof device>[N]>[0]
  return {
    inspectCell: (stream: string, partition: number) => askCell(at(stream, partition).Inspect()),
    cellDevice: (stream: string, partition: number, id: string) =>
      askCell(at(stream, partition).Device({ device: id })),
    cellDevices: (stream: string, partition: number, query: DevicesQuery) =>
      askCell(at(stream, partition).Devices(query)),
    cellDrift: (stream: string, partition: number) => askCell(at(stream, partition).Drift()),
    /** Not repeated and not turned into problems: whoever asks has another answer at hand. */
    judge: (stream: string, partition: number, askId: string, timeoutMillis: number) =>
      at(stream, partition).Judge({ askId, timeoutMillis }),
    describeDevice: (stream: string, id: string) => askDevice(actor(stream, id).Describe()),
    quarantine: (stream: string, id: string, payload: Payload<"Quarantine">) =>
      askDevice(actor(stream, id).Quarantine(payload)),
    release: (stream: string, id: string, payload: Payload<"Release">) =>
      askDevice(actor(stream, id).Release(payload)),
    override: (stream: string, id: string, payload: Payload<"Override">) =>
      askDevice(actor(stream, id).Override(payload)),
    label: (stream: string, id: string, payload: Payload<"Label">) =>
      askDevice(actor(stream, id).Label(payload)),
    describeModel: (digest: string) => bounded(ACTOR_TIMEOUT_MILLIS, "model")(model(digest).Describe()),
    activate: (digest: string, payload: Parameters<ReturnType<typeof model>["Activate"]>[0]) =>
      bounded(ACTIVATION_TIMEOUT_MILLIS, "model")(model(digest).Activate(payload)),
    retire: (digest: string, payload: Parameters<ReturnType<typeof model>["Retire"]>[0]) =>
      bounded(ACTIVATION_TIMEOUT_MILLIS, "model")(model(digest).Retire(payload)),
    reportRegion: (id: string) => bounded(ACTOR_TIMEOUT_MILLIS, "region")(region(id).Report())
  }
})

/** Typed calls to cells, devices, model versions and regions; needs Sharding only while it is built. */
export class Actors extends Context.Tag("groundstate/services/inspect/Actors")<
  Actors,
  Effect.Effect.Success<typeof make>
>() {
  static readonly layer = Layer.effect(Actors, make)
}
