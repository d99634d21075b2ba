// The client of a runner's HTTP API: requests, pages, live events, and its problems as errors for people.
import { readFile } from "node:fs/promises"
import { HttpClient, HttpClientRequest, type HttpClientResponse } from "@effect/platform"
import { Effect, Either, ParseResult, Schema, Stream } from "effect"
import { CommandFailed, ServerRefused, ServerUnavailable, UsageInvalid } from "../../schema/error/CliError.ts"
import { Environment } from "../runtime/SettingsFile.ts"
import { joinedFlags, optionalFlag } from "./inputs.ts"
import { makeSseParser, type ServerSentEvent } from "./sse.ts"

/** Longest wait for the head of an answer. */
const ANSWER_TIMEOUT = "15 seconds"
/** Items asked for in one page. */
const PAGE_ITEMS_ASKED = 500
const DEFAULT_SERVER = "http://127.0.0.1:8080"

export type ApiError = ServerUnavailable | ServerRefused | CommandFailed

export type Query = Readonly<Record<string, string | number | boolean | undefined>>

export interface SendOptions {
  readonly headers?: Readonly<Record<string, string>>
  readonly contentType?: string
}

export interface Api {
  /** Base URL without a slash at the end. */
  readonly server: string
  /** The answer's JSON as it came. */
  readonly get: (path: string, query?: Query) => Effect.Effect<unknown, ApiError>
  /** Sends a JSON body (or text of `contentType`) and answers the answer's JSON; null where it has no body. */
  readonly post: (path: string, body: unknown, options?: SendOptions) => Effect.Effect<unknown, ApiError>
  /** Follows cursors until `limit` items are there. `next` is the cursor behind the last page read. */
  readonly list: (path: string, query: Query, limit: number) => Effect.Effect<Listed, ApiError>
  /** Server-sent events of one connection; ends when the server ends it. */
  readonly events: (path: string, query: Query, lastId: string) => Stream.Stream<ServerSentEvent, ApiError>
}

export interface Listed {
  readonly items: ReadonlyArray<unknown>
  readonly next: string | null
}

/** The runner that is asked, and the token that is shown to it; undefined where the environment says. */
export interface RunnerTarget {
  readonly url: string | undefined
  readonly token: string | undefined
}

/** `--server` and `--token` of every command that asks a runner. */
export const serverFlag = joinedFlags(
  optionalFlag("server", {
    value: "URL",
    about: `the runner's HTTP address; GROUNDSTATE_SERVER or ${DEFAULT_SERVER} without it`
  }),
  optionalFlag("token", {
    value: "TOKEN",
    about:
      "what the runner knows you by; others on this machine may read it here, but not in GROUNDSTATE_TOKEN or the file that GROUNDSTATE_TOKEN_FILE names"
  }),
  (url, token): RunnerTarget => ({ url, token })
)

const baseUrl = (text: string): Either.Either<string, UsageInvalid> => {
  const full = /^[a-z]+:\/\//i.test(text) ? text : `http://${text}`
  if (URL.canParse(full)) {
    const url = new URL(full)
    if ((url.protocol === "http:" || url.protocol === "https:") && url.username === "") {
      return Either.right(`${url.origin}${url.pathname.replace(/\/+$/, "")}`)
    }
  }
  return Either.left(
    new UsageInvalid({
      problem: `'${text}' is not an address of a server.`,
      next: `Give --server (or GROUNDSTATE_SERVER) as ${DEFAULT_SERVER}.`
    })
  )
}

const tokenInvalid = (problem: string) =>
  new UsageInvalid({
    problem,
    next: "Give it as --token TOKEN, in GROUNDSTATE_TOKEN, or in a file that GROUNDSTATE_TOKEN_FILE names."
  })

/** The token to show, wherever it stands; undefined where there is none. */
const tokenOf = (
  given: string | undefined,
  variables: Readonly<Record<string, string | undefined>>
): Effect.Effect<string | undefined, UsageInvalid> =>
  Effect.gen(function* () {
    const file = variables["GROUNDSTATE_TOKEN_FILE"]
    const named = given ?? (variables["GROUNDSTATE_TOKEN"] || undefined)
    const token =
      named !== undefined || file === undefined || file === ""
        ? named
        : yield* Effect.tryPromise({
            try: () => readFile(file, "utf8"),
            catch: (cause) =>
              tokenInvalid(
                `The file ${file} that GROUNDSTATE_TOKEN_FILE names can't be read (${(cause as NodeJS.ErrnoException).code}).`
              )
          })
    if (token === undefined) return undefined
    const trimmed = token.trim()
    // Never told back: a secret in the wrong form is still one.
    return /^[\w.~+/=-]+$/.test(trimmed)
      ? trimmed
      : yield* tokenInvalid("The token holds characters that no token has.")
  })

