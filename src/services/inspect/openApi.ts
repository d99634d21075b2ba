// The OpenAPI 3.1 document of the contract, as it is published.
import { HttpApi, OpenApi } from "@effect/platform"
import { needOf } from "../../schema/api/Access.ts"
import { GroundstateApi } from "../../schema/api/Api.ts"
import type { Route } from "./routes.ts"

/** Served at /openapi.json; derived, so that it can't say anything else than the server does. */
export const openApiDocument = (): OpenApi.OpenAPISpec => OpenApi.fromApi(GroundstateApi)

/** Addresses that are no part of the contract: the contract itself, which tells nothing of what happens here. */
const pages: ReadonlyArray<Route> = ["/", "/docs", "/openapi.json"].map((template) => ({
  method: "GET",
  template,
  needs: "nothing"
}))

/** Every address that is answered. */
export const routesOf = (): ReadonlyArray<Route> => {
  const routes: Array<Route> = [...pages]
  HttpApi.reflect(GroundstateApi, {
    onGroup: () => {},
    onEndpoint: ({ endpoint, mergedAnnotations }) => {
      const { method, path } = endpoint
      routes.push({ method, template: path, needs: needOf(method, mergedAnnotations) })
    }
  })
  return routes
}
