// Contract of questions about refused events, and of giving them to their stream again.
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { problemOf } from "../error/ApiError.ts"
import { DeadLetter, DeadLetterReason } from "../event/DeadLetter.ts"
import { Needs } from "./Access.ts"
import { Cursor, Limit, pageOf, StreamParam } from "./paging.ts"

const Letter = DeadLetter.annotations({ identifier: "DeadLetter" })

/** Events given to their stream again by one request at most. */
export const REPLAY_LETTERS_MAX = 1_000

const filter = {
  stream: StreamParam,
  topic: Schema.optional(Schema.NonEmptyString.pipe(Schema.maxLength(249))),
  reason: Schema.optional(DeadLetterReason)
}

/** Either ids or a filter; a dry run appends nothing. */
export const ReplayRequest = Schema.Struct({
  ids: Schema.optional(
    Schema.Array(Schema.NonEmptyString.pipe(Schema.maxLength(300))).pipe(
      Schema.minItems(1),
      Schema.maxItems(REPLAY_LETTERS_MAX)
    )
  ),
  filter: Schema.optional(
    Schema.Struct({
      ...filter,
      limit: Schema.optionalWith(Schema.Int.pipe(Schema.between(1, REPLAY_LETTERS_MAX)), {
        default: () => REPLAY_LETTERS_MAX
      })
    })
  ),
  dryRun: Schema.optionalWith(Schema.Boolean, { default: () => false })
})
  .pipe(
    Schema.filter(
      (request) =>
        (request.ids === undefined) !== (request.filter === undefined) ||
        "give either `ids` or `filter`, not both"
    )
  )
  .annotations({ identifier: "ReplayRequest" })

/** What became, or in a dry run would become, of each dead letter. */
export const ReplayResult = Schema.Struct({
  id: Schema.String,
  /** `cut`: only part of its bytes was kept. `failed`: the log did not take it. */
  outcome: Schema.Literal("appended", "would-decode", "would-fail", "unknown", "cut", "unserved", "failed"),
  detail: Schema.NullOr(Schema.String),
  partition: Schema.NullOr(Schema.NonNegativeInt),
  offset: Schema.NullOr(Schema.NonNegativeInt)
}).annotations({ identifier: "ReplayResult" })
export type ReplayResult = typeof ReplayResult.Type

export const DeadLettersApi = HttpApiGroup.make("deadletters")
  .add(
    HttpApiEndpoint.get("list", "/deadletters")
      .setUrlParams(Schema.Struct({ ...filter, limit: Limit, cursor: Cursor }))
      .addSuccess(pageOf(Letter).annotations({ identifier: "DeadLetterPage" }))
      .annotate(OpenApi.Summary, "List refused events, oldest first, with why and their original bytes")
  )
  .add(
    HttpApiEndpoint.get("describe", "/deadletters/:id")
      .setPath(Schema.Struct({ id: Schema.NonEmptyString.pipe(Schema.maxLength(300)) }))
      .addSuccess(Letter)
      .addError(problemOf(404, "there is no such dead letter"))
      .annotate(OpenApi.Summary, "Look into one refused event")
  )
  .add(
    HttpApiEndpoint.post("replay", "/deadletters/replay")
      .setPayload(ReplayRequest)
      .addSuccess(
        Schema.Struct({
          dryRun: Schema.Boolean,
          appended: Schema.NonNegativeInt,
          results: Schema.Array(ReplayResult)
        }).annotations({ identifier: "ReplayReport" })
      )
      .addError(problemOf(413, "the body is over the limit"))
      .addError(problemOf(415, "the content type is not taken"))
      .addError(problemOf(422, "ids that name no dead letter"))
      .annotate(Needs, "operate")
      .annotate(OpenApi.Summary, "Append refused events to their stream once more")
      .annotate(
        OpenApi.Description,
        "The original bytes go to the topic and partition that they came from. With `dryRun` nothing is appended; " +
          "the answer says which would decode under the stream's present definition."
      )
  )
  .annotate(OpenApi.Title, "Dead letters")