const Problem = Schema.Struct({
  title: Schema.optionalWith(Schema.String, { default: () => "" }),
  detail: Schema.optionalWith(Schema.String, { default: () => "" }),
  retryAfter: Schema.optional(Schema.Number),
  errors: Schema.optionalWith(
    Schema.Array(
      Schema.Struct({
        row: Schema.optional(Schema.Number),
        field: Schema.optional(Schema.String),
        detail: Schema.optionalWith(Schema.String, { default: () => "" })
      })
    ),
    { default: () => [] }
  )
})
const decodeProblem = Schema.decodeUnknownEither(Schema.parseJson(Problem))

/** What to do after an answer with this status, where the problem's own words don't say. */
const nextStep = (status: number, retryAfter: number | undefined): string => {
  if (status === 404) return "The `get` form of the command lists what is there."
  if (status === 409 || status === 412) return "Read it again (`describe`), then decide again."
  if (status === 429) return `Try again ${retryAfter === undefined ? "in a while" : `in ${retryAfter} s`}.`
  if (status === 401)
    return "Give a token: --token TOKEN, GROUNDSTATE_TOKEN or GROUNDSTATE_TOKEN_FILE; whoever runs the region makes them with `groundstate tokens create`."
  if (status === 403) return "Ask whoever runs the region for a token with that role."
  if (status >= 500) return "The runner's log says more; `groundstate doctor` looks for what is wrong."
  return "Correct the command and send it again; nothing was changed."
}

/** A problem document as an error; also takes answers that are not problem documents. */
export const refusal = (
  server: string,
  request: string,
  status: number,
  body: string
): ServerRefused | ServerUnavailable => {
  const problem = Either.getOrElse(decodeProblem(body), () => ({
    title: "",
    detail: body.trim().slice(0, 300),
    retryAfter: undefined,
    errors: []
  }))
  if (status === 503 || status === 502 || status === 504) {
    return new ServerUnavailable({
      server,
      detail: `it answered ${status} to ${request}${problem.detail === "" ? "" : ` (${problem.detail})`}`
    })
  }
  const entries = problem.errors
    .slice(0, 5)
    .map((entry) =>
      [entry.row === undefined ? "" : `row ${entry.row}`, entry.field ?? "", entry.detail]
        .filter((part) => part !== "")
        .join(": ")
    )
  const more =
    problem.errors.length > entries.length ? `; and ${problem.errors.length - entries.length} more` : ""
  return new ServerRefused({
    server,
    request,
    status,
    title: problem.title === "" ? `The runner refused ${request}` : problem.title,
    detail: entries.length === 0 ? problem.detail : `${problem.detail} (${entries.join("; ")}${more})`,
    next: nextStep(status, problem.retryAfter),
    retryAfter: problem.retryAfter ?? null,
    entries: problem.errors.map((entry) => ({
      row: entry.row ?? null,
      detail: entry.field === undefined ? entry.detail : `${entry.field}: ${entry.detail}`
    }))
  })
}

const listOf = (body: unknown): Listed | undefined => {
  if (Array.isArray(body)) return { items: body, next: null }
  if (typeof body !== "object" || body === null) return undefined
  const { items, next } = body as { readonly items?: unknown; readonly next?: unknown }
  return Array.isArray(items) ? { items, next: typeof next === "string" ? next : null } : undefined
}

/** What the runner said is not what this version understands. */
export const notUnderstood = (server: string, what: string, detail: string): CommandFailed =>
  new CommandFailed({
    problem: `${server} answered ${what} in a form that this version does not understand: ${detail}.`,
    next: "Use the `groundstate` of the runner's version (`groundstate --version`), or look at the answer with -o json."
  })

/** Decodes an answer for a table; the raw JSON stays what `-o json` prints. */
export const understand = <A, I>(
  api: Api,
  what: string,
  schema: Schema.Schema<A, I>
): ((body: unknown) => Effect.Effect<A, CommandFailed>) => {
  const decode = Schema.decodeUnknown(schema)
  return (body) =>
    Effect.mapError(decode(body), (error) =>
      notUnderstood(
        api.server,
        what,
        ParseResult.ArrayFormatter.formatErrorSync(error).map(
          (issue) => `${issue.path.join(".")}: ${issue.message}`
        )[0]
      )
    )
}

