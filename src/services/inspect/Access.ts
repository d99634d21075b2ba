// Knows whoever asks by their token; tokens that are made or revoked count within seconds, without a restart.
import { stat } from "node:fs/promises"
import type { IncomingMessage } from "node:http"
import { Context, Effect, Layer } from "effect"
import type { ConfigInvalid } from "../../schema/error/ConfigError.ts"
import { readIdentity } from "../runtime/access/liveIdentity.ts"
import { readTokenFile } from "../runtime/access/TokenFile.ts"
import { findToken, type KeptToken, keepTokens } from "../runtime/access/tokens.ts"
import { type RunnerConfig, Settings } from "../runtime/Settings.ts"
import { hasTokens } from "../runtime/settingsRelations.ts"
import { type Caller, everybody, type Outcome, type Unknown } from "./caller.ts"
import { isForeignPage } from "./foreignPage.ts"
import { type JwtCheck, looksLikeJwt, makeJwtCheck } from "./jwt.ts"

/** How often the files are looked at: a revoked token is refused after this long. */
export const RELOAD_MILLIS = 1_000

const AUTHORIZATION = "authorization"
/** RFC 6750; more characters than any token of ours or of an issuer has are not looked at. */
const BEARER = /^Bearer +([\w.~+/=-]{1,8192})$/i

const unknown = (why: Unknown): Outcome => ({ _tag: "Unknown", why })

/** The bearer token of a request, or why there is none. Of several headers Node would take the first one alone. */
const bearerOf = ({ headers, rawHeaders }: IncomingMessage): string | Outcome => {
  const header = headers.authorization
  if (header === undefined) return unknown("missing")
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]
    if (name.length === AUTHORIZATION.length && name.toLowerCase() === AUTHORIZATION) count++
  }
  if (count > 1) return unknown("several")
  return BEARER.exec(header)?.[1] ?? unknown("malformed")
}

/** Changes whenever the file does, also where it is a link that is pointed elsewhere. */
const stampOf = (file: string): Effect.Effect<string> =>
  Effect.promise(() =>
    stat(file).then(
      ({ mtimeMs, ctimeMs, ino, size }) => `${mtimeMs} ${ctimeMs} ${ino} ${size}`,
      () => "missing"
    )
  )

const holdsIn = (regions: ReadonlyArray<string>, region: string): boolean =>
  regions.includes("*") || regions.includes(region)

/** Fails where a file that the settings name can't be used: asked before a runner starts. */
export const checkAccessFiles = ({
  access,
  http,
  region
}: RunnerConfig): Effect.Effect<void, ConfigInvalid> =>
  Effect.gen(function* () {
    if (http.tls !== undefined) yield* readIdentity("http.tls", http.tls)
    if (access.tokensFile !== undefined) yield* readTokenFile(access.tokensFile)
    if (access.jwt !== undefined) yield* makeJwtCheck(access.jwt, region)
  })

const make = Effect.gen(function* () {
  const settings = yield* Settings
  const { access, region } = settings
  const enforced = hasTokens(settings)
  const clock = yield* Effect.clock
  let kept: ReadonlyMap<string, KeptToken> = new Map()
  let jwt: JwtCheck | undefined
  const stamps = new Map<string, string>()

  /** Reads a file again where it has changed. The stamp is taken first: what changes meanwhile is read next time. */
  const renewed = (file: string, read: Effect.Effect<void, ConfigInvalid>) =>
    Effect.gen(function* () {
      const stamp = yield* stampOf(file)
      if (stamps.get(file) === stamp) return
      stamps.set(file, stamp)
      yield* read
    })
  const refresh = Effect.gen(function* () {
    const { tokensFile } = access
    if (tokensFile !== undefined) {
      yield* renewed(
        tokensFile,
        Effect.map(readTokenFile(tokensFile), (tokens) => {
          kept = keepTokens(tokens)
        })
      )
    }
    const provider = access.jwt
    if (provider !== undefined) {
      yield* renewed(
        provider.keysFile,
        Effect.map(makeJwtCheck(provider, region), (check) => {
          jwt = check
        })
      )
    }
  })
  yield* refresh
  if (enforced) {
    yield* Effect.sleep(RELOAD_MILLIS).pipe(
      Effect.zipRight(refresh),
      Effect.catchAll((error) =>
        Effect.logError("The tokens that were known before still hold: the changed file is refused", {
          problem: error.message
        })
      ),
      Effect.forever,
      Effect.forkScoped
    )
  }

  const ofFile = (token: string, now: number): Outcome => {
    const record = findToken(kept, token)
    if (record === undefined) return unknown("revoked-or-unknown")
    if (record.expiresAt !== null && now >= record.expiresAt.getTime()) return unknown("expired")
    const caller: Caller = { name: record.name, token: record.id, roles: record.roles }
    return { _tag: holdsIn(record.regions, region) ? "Known" : "Elsewhere", caller }
  }

  /** Who asks; undefined where a signature has to be checked first. */
  const known = (request: IncomingMessage): Outcome | undefined => {
    if (!enforced) return { _tag: "Known", caller: everybody }
    const token = bearerOf(request)
    if (typeof token !== "string") return token
    const now = clock.unsafeCurrentTimeMillis()
    return jwt !== undefined && looksLikeJwt(token) ? jwt.known(token, now) : ofFile(token, now)
  }

  return {
    /** Whether requests need a token here. */
    enforced,
    region,
    metricsOpen: access.metrics === "open",
    /** Whether a web page of somebody else sent it: told where a browser needs no token to be answered. */
    isForeign: (request: IncomingMessage): boolean => !enforced && isForeignPage(request, !access.open),
    known,
    /** Who asks. */
    identify: (request: IncomingMessage): Effect.Effect<Outcome> =>
      Effect.suspend(() => {
        const outcome = known(request)
        if (outcome !== undefined) return Effect.succeed(outcome)
        const token = bearerOf(request)
        return jwt === undefined || typeof token !== "string"
          ? Effect.succeed(unknown("invalid"))
          : jwt.verify(token, clock.unsafeCurrentTimeMillis())
      }),
    /** Reads the files again where they have changed. */
    refresh
  }
})

export class Access extends Context.Tag("groundstate/services/inspect/Access")<
  Access,
  Effect.Effect.Success<typeof make>
>() {
  static readonly layer = Layer.scoped(Access, make)
}
