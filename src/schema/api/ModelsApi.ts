// Contract of questions about model versions and of putting them to work or aside.
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { problemOf } from "../error/ApiError.ts"
import { CommandId, ModelDigest, StreamName } from "../Ids.ts"
import { ModelVersionRecord, ModelVersionView } from "../protocol/ModelProtocol.ts"
import { Needs } from "./Access.ts"

const Version = ModelVersionRecord.annotations({ identifier: "ModelVersion" })
const path = Schema.Struct({ digest: ModelDigest })
const headers = Schema.Struct({ "idempotency-key": Schema.optional(CommandId) })
const by = Schema.optionalWith(Schema.NonEmptyString.pipe(Schema.maxLength(200)), {
  default: () => "operator"
})

export const ActivateRequest = Schema.Struct({ stream: StreamName, by }).annotations({
  identifier: "ActivateRequest"
})
export const RetireRequest = Schema.Struct({ by }).annotations({ identifier: "RetireRequest" })

export const ModelsApi = HttpApiGroup.make("models")
  .add(
    HttpApiEndpoint.get("list", "/models")
      .addSuccess(Schema.Struct({ items: Schema.Array(Version) }).annotations({ identifier: "ModelList" }))
      .annotate(OpenApi.Summary, "List the model versions of this region")
  )
  .add(
    HttpApiEndpoint.get("describe", "/models/:digest")
      .setPath(path)
      .addSuccess(ModelVersionView.annotations({ identifier: "ModelVersionView" }))
      .addError(problemOf(404, "there is no such model"))
      .annotate(OpenApi.Summary, "Look into one model version")
  )
  .add(
    HttpApiEndpoint.post("activate", "/models/:digest/activate")
      .setPath(path)
      .setHeaders(headers)
      .setPayload(ActivateRequest)
      .addSuccess(Version)
      .addError(problemOf(404, "there is no such model or stream"))
      .addError(problemOf(409, "the model was refused"))
      .addError(problemOf(413, "the body is over the limit"))
      .addError(problemOf(415, "the content type is not taken"))
      .annotate(Needs, "administer")
      .annotate(OpenApi.Summary, "Make it the stream's champion in every cell; the one before is retired")
  )
  .add(
    HttpApiEndpoint.post("retire", "/models/:digest/retire")
      .setPath(path)
      .setHeaders(headers)
      .setPayload(RetireRequest)
      .addSuccess(Version)
      .addError(problemOf(404, "there is no such model"))
      .addError(problemOf(409, "the model was refused"))
      .addError(problemOf(413, "the body is over the limit"))
      .addError(problemOf(415, "the content type is not taken"))
      .annotate(Needs, "administer")
      .annotate(OpenApi.Summary, "Take it out of use; its streams fall back to the next rung of their ladder")
  )
  .annotate(OpenApi.Title, "Models")
  .annotate(
    OpenApi.Description,
    "Versions are registered on the runner's own machine: `groundstate models register DIR`."
  )
