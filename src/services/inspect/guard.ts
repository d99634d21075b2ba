// What stands around every request: addresses checked, failures told as problems, headers set, time counted.
import { type HttpApp, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServerRequest } from "@effect/platform-node"
import { Cause, Clock, Effect } from "effect"
import type { Need } from "../../schema/api/Access.ts"
import { ApiProblem } from "../../schema/error/ApiError.ts"
import type { Metrics } from "../observe/Metrics.ts"
import type { Access } from "./Access.ts"
import type { AccessLog } from "./accessLog.ts"
import { AskedBy, type Denial, denialOf, nobodyKnown } from "./caller.ts"
import { problemOfCause, problemResponse } from "./problems.ts"
import { type Match, makeMatcher, type Route } from "./routes.ts"

/** Nothing that this server answers may be run, framed or sniffed as something else. */
const securityHeaders = {
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin"
}

/** Headers of every answer but the reference page. */
export const answerHeaders = { "cache-control": "no-store", ...securityHeaders }

/** The reference page carries its script, styles and a WebAssembly module inside; it may ask this server, and nobody else. */
const pageHeaders = {
  ...securityHeaders,
  "cache-control": "no-cache",
  "content-security-policy":
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'unsafe-inline'; img-src 'self' data:; " +
    "font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

/** Methods as a label: what a client made up counts as `other`. */
const methodLabels: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "PATCH",
  "DELETE",
  "OPTIONS"
])

interface Refusal {
  readonly problem: ApiProblem
  readonly headers?: Readonly<Record<string, string>>
}

const refusal = (method: string, match: Exclude<Match, { readonly _tag: "Found" }>): Refusal => {
  switch (match._tag) {
    case "TooLong":
      return { problem: ApiProblem.of("uri-too-long", "The address is longer than any that exists here.") }
    case "Malformed":
      return { problem: ApiProblem.of("malformed-request", match.detail) }
    case "Unknown":
      return {
        problem: ApiProblem.of("not-found", "There is no such address; /openapi.json lists those that are.")
      }
    case "WrongMethod": {
      const allow = match.allow.join(", ")
      const detail = `This address does not take ${method}; it takes ${allow}.`
      return { problem: ApiProblem.of("method-not-allowed", detail), headers: { allow } }
    }
  }
}

/** The request's path alone, for `instance`; bounded. */
const instanceOf = (target: string): string => target.replace(/[?#].*$/s, "").slice(0, 2_048)

const foreign: Denial = {
  problem: ApiProblem.of(
    "forbidden",
    "The request comes from a web page of somebody else; nothing was done. Without tokens this runner answers its own " +
      "machine alone, under the names localhost and 127.0.0.1."
  ),
  headers: {},
  why: "foreign-page",
  caller: undefined
}

/** What an address needs here; undefined where any token will do, as for one that does not exist. */
const needOf = (found: Match, access: Access["Type"]): Need | undefined => {
  if (found._tag !== "Found") return undefined
  return found.template === "/metrics" && access.metricsOpen ? "nothing" : found.needs
}

/**
 * Wraps the router. Nothing behind it is asked before it is known that the caller may. Only failures that nobody
 * expects are logged, with their cause; answers never carry causes or stack traces.
 */
export const makeGuard = (
  routes: ReadonlyArray<Route>,
  metrics: Metrics["Type"],
  access: Access["Type"],
  log: AccessLog
) => {
  const match = makeMatcher(routes)

  const failed = (target: string, cause: Cause.Cause<unknown>) => {
    const { problem, expected } = problemOfCause(cause)
    const answer = problemResponse(problem.at(instanceOf(target)))
    return expected ? Effect.succeed(answer) : Effect.as(Effect.logError("A request failed", cause), answer)
  }

  return (app: HttpApp.Default): HttpApp.Default => {
    const answer = (found: Match, method: string, url: string): HttpApp.Default => {
      if (found._tag === "Found") return app
      if (found._tag === "WrongMethod" && method === "OPTIONS") {
        return Effect.succeed(
          HttpServerResponse.empty({ status: 204, headers: { allow: found.allow.join(", ") } })
        )
      }
      const { problem, headers } = refusal(method, found)
      return Effect.succeed(problemResponse(problem.at(instanceOf(url)), headers))
    }

    return Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      const startedAt = yield* Clock.currentTimeNanos
      const { method, url } = request
      const incoming = NodeHttpServerRequest.toIncomingMessage(request)
      const found = match(method, url)
      const route = found._tag === "Found" || found._tag === "WrongMethod" ? found.template : "none"
      const count = (status: number) =>
        Effect.map(Clock.currentTimeNanos, (now) => {
          const label = methodLabels.has(method) ? method : "other"
          metrics.httpRequest(route, label, status, Number(now - startedAt) / 1e9)
        })
      const outcome = yield* access.identify(incoming)
      const caller = outcome._tag === "Known" ? outcome.caller : undefined
      const need = needOf(found, access)
      const denial =
        need !== "nothing" && access.isForeign(incoming) ? foreign : denialOf(outcome, need, access.region)
      const answered =
        denial === undefined
          ? Effect.provideService(answer(found, method, url), AskedBy, caller ?? nobodyKnown)
          : Effect.succeed(problemResponse(denial.problem.at(instanceOf(url)), denial.headers))
      const response = yield* answered.pipe(
        Effect.catchAllCause((cause) =>
          // Nobody is there any more to read a problem.
          Cause.isInterruptedOnly(cause)
            ? Effect.zipRight(count(499), Effect.failCause(cause as Cause.Cause<never>))
            : failed(url, cause)
        )
      )
      yield* count(response.status)
      yield* log.request({ method, found, incoming, caller: denial?.caller ?? caller, denial, response })
      const page = found._tag === "Found" && found.template === "/docs"
      return HttpServerResponse.setHeaders(response, {
        ...(page ? pageHeaders : answerHeaders),
        ...response.headers
      })
    })
  }
}
