// The Node server under the HTTP surface: bounded in time, size and connections, and closed in order.
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse
} from "node:http"
import { createServer as createTlsServer } from "node:https"
import type { Duplex } from "node:stream"
import { type HttpMiddleware, HttpServer } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Context, Effect, Layer, type Scope } from "effect"
import {
  ApiProblem,
  PROBLEM_CONTENT_TYPE,
  type ProblemKind,
  problemKinds
} from "../../schema/error/ApiError.ts"
import type { ConfigInvalid } from "../../schema/error/ConfigError.ts"
import { Metrics } from "../observe/Metrics.ts"
import { followIdentity, type Identity } from "../runtime/access/liveIdentity.ts"
import { type RunnerConfig, Settings } from "../runtime/Settings.ts"
import { keepWithin } from "./connections.ts"
import { LiveFeed } from "./LiveFeed.ts"
import { problemText } from "./problems.ts"

/** Requests still running this long after the server was told to close are cut. */
export const CLOSE_TIMEOUT_MILLIS = 10_000

/** Lines and headers of one request; a larger one is refused before anything reads it. */
const HEADER_BYTES_MAX = 16 * 1024

/**
 * Connections that the kernel keeps until they are accepted, as far as it lets (`net.core.somaxconn`): one that finds no
 * place comes again only after a second.
 */
const BACKLOG = 4_096

/** A TLS handshake that takes longer is cut off. */
const HANDSHAKE_MILLIS = 5_000

/** A client that takes nothing of its answer for so long is cut off. */
const STUCK_MILLIS = 10_000

/** How often Node looks for requests that take too long to arrive. */
const ARRIVAL_CHECK_MILLIS = 1_000

interface ParserError extends Error {
  readonly code?: string
}

const kindOf = (error: ParserError): ProblemKind => {
  switch (error.code) {
    case "HPE_HEADER_OVERFLOW":
      return "headers-too-large"
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return "request-timeout"
    default:
      return "malformed-request"
  }
}

const rawDetail: Partial<Record<ProblemKind, string>> = {
  "headers-too-large": `Request line and headers have more than ${HEADER_BYTES_MAX} bytes; nothing was done.`,
  "request-timeout": "The request did not arrive in time; nothing was done. Send it again, in smaller parts."
}

const rawAnswer = (kind: ProblemKind, detail: string): string => {
  const text = problemText(ApiProblem.of(kind, detail))
  const { status, title } = problemKinds[kind]
  return (
    `HTTP/1.1 ${status} ${title}\r\nContent-Type: ${PROBLEM_CONTENT_TYPE}\r\nConnection: close\r\n` +
    `X-Content-Type-Options: nosniff\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`
  )
}

/** What Node's parser refuses never becomes a request: the problem is written to the bare socket. */
const answerParserError = (error: ParserError, socket: Duplex) => {
  const answering = (socket as Duplex & { readonly _httpMessage?: { readonly headersSent: boolean } | null })
    ._httpMessage
  if (error.code === "ECONNRESET" || !socket.writable || answering?.headersSent === true) {
    socket.destroy()
    return
  }
  const kind = kindOf(error)
  socket.end(rawAnswer(kind, rawDetail[kind] ?? "What arrived is not an HTTP request; nothing was done."))
}

/** Answers a request outside of the surface: its connection closes with the answer. */
const answerAside = (response: ServerResponse, problem: ApiProblem) => {
  response.writeHead(problem.status, {
    "content-type": PROBLEM_CONTENT_TYPE,
    "x-content-type-options": "nosniff",
    connection: "close",
    ...(problem.retryAfter === undefined ? {} : { "retry-after": String(problem.retryAfter) })
  })
  response.end(problemText(problem))
}

const noExpectation = ApiProblem.of(
  "expectation-failed",
  "The only expectation met here is 100-continue; nothing was done. Send the request without `Expect`."
)
const stopping = ApiProblem.of("unavailable", "This runner is stopping; ask another, or again.", {
  retryAfter: 1
})

/** Once the handlers are gone, a request on a connection that is still open is told to go elsewhere. */
const refuseLateRequests = (server: Server) => {
  server.on("request", (_, response) => answerAside(response, stopping))
}

