// Answers questions about model versions, and hands on which is to score.
import { randomUUID } from "node:crypto"
import { HttpApiBuilder } from "@effect/platform"
import { Effect } from "effect"
import { GroundstateApi } from "../../schema/api/Api.ts"
import { ActivateRequest, RetireRequest } from "../../schema/api/ModelsApi.ts"
import type { ApiProblem } from "../../schema/error/ApiError.ts"
import { CommandId } from "../../schema/Ids.ts"
import { registeredModel } from "../../schema/protocol/ModelProtocol.ts"
import { ModelStore } from "../model/ModelStore.ts"
import { Metrics } from "../observe/Metrics.ts"
import { Streams } from "../runtime/Streams.ts"
import { Projections } from "../state/Projections.ts"
import { Actors } from "./Actors.ts"
import { AskedBy, decider } from "./caller.ts"
import { problemOfError } from "./problems.ts"
import { readJson } from "./requestBody.ts"
import { servedStream } from "./servedStream.ts"

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
      .handle("describe", ({ path }) => actors.describeModel(path.digest))
      .handleRaw("activate", ({ request, path, headers }) =>
        counted(
          "activate",
          Effect.gen(function* () {
            const { stream, by } = yield* readJson(request, ActivateRequest)
            yield* servedStream(streams, stream)
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
