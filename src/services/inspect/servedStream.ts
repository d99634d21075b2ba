// Which stream a request means.
import { Effect } from "effect"
import { ApiProblem } from "../../schema/error/ApiError.ts"
import type { ServedStream, Streams } from "../runtime/Streams.ts"

/** The stream named, or the only one served. 404 for an unknown name, 400 where one must be named. */
export const servedStream = (
  streams: Streams["Type"],
  name: string | undefined
): Effect.Effect<ServedStream, ApiProblem> => {
  const served = name === undefined && streams.all.length === 1 ? streams.all[0] : streams.get(name ?? "")
  if (served !== undefined) return Effect.succeed(served)
  return Effect.fail(
    name === undefined
      ? ApiProblem.of(
          "malformed-request",
          "Several streams, or none, are served here: name one as ?stream=; /v1/streams lists them.",
          {
            errors: [{ field: "stream", detail: "expected the name of a stream" }]
          }
        )
      : ApiProblem.of("not-found", `No stream ${name} is served here; /v1/streams lists those that are.`)
  )
}

/** The streams named, or all of them; 404 for an unknown name. */
export const servedStreams = (
  streams: Streams["Type"],
  name: string | undefined
): Effect.Effect<ReadonlyArray<ServedStream>, ApiProblem> =>
  name === undefined ? Effect.succeed(streams.all) : Effect.map(servedStream(streams, name), (one) => [one])
