// The file that holds what is kept of tokens: read by runners, written by `groundstate tokens`.
import { lstat, open, readFile, rename, rm } from "node:fs/promises"
import { Effect, Either, ParseResult, Schema } from "effect"
import { ConfigInvalid } from "../../../schema/error/ConfigError.ts"
import { type TokenRecord, TokensDocument } from "./tokens.ts"

/** A larger file is not one of tokens: 10,000 have about 4 MiB. */
const FILE_BYTES_MAX = 16 * 1024 * 1024

const KEY = "access.tokensFile"

/** A problem of a file that a setting names. */
export const fileInvalid = (key: string, file: string, message: string, fix: string): ConfigInvalid =>
  new ConfigInvalid({ problems: [{ file, line: 0, column: 0, path: key, message, fix }] })

const errorCode = (cause: unknown): string =>
  (cause as NodeJS.ErrnoException).code ?? (cause instanceof Error ? cause.message : String(cause))

const decode = Schema.decodeUnknownEither(Schema.parseJson(TokensDocument))
const encode = Schema.encodeSync(TokensDocument)

/** Text of a file that the setting `key` names. */
export const readNamedFile = (
  key: string,
  file: string,
  missing: string
): Effect.Effect<string, ConfigInvalid> =>
  Effect.tryPromise({
    try: () => readFile(file),
    catch: (cause) =>
      errorCode(cause) === "ENOENT"
        ? fileInvalid(key, file, "there is no such file", missing)
        : fileInvalid(
            key,
            file,
            `it can't be read (${errorCode(cause)})`,
            "name a file that this user may read"
          )
  }).pipe(
    Effect.filterOrFail(
      (bytes) => bytes.length <= FILE_BYTES_MAX,
      () => fileInvalid(key, file, "it is larger than 16 MiB", "name the file that is meant")
    ),
    Effect.map((bytes) => bytes.toString("utf8"))
  )

/** Every token of the file. Fails where it is missing or not of the form. */
export const readTokenFile = (file: string): Effect.Effect<ReadonlyArray<TokenRecord>, ConfigInvalid> =>
  Effect.flatMap(
    readNamedFile(KEY, file, "make the first token: `groundstate tokens create --role admin --name NAME`"),
    (text) => {
      const read = decode(text)
      if (Either.isRight(read)) return Effect.succeed(read.right.tokens)
      const issue = ParseResult.ArrayFormatter.formatErrorSync(read.left)[0]
      const where = issue.path.length === 0 ? "" : `${issue.path.map(String).join(".")}: `
      return fileInvalid(
        KEY,
        file,
        `it holds no tokens (${where}${issue.message.split("\n")[0]})`,
        "leave writing it to `groundstate tokens`"
      )
    }
  )

const TAKEN = "another command is changing it"

/**
 * Changes the file's tokens in one step, readable for its owner alone. The new text lies beside it first; that a
 * file of that name can be made only once keeps two commands apart.
 */
export const changeTokenFile = <A, E>(
  file: string,
  change: (tokens: ReadonlyArray<TokenRecord>) => Effect.Effect<readonly [A, ReadonlyArray<TokenRecord>], E>
): Effect.Effect<A, ConfigInvalid | E> =>
  Effect.scoped(
    Effect.gen(function* () {
      const staged = `${file}.new`
      let moved = false
      const handle = yield* Effect.acquireRelease(
        Effect.tryPromise({
          try: () => open(staged, "wx", 0o600),
          catch: (cause) =>
            errorCode(cause) === "EEXIST"
              ? fileInvalid(KEY, file, TAKEN, `try again; if none is, remove ${staged}`)
              : fileInvalid(
                  KEY,
                  file,
                  `it can't be written (${errorCode(cause)})`,
                  "run this as the user who owns its folder"
                )
        }),
        (opened) =>
          Effect.promise(() => opened.close().then(() => (moved ? undefined : rm(staged, { force: true }))))
      )
      const exists = yield* Effect.promise(() =>
        lstat(file).then(
          () => true,
          () => false
        )
      )
      const before = exists ? yield* readTokenFile(file) : []
      const [answer, tokens] = yield* change(before)
      const text = `${JSON.stringify(encode({ tokens }), null, 2)}\n`
      yield* Effect.tryPromise({
        try: async () => {
          await handle.writeFile(text)
          await handle.sync()
          await rename(staged, file)
          moved = true
        },
        catch: (cause) =>
          fileInvalid(KEY, file, `it can't be written (${errorCode(cause)})`, "nothing was changed; see why")
      })
      return answer
    })
  )
