// The whole HTTP contract: groups under /v1, and the probes beside them. OpenAPI 3.1 is derived from it.
import { HttpApi, OpenApi } from "@effect/platform"
import { PROBLEM_CONTENT_TYPE, problemOf } from "../error/ApiError.ts"
import { DeadLettersApi } from "./DeadLettersApi.ts"
import { DevicesApi } from "./DevicesApi.ts"
import { EventsApi } from "./EventsApi.ts"
import { AlertsApi, IncidentsApi } from "./IncidentsApi.ts"
import { ModelsApi } from "./ModelsApi.ts"
import { ProbesApi } from "./ProbesApi.ts"
import { CellsApi, RegionsApi, StreamsApi } from "./RegionApi.ts"

/** Version of the contract: grows when something is added; what is there is not taken away within /v1. */
export const API_VERSION = "1.0.0"

const problemContent = { [PROBLEM_CONTENT_TYPE]: { schema: { $ref: "#/components/schemas/ApiProblem" } } }

/** The framework's own error for what it can't decode is answered as a problem: the document says so. */
const tellProblems = (document: Record<string, unknown>): Record<string, unknown> => {
  const paths = document["paths"] as Record<string, Record<string, { responses: Record<string, unknown> }>>
  for (const operation of Object.values(paths).flatMap((path) => Object.values(path))) {
    operation.responses["400"] = { description: "the request can't be read", content: problemContent }
  }
  const components = document["components"] as { schemas: Record<string, Record<string, unknown>> }
  const { HttpApiDecodeError: _1, Issue: _2, PropertyKey: _3, ...schemas } = components.schemas
  const ApiProblem = { ...schemas["ApiProblem"], description: "RFC 9457 problem details" }
  return { ...document, components: { ...components, schemas: { ...schemas, ApiProblem } } }
}

export const GroundstateApi = HttpApi.make("groundstate")
  .add(EventsApi.prefix("/v1"))
  .add(DevicesApi.prefix("/v1"))
  .add(CellsApi.prefix("/v1"))
  .add(RegionsApi.prefix("/v1"))
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
