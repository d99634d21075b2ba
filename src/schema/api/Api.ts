// The whole HTTP contract: groups under /v1, and the probes beside them. OpenAPI 3.1 is derived from it.
import { HttpApi, OpenApi } from "@effect/platform"
import { PROBLEM_CONTENT_TYPE, problemOf } from "../error/ApiError.ts"
import { type Need, needOf, roleFor } from "./Access.ts"
import { DeadLettersApi } from "./DeadLettersApi.ts"
import { DevicesApi } from "./DevicesApi.ts"
import { EventsApi } from "./EventsApi.ts"
import { AlertsApi, IncidentsApi } from "./IncidentsApi.ts"
import { ModelsApi } from "./ModelsApi.ts"
import { ProbesApi } from "./ProbesApi.ts"
import { CellsApi, RegionsApi, RunnersApi, StreamsApi } from "./RegionApi.ts"

/** Version of the contract: grows when something is added; what is there is not taken away within /v1. */
export const API_VERSION = "1.0.0"

const problemContent = { [PROBLEM_CONTENT_TYPE]: { schema: { $ref: "#/components/schemas/ApiProblem" } } }

interface Operation {
  readonly responses: Record<string, unknown>
  security?: ReadonlyArray<Readonly<Record<string, ReadonlyArray<string>>>>
}

/** Which role an operation needs, as security requirement, and what is answered to others. */
const tellAccess = (operation: Operation, need: Need) => {
  if (need === "nothing") {
    operation.security = []
    return
  }
  operation.security = [{ token: [roleFor(need)] }]
  operation.responses["401"] = { description: "no token, or one that does not hold", content: problemContent }
  operation.responses["403"] = {
    description: `the token has not the role ${roleFor(need)}`,
    content: problemContent
  }
}

const needs = (): ReadonlyMap<string, Need> => {
  const byOperation = new Map<string, Need>()
  HttpApi.reflect(GroundstateApi, {
    onGroup: () => {},
    onEndpoint: ({ endpoint, mergedAnnotations }) => {
      const path = endpoint.path.replaceAll(/:(\w+)/g, "{$1}")
      byOperation.set(`${endpoint.method.toLowerCase()} ${path}`, needOf(endpoint.method, mergedAnnotations))
    }
  })
  return byOperation
}

/** The framework's own error for what it can't decode is answered as a problem: the document says so. */
const tellProblems = (document: Record<string, unknown>): Record<string, unknown> => {
  const paths = document["paths"] as Record<string, Record<string, Operation>>
  const needed = needs()
  for (const [path, operations] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      operation.responses["400"] = { description: "the request can't be read", content: problemContent }
      tellAccess(operation, needed.get(`${method} ${path}`) ?? "administer")
    }
  }
  const components = document["components"] as { schemas: Record<string, Record<string, unknown>> }
  const { HttpApiDecodeError: _1, Issue: _2, PropertyKey: _3, ...schemas } = components.schemas
  const ApiProblem = { ...schemas["ApiProblem"], description: "RFC 9457 problem details" }
  const securitySchemes = {
    token: {
      type: "http",
      scheme: "bearer",
      description:
        "A token of `groundstate tokens create`, or a JWT of the issuer that the runner trusts. Runners that answer " +
        "their own machine alone may be set up without."
    }
  }
  return {
    ...document,
    components: { ...components, securitySchemes, schemas: { ...schemas, ApiProblem } }
  }
}

export const GroundstateApi = HttpApi.make("groundstate")
  .add(EventsApi.prefix("/v1"))
  .add(DevicesApi.prefix("/v1"))
  .add(CellsApi.prefix("/v1"))
  .add(RegionsApi.prefix("/v1"))
  .add(RunnersApi.prefix("/v1"))
  .add(ModelsApi.prefix("/v1"))
  .add(IncidentsApi.prefix("/v1"))
  .add(AlertsApi.prefix("/v1"))
  .add(StreamsApi.prefix("/v1"))
  .add(DeadLettersApi.prefix("/v1"))
  .add(ProbesApi)
  .addError(problemOf(400, "the request can't be read"))
  .addError(problemOf(503, "a part that is needed can't answer now; ask again after `Retry-After`"))
  .annotate(OpenApi.Title, "Groundstate")
  .annotate(OpenApi.Version, API_VERSION)
  .annotate(
    OpenApi.Description,
    "Scores event streams where the events arise. Every error is `application/problem+json` (RFC 9457); lists " +
      "have opaque cursors; decisions take `If-Match` and `Idempotency-Key`."
  )
  .annotate(OpenApi.Transform, tellProblems)
  .annotate(OpenApi.License, { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" })