/** The API of the runner at `--server`. */
export const makeApi = (
  target: RunnerTarget
): Effect.Effect<Api, UsageInvalid, HttpClient.HttpClient | Environment> =>
  Effect.gen(function* () {
    const { variables } = yield* Environment
    const token = yield* tokenOf(target.token, variables)
    const client =
      token === undefined
        ? yield* HttpClient.HttpClient
        : HttpClient.mapRequest(yield* HttpClient.HttpClient, HttpClientRequest.bearerToken(token))
    const base = yield* baseUrl(target.url ?? (variables["GROUNDSTATE_SERVER"] || DEFAULT_SERVER))

    const answer = (request: HttpClientRequest.HttpClientRequest, name: string) =>
      client.execute(request).pipe(
        Effect.timeoutFail({
          duration: ANSWER_TIMEOUT,
          onTimeout: () =>
            new ServerUnavailable({ server: base, detail: `it did not answer ${name} within 15 s` })
        }),
        Effect.catchTags({
          RequestError: (error) =>
            Effect.fail(new ServerUnavailable({ server: base, detail: rootCause(error) })),
          ResponseError: (error) =>
            Effect.fail(new ServerUnavailable({ server: base, detail: rootCause(error) }))
        }),
        Effect.flatMap((response) =>
          response.status < 400
            ? Effect.succeed(response)
            : Effect.flatMap(textOf(response), (body) =>
                Effect.fail(refusal(base, name, response.status, body))
              )
        )
      )

    const textOf = (response: HttpClientResponse.HttpClientResponse) =>
      Effect.mapError(
        response.text,
        (error) => new ServerUnavailable({ server: base, detail: rootCause(error) })
      )

    const json = (
      request: HttpClientRequest.HttpClientRequest,
      name: string
    ): Effect.Effect<unknown, ApiError> =>
      Effect.gen(function* () {
        const text = yield* Effect.flatMap(answer(request, name), textOf)
        if (text.trim() === "") return null
        return yield* Effect.try({
          try: () => JSON.parse(text) as unknown,
          catch: () => notUnderstood(base, name, "not JSON")
        })
      }).pipe(Effect.scoped)

    const get = (path: string, query: Query = {}) =>
      json(
        HttpClientRequest.get(base + path).pipe(
          HttpClientRequest.setUrlParams(query),
          HttpClientRequest.setHeader("accept", "application/json")
        ),
        `GET ${path}`
      )

    return {
      server: base,
      get,
      post: (path, body, options = {}) =>
        json(
          HttpClientRequest.post(base + path).pipe(
            HttpClientRequest.setHeaders({ accept: "application/json", ...options.headers }),
            typeof body === "string"
              ? HttpClientRequest.bodyText(body, options.contentType ?? "text/plain")
              : HttpClientRequest.bodyText(JSON.stringify(body), options.contentType ?? "application/json")
          ),
          `POST ${path}`
        ),
      list: (path, query, limit) =>
        Effect.gen(function* () {
          const items: Array<unknown> = []
          let next: string | null = null
          do {
            const body: unknown = yield* get(path, {
              ...query,
              limit: Math.min(PAGE_ITEMS_ASKED, limit - items.length),
              ...(next === null ? {} : { cursor: next })
            })
            const page = listOf(body)
            if (page === undefined) return yield* notUnderstood(base, `GET ${path}`, "not a list")
            items.push(...page.items)
            next = page.items.length === 0 ? null : page.next
          } while (next !== null && items.length < limit)
          return { items: items.slice(0, limit), next }
        }),
      events: (path, query, lastId) =>
        Stream.unwrap(
          Effect.map(
            answer(
              HttpClientRequest.get(base + path).pipe(
                HttpClientRequest.setUrlParams(query),
                HttpClientRequest.setHeaders({
                  accept: "text/event-stream",
                  ...(lastId === "" ? {} : { "last-event-id": lastId })
                })
              ),
              `GET ${path}`
            ),
            (response) => {
              const parse = makeSseParser()
              return response.stream.pipe(
                Stream.decodeText(),
                Stream.mapConcat(parse),
                Stream.mapError((error) => new ServerUnavailable({ server: base, detail: rootCause(error) }))
              )
            }
          )
        )
    }
  })

/** The innermost message of an error, for example `connect ECONNREFUSED 127.0.0.1:8080`. */
export const rootCause = (error: unknown): string => {
  let current: unknown = error
  let text = ""
  for (let depth = 0; depth < 8 && current !== undefined && current !== null; depth++) {
    const { message, code, cause, errors } = current as {
      readonly message?: unknown
      readonly code?: unknown
      readonly cause?: unknown
      readonly errors?: unknown
    }
    if (typeof message === "string" && message !== "") text = message
    else if (typeof code === "string") text = code
    current = cause ?? (Array.isArray(errors) ? errors[0] : undefined)
  }
  return text === "" ? String(error) : text
}
