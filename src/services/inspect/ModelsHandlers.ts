// Answers questions about model versions, and hands on which is to score.
import { randomUUID } from "node:crypto"
import { HttpApiBuilder } from "@effect/platform"
import { Effect } from "effect"
import { GroundstateApi } from "../../schema/api/Api.ts"
import { ActivateRequest, RetireRequest } from "../../schema/api/ModelsApi.ts"
import type { ApiProblem } from "../../schema/error/ApiError.ts"
import { CommandId } from "../../schema/Ids.ts"
import { type ModelVersionRecord, registeredModel } from "../../schema/protocol/ModelProtocol.ts"
import { ModelStore } from "../model/ModelStore.ts"
import { Metrics } from "../observe/Metrics.ts"
import { unknownDrift } from "../rollout/drift.ts"
import { Streams } from "../runtime/Streams.ts"
import { Projections } from "../state/Projections.ts"
import { Actors } from "./Actors.ts"
import { AskedBy, decider } from "./caller.ts"
import { joinedDrift } from "./joinedDrift.ts"
import { problemOfError } from "./problems.ts"
import { readJson } from "./requestBody.ts"
import { servedStream } from "./servedStream.ts"

/** Cells asked at once for what they have counted. */
const CELLS_AT_ONCE = 32

export const ModelsHandlers = HttpApiBuilder.group(GroundstateApi, "models", (handlers) =>
  Effect.gen(function* () {
    const actors = yield* Actors
    const streams = yield* Streams
    const projections = yield* Projections
    const metrics = yield* Metrics
    const store = yield* ModelStore

    const counted = <A>(kind: "activate" | "retire", command: Effect.Effect<A, ApiProblem>) =>
      Effect.tapBoth(command, {
        onSuccess: () => Effect.sync(() => metrics.command(kind, "applied")),
        onFailure: (problem) =>
          Effect.sync(() => metrics.command(kind, problem.status === 503 ? "failed" : "refused"))
      })
    const commandOf = (key: CommandId | undefined) => key ?? CommandId.make(randomUUID())

    /** What the cells of an active version's stream see together. */
    const driftOf = (record: ModelVersionRecord) =>
      Effect.gen(function* () {
        const served = record.stream === null ? undefined : streams.get(record.stream)
        if (record.state !== "active" || served === undefined) return { drift: null, driftMissing: 0 }
        const bundle = yield* Effect.orElseSucceed(store.get(record.digest), () => undefined)
        const answers = yield* Effect.forEach(
          Array.from({ length: served.partitions }, (_, partition) => partition),
          (partition) => Effect.option(actors.cellDrift(served.plan.stream, partition)),
          { concurrency: CELLS_AT_ONCE }
        )
        const counts = answers.flatMap((answer) =>
          answer._tag === "Some" && answer.value?.digest === record.digest ? [answer.value.counts] : []
        )
        return {
          drift: bundle === undefined ? unknownDrift : joinedDrift(bundle.manifest, served.plan, counts),
          driftMissing: answers.filter(({ _tag }) => _tag === "None").length
        }
      })

    return handlers
      .handle("list", () =>
        Effect.gen(function* () {
          const known = yield* projections.models
          const digests = new Set(known.map((model) => model.digest))
          // Versions that only lie in the store have no record yet: nothing was ever decided about them.
          const stored = (yield* store.list).filter((model) => !digests.has(model.digest))
          return {
            items: [...known, ...stored.map((model) => registeredModel(model.digest, model.manifest))]
          }
        }).pipe(Effect.mapError((error) => problemOfError(error) as ApiProblem))
      )
      .handle("describe", ({ path }) =>
        Effect.gen(function* () {
          const record = yield* actors.describeModel(path.digest)
          return { ...record, ...(yield* driftOf(record)) }
        })
      )
      .handleRaw("activate", ({ request, path, headers }) =>
        counted(
          "activate",
          Effect.gen(function* () {
            const { stream, by } = yield* readJson(request, ActivateRequest)
            yield* servedStream(streams, stream)
            // Given to this runner a moment ago, it is shared with whichever runner its actor lives on.
            yield* Effect.ignore(store.get(path.digest))
            return yield* actors.activate(path.digest, {
              command: commandOf(headers["idempotency-key"]),
              stream,
              by: decider(yield* AskedBy, by)
            })
          })
        )
      )
      .handleRaw("retire", ({ request, path, headers }) =>
        counted(
          "retire",
          Effect.gen(function* () {
            const { by } = yield* readJson(request, RetireRequest)
            return yield* actors.retire(path.digest, {
              command: commandOf(headers["idempotency-key"]),
              by: decider(yield* AskedBy, by)
            })
          })
        )
      )
  })
)
