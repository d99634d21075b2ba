// The access log: who asked for what was decided here, and who was denied. One line each; never a token's secret.
import type { IncomingMessage } from "node:http"
import type { HttpServerResponse } from "@effect/platform"
import { type Clock, Effect } from "effect"
import type { Caller, Denial } from "./caller.ts"
import type { Match } from "./routes.ts"

/** Denials told one by one in a minute; the others are counted, so that nobody can fill a disk with them. */
export const DENIALS_TOLD_MAX = 60
const DENIALS_WINDOW_MILLIS = 60_000

export interface AnsweredRequest {
  readonly method: string
  readonly found: Match
  readonly incoming: IncomingMessage
  /** Undefined where nobody known asked. */
  readonly caller: Caller | undefined
  readonly denial: Denial | undefined
  readonly response: HttpServerResponse.HttpServerResponse
}

export interface AccessLog {
  readonly request: (answered: AnsweredRequest) => Effect.Effect<void>
}

/** What stands in the path for the template's `:name`s, decoded: the device, the model. */
export const subjectOf = (template: string, path: string): Readonly<Record<string, string>> => {
  const segments = path.split("/")
  return Object.fromEntries(
    template
      .split("/")
      .flatMap((part, i) => (part.startsWith(":") ? [[part.slice(1), decodeURIComponent(segments[i])]] : []))
  )
}

const outcomeOf = (status: number): string =>
  status < 300 ? "done" : status < 500 ? "refused" : status === 503 ? "unavailable" : "failed"

const line = ({ method, found, incoming, caller, denial, response }: AnsweredRequest) => ({
  who: caller?.name ?? "nobody known",
  ...(caller?.token === undefined ? {} : { token: caller.token }),
  ...(caller === undefined ? {} : { roles: caller.roles.join(",") }),
  from: incoming.socket.remoteAddress ?? "unknown",
  method,
  route: found._tag === "Found" || found._tag === "WrongMethod" ? found.template : "none",
  ...(found._tag === "Found" ? subjectOf(found.template, found.path) : {}),
  status: response.status,
  outcome: denial === undefined ? outcomeOf(response.status) : "denied",
  ...(denial === undefined ? {} : { why: denial.why })
})

/** Decisions are told each; reading and sending events are not. */
export const makeAccessLog: Effect.Effect<AccessLog> = Effect.map(Effect.clock, (clock: Clock.Clock) => {
  let windowStart = Number.NEGATIVE_INFINITY
  let denials = 0

  const denied = (answered: AnsweredRequest) =>
    Effect.suspend(() => {
      const now = clock.unsafeCurrentTimeMillis()
      const fresh = now - windowStart >= DENIALS_WINDOW_MILLIS
      const untold = fresh ? Math.max(0, denials - DENIALS_TOLD_MAX) : 0
      if (fresh) {
        windowStart = now
        denials = 0
      }
      denials++
      const more =
        untold === 0
          ? Effect.void
          : Effect.logWarning("access").pipe(Effect.annotateLogs({ outcome: "denied", untold }))
      return denials > DENIALS_TOLD_MAX
        ? more
        : Effect.zipRight(more, Effect.logWarning("access").pipe(Effect.annotateLogs(line(answered))))
    })

  return {
    request: (answered) => {
      const { denial, found } = answered
      if (denial !== undefined) return denied(answered)
      const decides = found._tag === "Found" && (found.needs === "operate" || found.needs === "administer")
      return decides ? Effect.logInfo("access").pipe(Effect.annotateLogs(line(answered))) : Effect.void
    }
  }
})
