// Reads a request's body under limits that are checked while it arrives; unpacks gzip under the same limits.
import type { IncomingMessage } from "node:http"
import { createGunzip } from "node:zlib"
import type { HttpServerRequest } from "@effect/platform"
import { NodeHttpServerRequest } from "@effect/platform-node"
import { Effect, ParseResult, Schema } from "effect"
import { ApiProblem } from "../../schema/error/ApiError.ts"
import { decodeProblem } from "./problems.ts"

/** The media type without parameters, lower case; `""` where there is none. */
export const mediaTypeOf = (contentType: string | undefined): string =>
  (contentType ?? "").split(";", 1)[0].trim().toLowerCase()

const charsetOf = (contentType: string | undefined): string =>
  /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(contentType ?? "")?.[1]?.toLowerCase() ?? "utf-8"

const unsupported = (detail: string) => ApiProblem.of("unsupported-media-type", detail)

/** Which of `types` the content type is, in UTF-8; else the problem (415). */
export const mediaTypeIn = <T extends string>(
  contentType: string | undefined,
  types: ReadonlyArray<T>
): T | ApiProblem => {
  const plain = types.find((one) => one === contentType)
  if (plain !== undefined) return plain
  const named = mediaTypeOf(contentType)
  const type = types.find((one) => one === named)
  if (type === undefined) {
    return unsupported(
      `The content type is ${contentType === undefined ? "not given" : "not one that is taken here"}; nothing was done. ` +
        `Send one of: ${types.join(", ")}.`
    )
  }
  const charset = charsetOf(contentType)
  return charset === "utf-8" || charset === "utf8" || charset === "us-ascii"
    ? type
    : unsupported("The charset is not UTF-8, the only one taken; nothing was done.")
}

/** Fails with 415 unless the content type is one of `types`, in UTF-8. Answers which. */
export const requireMediaType = <T extends string>(
  request: HttpServerRequest.HttpServerRequest,
  types: ReadonlyArray<T>
): Effect.Effect<T, ApiProblem> =>
  Effect.suspend(() => {
    const type = mediaTypeIn(request.headers["content-type"], types)
    return type instanceof ApiProblem ? Effect.fail(type) : Effect.succeed(type)
  })

export interface BodyLimits {
  /** Unpacked bytes. */
  readonly bytesMax: number
  /** Lines, counted where `lines` is set. */
  readonly rowsMax: number
  readonly lines: boolean
  /** Takes note of bytes that are now held; false where the runner can't hold more. */
  readonly hold: (bytes: number) => boolean
}

const tooLarge = (limits: BodyLimits) =>
  ApiProblem.of(
    "too-large",
    `The body has more than ${limits.bytesMax} bytes (unpacked); nothing was done. Send less at once.`
  )

/** The problem of a batch with more than `rowsMax` events. */
export const tooManyRows = (rowsMax: number) =>
  ApiProblem.of(
    "too-large",
    `The batch has more than ${rowsMax} events; nothing was appended. Send smaller batches.`
  )

/** The problem while more bytes wait for the log than the runner may hold. */
export const tooMuchPending = () =>
  ApiProblem.of(
    "too-many-requests",
    "More events wait for the log than this runner may hold; nothing was appended. Send the same batch again after the wait.",
    { retryAfter: 1 }
  )

const unreadable = (detail: string) => ApiProblem.of("malformed-request", detail)

const countLines = (chunk: Uint8Array): number => {
  let lines = 0
  for (let i = chunk.indexOf(0x0a); i >= 0; i = chunk.indexOf(0x0a, i + 1)) lines++
  return lines
}

/** What follows the body once nobody reads it any more is thrown away as it comes, not kept. */
const discard = (source: IncomingMessage) => {
  source.removeAllListeners("data")
  source.resume()
}

/**
 * Hands the whole body to `done` once, or the problem: 413 as soon as a limit is passed, 429 as soon as `hold`
 * says no, 415 for an encoding other than gzip, 400 where the body breaks off or is not gzip. The answer stops
 * reading; then `done` is not called any more.
 */
