// What the HTTP surface answers when it can't do what was asked: RFC 9457 problem details, one shape for all.
import { HttpApiSchema } from "@effect/platform"
import { Effect, Schema } from "effect"

/** One thing that is wrong in a request: the row of a batch (from 0) and the field, where there are such. */
export const ProblemEntry = Schema.Struct({
  row: Schema.optional(Schema.NonNegativeInt),
  field: Schema.optional(Schema.String),
  /** Why, as a word of a closed list, where the entry is about an event. */
  reason: Schema.optional(Schema.String),
  detail: Schema.String
}).annotations({ identifier: "ProblemEntry" })
export type ProblemEntry = typeof ProblemEntry.Type

/** `errors` of one problem are cut here; `detail` tells the whole count. */
export const PROBLEM_ENTRIES_MAX = 100

/**
 * Every kind of problem with its status. `type` of a problem is `urn:groundstate:problem:<kind>`; kinds are
 * only ever added, so that clients may switch on them.
 */
export const problemKinds = {
  "malformed-request": { status: 400, title: "The request can't be read" },
  unauthorized: { status: 401, title: "Who asks is not known" },
  forbidden: { status: 403, title: "Whoever asks may not do this" },
  "not-found": { status: 404, title: "There is no such thing" },
  "method-not-allowed": { status: 405, title: "This address does not take that method" },
  "not-acceptable": { status: 406, title: "No answer in an accepted form" },
  "request-timeout": { status: 408, title: "The request did not arrive in time" },
  conflict: { status: 409, title: "The request contradicts what is" },
  "version-mismatch": { status: 412, title: "It has changed since it was read" },
  "too-large": { status: 413, title: "The request is too large" },
  "uri-too-long": { status: 414, title: "The address is too long" },
  "unsupported-media-type": { status: 415, title: "This form of body is not taken here" },
  "expectation-failed": { status: 417, title: "The expectation can't be met" },
  "invalid-content": { status: 422, title: "The content breaks the declared form" },
  "idempotency-key-reused": { status: 422, title: "The idempotency key belongs to another request" },
  "too-many-requests": { status: 429, title: "More than can be taken now" },
  "headers-too-large": { status: 431, title: "The headers are too large" },
  internal: { status: 500, title: "Groundstate failed" },
  unavailable: { status: 503, title: "A part that is needed can't answer now" }
} as const
export type ProblemKind = keyof typeof problemKinds

const urn = (kind: ProblemKind) => `urn:groundstate:problem:${kind}`

/** The problem document; also the failure that handlers raise. `detail` says what happened and what to do next. */
export class ApiProblem extends Schema.Class<ApiProblem>("ApiProblem")(
  {
    type: Schema.String.annotations({ description: "urn:groundstate:problem:<kind>; stable" }),
    title: Schema.String,
    status: Schema.Int,
    detail: Schema.String.annotations({ description: "what happened, what the system did, what to do next" }),
    /** Path of the request that failed. */
    instance: Schema.optional(Schema.String),
    errors: Schema.optional(Schema.Array(ProblemEntry)),
    /** Seconds to wait before asking again; also the `Retry-After` header. */
    retryAfter: Schema.optional(Schema.Int)
  },
  { description: "RFC 9457 problem details" }
) {
  get kind(): ProblemKind {
    return this.type.slice(urn("conflict").length - "conflict".length) as ProblemKind
  }

  get message(): string {
    return this.detail
  }

  /** Fails with this problem. */
  get raise(): Effect.Effect<never, ApiProblem> {
    return Effect.fail(this)
  }

  static of(
    kind: ProblemKind,
    detail: string,
    more?: { readonly errors?: ReadonlyArray<ProblemEntry>; readonly retryAfter?: number }
  ): ApiProblem {
    const { status, title } = problemKinds[kind]
    return new ApiProblem({
      type: urn(kind),
      title,
      status,
      detail,
      ...(more?.errors === undefined ? {} : { errors: more.errors.slice(0, PROBLEM_ENTRIES_MAX) }),
      ...(more?.retryAfter === undefined ? {} : { retryAfter: more.retryAfter })
    })
  }

  /** The same problem, naming the request that met it. */
  at(instance: string): ApiProblem {
    return new ApiProblem({ ...this, instance })
  }
}

export const PROBLEM_CONTENT_TYPE = "application/problem+json"

/** `ApiProblem` as the answer with one status, for an endpoint's contract. */
export const problemOf = (status: number, description: string) =>
  HttpApiSchema.withEncoding(
    ApiProblem.annotations({ ...HttpApiSchema.annotations({ status }), description }),
    { kind: "Json", contentType: PROBLEM_CONTENT_TYPE }
  )
