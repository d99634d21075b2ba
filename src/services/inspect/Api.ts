// The HTTP surface put together: contract, handlers, guard, reference page. Serves on whatever server is there.
import {
  HttpApiBuilder,
  HttpApiScalar,
  HttpMiddleware,
  HttpRouter,
  type HttpServerRequest,
  HttpServerResponse
} from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { GroundstateApi } from "../../schema/api/Api.ts"
import { Metrics } from "../observe/Metrics.ts"
import { Access } from "./Access.ts"
import { Actors } from "./Actors.ts"
import { makeAccessLog } from "./accessLog.ts"
import { DeadLettersHandlers } from "./DeadLettersHandlers.ts"
import { DevicesHandlers } from "./DevicesHandlers.ts"
import * as DirectEvents from "./DirectEvents.ts"
import { EventsHandlers } from "./EventsHandlers.ts"
import { makeGuard } from "./guard.ts"
import { AlertsHandlers, IncidentsHandlers } from "./IncidentsHandlers.ts"
import { Ingestion } from "./Ingestion.ts"
import { ModelsHandlers } from "./ModelsHandlers.ts"
import { openApiDocument, routesOf } from "./openApi.ts"
import { ProbesHandlers } from "./ProbesHandlers.ts"
import { CellsHandlers, RegionsHandlers, RunnersHandlers, StreamsHandlers } from "./RegionHandlers.ts"
import { TARGET_CHARACTERS_MAX } from "./routes.ts"

const handlers = Layer.mergeAll(
  EventsHandlers,
  DevicesHandlers,
  CellsHandlers,
  RegionsHandlers,
  RunnersHandlers,
  ModelsHandlers,
  IncidentsHandlers,
  AlertsHandlers,
  StreamsHandlers,
  DeadLettersHandlers,
  ProbesHandlers
)

const pages = HttpApiBuilder.Router.use((router) =>
  Effect.gen(function* () {
    const document = HttpServerResponse.unsafeJson(openApiDocument())
    yield* router.get("/openapi.json", Effect.succeed(document))
    yield* router.get("/", Effect.succeed(HttpServerResponse.redirect("/docs", { status: 302 })))
  })
)

const reference = HttpApiScalar.layer({
  path: "/docs",
  scalar: { withDefaultFonts: false, hideTestRequestButton: false, defaultOpenAllTags: false }
})

const guard = HttpApiBuilder.middleware(
  Effect.gen(function* () {
    return makeGuard(routesOf(), yield* Metrics, yield* Access, yield* makeAccessLog)
  })
)

/** Addresses are taken as they are: case counts, slashes are not merged, and an id may be long. */
const routing = HttpRouter.setRouterConfig({
  caseSensitive: true,
  ignoreTrailingSlash: false,
  ignoreDuplicateSlashes: false,
  maxParamLength: TARGET_CHARACTERS_MAX
})

/** Probes are asked every few seconds by machines; traces of them only cover those of people. */
const untraced: ReadonlySet<string> = new Set(["/livez", "/readyz", "/metrics"])

const isUntraced = (request: HttpServerRequest.HttpServerRequest): boolean => untraced.has(request.url)

/**
 * Answers requests until its scope closes. Needs the server, the streams and settings, the log, the dead
 * letters, the projections, the fallback rules, the live feed, and Sharding with Cells (for the actors).
 */
export const layer = Layer.merge(HttpApiBuilder.serve(), DirectEvents.layer).pipe(
  Layer.provide(pages),
  Layer.provide(reference),
  Layer.provide(HttpApiBuilder.api(GroundstateApi).pipe(Layer.provide(handlers))),
  Layer.provide(guard),
  Layer.provide([Actors.layer, Ingestion.layer, NodeHttpServer.layerContext]),
  Layer.provideMerge(Access.layer),
  Layer.provide(routing),
  HttpMiddleware.withTracerDisabledWhen(isUntraced)
)
