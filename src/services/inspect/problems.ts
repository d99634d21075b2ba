// From whatever failed to the problem document that the caller reads, and to the answer that carries it.
import { HttpServerResponse } from "@effect/platform"
import { Cause, Option, Predicate, Schema } from "effect"
import { ApiProblem, PROBLEM_CONTENT_TYPE, type ProblemEntry } from "../../schema/error/ApiError.ts"
import type { CommandRefused } from "../../schema/protocol/CellProtocol.ts"

/** Seconds after which it makes sense to ask again when a part was away. */
const RETRY_SECONDS = 1

interface DecodeIssue {
  readonly path: ReadonlyArray<PropertyKey>
  readonly message: string
}

/** An optional member fails as both its forms; that it might also be absent helps nobody. */
const isOrAbsent = ({ message }: DecodeIssue): boolean => message.startsWith("Expected undefined, actual ")

const decodeEntries = (issues: ReadonlyArray<DecodeIssue>): ReadonlyArray<ProblemEntry> => {
  const telling = issues.filter((issue) => !isOrAbsent(issue))
  return (telling.length === 0 ? issues : telling).map(({ path, message }) => ({
    ...(path.length === 0 ? {} : { field: path.map(String).join(".") }),
    detail: message
  }))
}

/** The problem for parameters, headers or a body that do not have the declared form. */
export const decodeProblem = (issues: ReadonlyArray<DecodeIssue>): ApiProblem =>
  ApiProblem.of(
    "malformed-request",
    "The request does not have the declared form; nothing was done. `errors` names what is wrong, /openapi.json the form.",
    { errors: decodeEntries(issues) }
  )

const unavailable = (detail: string) => ApiProblem.of("unavailable", detail, { retryAfter: RETRY_SECONDS })

const messageOf = (error: unknown): string =>
  Predicate.hasProperty(error, "message") && typeof error.message === "string" ? error.message : String(error)

const refused = (error: CommandRefused): ApiProblem =>
  ApiProblem.of(error.reason === "unknown-device" ? "not-found" : "conflict", error.message)

/** The problem that an expected failure is, or undefined for one that nobody expects. */
export const problemOfError = (error: unknown): ApiProblem | undefined => {
  if (error instanceof ApiProblem) return error
  if (!Predicate.hasProperty(error, "_tag")) return undefined
  switch (error._tag) {
    case "HttpApiDecodeError":
      return decodeProblem((error as unknown as { issues: ReadonlyArray<DecodeIssue> }).issues)
    case "RouteNotFound":
      return ApiProblem.of("not-found", "No such address; /openapi.json lists those that are.")
    case "RequestError":
      return ApiProblem.of(
        "malformed-request",
        "The request's body can't be read; nothing was done. Send it again."
      )
    case "VersionMismatch":
      return ApiProblem.of("version-mismatch", messageOf(error))
    case "CommandRefused":
      return refused(error as unknown as CommandRefused)
    case "ModelRefused":
      return ApiProblem.of("conflict", messageOf(error))
    case "ModelNotFound":
      return ApiProblem.of("not-found", messageOf(error))
    case "DeviceUnavailable":
    case "CellUnavailable":
    case "RegionUnavailable":
    case "ModelUnavailable":
    case "StorageUnavailable":
    case "LogUnavailable":
      return unavailable(messageOf(error))
    case "MailboxFull":
    case "AlreadyProcessingMessage":
      return unavailable(
        "The actor has more to do than it can queue; nothing was done. Ask again with the same id."
      )
    case "PersistenceError":
      return unavailable(
        "The cluster's storage does not answer; nothing was done. Ask again with the same id."
      )
    case "EntityNotAssignedToRunner":
    case "RunnerUnavailable":
    case "RunnerNotRegistered":
      return unavailable(
        "The runner that owns this actor is changing; nothing was done. Ask again with the same id."
      )
    case "TimeoutException":
      return unavailable(
        "No answer in time: it is not known whether it was done. Ask again with the same id."
      )
    default:
      return undefined
  }
}

/** The problem for a whole cause; `expected` is false where the failure is a fault of ours that a log should tell. */
export const problemOfCause = (
  cause: Cause.Cause<unknown>
): { readonly problem: ApiProblem; readonly expected: boolean } => {
  const known = Option.orElse(Option.flatMapNullable(Cause.failureOption(cause), problemOfError), () =>
    Option.flatMapNullable(Cause.dieOption(cause), problemOfError)
  )
  if (Option.isSome(known)) return { problem: known.value, expected: true }
  if (Cause.isInterruptedOnly(cause)) {
    return { problem: unavailable("The runner is stopping; ask another, or again."), expected: true }
  }
  return {
    problem: ApiProblem.of(
      "internal",
      "Groundstate failed on this request; the runner's log says why. It is not known whether it was done."
    ),
    expected: false
  }
}

const encodeProblem = Schema.encodeSync(ApiProblem)

/** The document's JSON text. */
export const problemText = (problem: ApiProblem): string => JSON.stringify(encodeProblem(problem))

/** The answer: `application/problem+json`, with `Retry-After` where the problem names a wait. */
export const problemResponse = (
  problem: ApiProblem,
  headers: Readonly<Record<string, string>> = {}
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(problemText(problem), {
    status: problem.status,
    contentType: PROBLEM_CONTENT_TYPE,
    headers: {
      ...headers,
      ...(problem.retryAfter === undefined ? {} : { "retry-after": String(problem.retryAfter) })
    }
  })