export const receiveBody = (
  source: IncomingMessage,
  limits: BodyLimits,
  done: (body: Uint8Array | ApiProblem) => void
): (() => void) => {
  const encoding = (source.headers["content-encoding"] ?? "identity").trim().toLowerCase()
  const gzip = encoding === "gzip" || encoding === "x-gzip"
  const refused =
    !gzip && encoding !== "identity" && encoding !== ""
      ? unsupported("The content encoding is not taken; nothing was done. Send gzip, or none.")
      : Number(source.headers["content-length"] ?? 0) > limits.bytesMax
        ? tooLarge(limits)
        : undefined
  if (refused !== undefined) {
    done(refused)
    return () => undefined
  }
  const unpacker = gzip ? createGunzip() : undefined
  const readable = unpacker === undefined ? source : source.pipe(unpacker)
  const chunks: Array<Uint8Array> = []
  let size = 0
  let lines = 0
  let over = false
  const stop = () => {
    over = true
    if (unpacker !== undefined) {
      source.unpipe(unpacker)
      unpacker.destroy()
    }
    discard(source)
  }
  const fail = (problem: ApiProblem) => {
    if (over) return
    stop()
    done(problem)
  }
  readable.on("data", (chunk: Uint8Array) => {
    if (over) return
    size += chunk.length
    if (size > limits.bytesMax) return fail(tooLarge(limits))
    if (limits.lines) {
      lines += countLines(chunk)
      if (lines > limits.rowsMax * 2 + 16) return fail(tooManyRows(limits.rowsMax))
    }
    if (!limits.hold(chunk.length)) return fail(tooMuchPending())
    chunks.push(chunk)
  })
  readable.once("end", () => {
    if (over) return
    over = true
    done(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, size))
  })
  const broken = () => fail(unreadable("The body broke off; nothing was done. Send it again."))
  unpacker?.on("error", () => fail(unreadable("The body is not gzip as its header says; nothing was done.")))
  source.once("error", broken)
  source.once("aborted", broken)
  return () => {
    if (!over) stop()
  }
}

/** The whole body, or the problem, as `receiveBody` tells it. */
const readBody = (
  request: HttpServerRequest.HttpServerRequest,
  limits: BodyLimits
): Effect.Effect<Uint8Array, ApiProblem> =>
  Effect.async((resume) => {
    const stop = receiveBody(NodeHttpServerRequest.toIncomingMessage(request), limits, (body) =>
      resume(body instanceof ApiProblem ? Effect.fail(body) : Effect.succeed(body))
    )
    return Effect.sync(stop)
  })

/** Bodies of commands are small. */
export const COMMAND_BYTES_MAX = 64 * 1024

/** A JSON body of the declared form; an empty body counts as `{}`. Fails with 400, 413 or 415. */
export const readJson = <A, I>(
  request: HttpServerRequest.HttpServerRequest,
  schema: Schema.Schema<A, I>,
  bytesMax = COMMAND_BYTES_MAX
): Effect.Effect<A, ApiProblem> =>
  Effect.gen(function* () {
    const bodyless = request.headers["content-type"] === undefined
    if (!bodyless) yield* requireMediaType(request, ["application/json"])
    const bytes = yield* readBody(request, { bytesMax, rowsMax: 1, lines: false, hold: () => true })
    if (bodyless && bytes.length > 0) yield* requireMediaType(request, ["application/json"])
    const value = yield* Effect.try({
      try: () =>
        bytes.length === 0
          ? {}
          : (JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown),
      catch: () => unreadable("The body is not JSON in UTF-8; nothing was done.")
    })
    return yield* Schema.decodeUnknown(schema)(value, { errors: "all", onExcessProperty: "error" }).pipe(
      Effect.catchTag("ParseError", (error) =>
        Effect.fail(decodeProblem(ParseResult.ArrayFormatter.formatErrorSync(error)))
      )
    )
  })