/** Answers a request itself, or says that it is not for it. Must not throw. */
export type DirectRoute = (request: IncomingMessage, response: ServerResponse) => boolean

/** The way past the router, for requests that come often. */
export class DirectRoutes extends Context.Tag("groundstate/services/inspect/DirectRoutes")<
  DirectRoutes,
  {
    /** Asked first about every request, until the scope closes. One at a time. */
    readonly open: (route: DirectRoute) => Effect.Effect<void, never, Scope.Scope>
  }
>() {}

/** An HTTP server, or an HTTPS one whose certificate follows its files. */
const makeBare = (
  limits: ServerOptions,
  tls: RunnerConfig["http"]["tls"]
): Effect.Effect<Server, ConfigInvalid, Scope.Scope> =>
  Effect.gen(function* () {
    if (tls === undefined) return createServer(limits)
    const options = { minVersion: "TLSv1.2", handshakeTimeout: HANDSHAKE_MILLIS } as const
    let renew = (_: Identity): void => undefined
    const live = yield* followIdentity("http.tls", tls, (identity) => renew(identity))
    const server = createTlsServer({ ...limits, ...options, ...live.current() })
    renew = (identity) => server.setSecureContext({ ...options, ...identity })
    return server
  })

/**
 * Listens where `Settings.http` says; port 0 takes a free one, `HttpServer.address` tells which. When the scope
 * closes: live feeds end, no new request is taken, running ones finish or are cut after `CLOSE_TIMEOUT_MILLIS`.
 * Fails with ServeError where the port can't be had, with ConfigInvalid where a certificate can't be used.
 */
export const layer = Layer.scopedContext(
  Effect.gen(function* () {
    const { http } = yield* Settings
    const feed = yield* LiveFeed
    const limits = {
      headersTimeout: http.headersTimeout,
      requestTimeout: Math.max(http.requestTimeout, http.headersTimeout),
      connectionsCheckingInterval: ARRIVAL_CHECK_MILLIS,
      keepAliveTimeout: 5_000,
      maxHeaderSize: HEADER_BYTES_MAX
    }
    const server = yield* makeBare(limits, http.tls)
    const metrics = yield* Metrics
    yield* keepWithin(server, { max: http.connectionsMax, stuckMillis: STUCK_MILLIS }, metrics.connectionCut)
    server.on("clientError", answerParserError)
    server.on("checkExpectation", (_, response) => answerAside(response, noExpectation))
    const cut = Effect.zipRight(
      Effect.sleep(CLOSE_TIMEOUT_MILLIS),
      Effect.sync(() => server.closeAllConnections())
    )
    // Registered first, so run last: after the server has closed.
    const cutting = yield* Effect.acquireRelease(
      Effect.succeed({ stop: Effect.void as Effect.Effect<unknown> }),
      (it) => Effect.asVoid(it.stop)
    )
    const listening = yield* NodeHttpServer.make(() => server, {
      host: http.host,
      port: http.port,
      backlog: BACKLOG
    })
    yield* Effect.addFinalizer(() =>
      Effect.gen(function* () {
        refuseLateRequests(server)
        yield* feed.end
        // A fiber forked by a finalizer can't be interrupted unless it says so, and would keep the process waiting.
        const fiber = yield* Effect.forkDaemon(Effect.interruptible(cut))
        cutting.stop = fiber.interruptAsFork(fiber.id())
      })
    )
    let direct: DirectRoute = () => false
    const routes: DirectRoutes["Type"] = {
      open: (route) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            direct = route
          }),
          () =>
            Effect.sync(() => {
              direct = () => false
            })
        )
    }
    const served = HttpServer.make({
      address: listening.address,
      serve: (app, middleware) =>
        Effect.gen(function* () {
          const handler = yield* NodeHttpServer.makeHandler(app, middleware as HttpMiddleware.HttpMiddleware)
          const answer = (request: IncomingMessage, response: ServerResponse) => {
            if (!direct(request, response)) handler(request, response)
          }
          yield* Effect.acquireRelease(
            Effect.sync(() => server.on("request", answer)),
            () => Effect.sync(() => server.off("request", answer))
          )
        })
    })
    return Context.make(HttpServer.HttpServer, served).pipe(Context.add(DirectRoutes, routes))
  })
)
