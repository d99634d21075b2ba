// Tokens of an identity provider: signed JWTs, checked against the issuer's public keys.
import { createHash } from "node:crypto"
import { Effect } from "effect"
import { type Role, roleNames } from "../../schema/api/Access.ts"
import type { ConfigInvalid } from "../../schema/error/ConfigError.ts"
import { fileInvalid, readNamedFile } from "../runtime/access/TokenFile.ts"
import type { RunnerConfig } from "../runtime/Settings.ts"
import type { Outcome, Unknown } from "./caller.ts"

type JwtSettings = NonNullable<RunnerConfig["access"]["jwt"]>

/** Clocks of issuer and runner may differ by this much. */
export const CLOCK_SKEW_SECONDS = 60
/** ECDSA on P-256 and nothing else: no `none`, and no key that is taken for a shared secret. */
const ALGORITHMS = ["ES256"]
/** Tokens whose signature was checked, kept until they expire, so that it is checked once. */
const CHECKED_MAX = 4_096

const KEY = "access.jwt.keysFile"

/** Three parts of base64url. */
export const looksLikeJwt = (token: string): boolean =>
  /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(token)

const whyOf = (cause: unknown): Unknown => {
  const { code, claim } = cause as { readonly code?: unknown; readonly claim?: unknown }
  if (code === "ERR_JWT_EXPIRED") return "expired"
  return code === "ERR_JWT_CLAIM_VALIDATION_FAILED" && claim === "aud" ? "audience" : "invalid"
}

const rolesOf = (claim: unknown): ReadonlyArray<Role> => {
  const words = typeof claim === "string" ? claim.split(" ") : Array.isArray(claim) ? claim : []
  return roleNames.filter((role) => words.includes(role))
}

/** The name as it may stand in a log line. */
const nameOf = (claim: unknown): string | undefined =>
  typeof claim === "string" && /^[^\p{C}]{1,200}$/u.test(claim) ? claim : undefined

export interface JwtCheck {
  /** What became of the token when it was checked; undefined for one that was not, or whose answer is too old. */
  readonly known: (token: string, now: number) => Outcome | undefined
  readonly verify: (token: string, now: number) => Effect.Effect<Outcome>
}

/** Checks tokens by the keys that `keysFile` holds now. Fails where it holds none. */
export const makeJwtCheck = (settings: JwtSettings, region: string): Effect.Effect<JwtCheck, ConfigInvalid> =>
  Effect.gen(function* () {
    const { createLocalJWKSet, jwtVerify } = yield* Effect.promise(() => import("jose"))
    const fix = "write the issuer's JSON Web Key Set (keys of EC P-256) into it"
    const text = yield* readNamedFile(KEY, settings.keysFile, fix)
    const keys = yield* Effect.try({
      try: () => createLocalJWKSet(JSON.parse(text)),
      catch: () => fileInvalid(KEY, settings.keysFile, "it is not a JSON Web Key Set", fix)
    })
    const audience = settings.audience ?? `groundstate:${region}`
    const checked = new Map<string, { readonly outcome: Outcome; readonly until: number }>()
    const keyOf = (token: string) => createHash("sha256").update(token).digest("base64")

    const verify = async (token: string, now: number): Promise<Outcome> => {
      const { payload } = await jwtVerify(token, keys, {
        algorithms: ALGORITHMS,
        issuer: settings.issuer,
        audience,
        clockTolerance: CLOCK_SKEW_SECONDS,
        requiredClaims: ["exp"],
        currentDate: new Date(now)
      })
      const name = nameOf(payload[settings.nameClaim])
      if (name === undefined) return { _tag: "Unknown", why: "invalid" }
      const caller = { name, token: undefined, roles: rolesOf(payload[settings.rolesClaim]) }
      const outcome: Outcome = { _tag: "Known", caller }
      // The oldest goes first: a token in use comes back with the next request.
      if (checked.size >= CHECKED_MAX) checked.delete(checked.keys().next().value as string)
      const until = ((payload.exp as number) + CLOCK_SKEW_SECONDS) * 1_000
      checked.set(keyOf(token), { outcome, until })
      return outcome
    }

    return {
      known: (token, now) => {
        const found = checked.get(keyOf(token))
        return found !== undefined && now < found.until ? found.outcome : undefined
      },
      verify: (token, now) =>
        Effect.catchAll(
          Effect.tryPromise({ try: () => verify(token, now), catch: whyOf }),
          (why): Effect.Effect<Outcome> => Effect.succeed({ _tag: "Unknown", why })
        )
    }
  })
