// Access tokens: how one is made, what is kept of it, and whether what came in a header is one of those kept.
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import { Schema } from "effect"
import { Role } from "../../../schema/api/Access.ts"

/** What is kept of a token: never its secret. */
export const TokenRecord = Schema.Struct({
  /** Part of the token that may be shown: names it in logs and commands. */
  id: Schema.String.pipe(Schema.pattern(/^[0-9a-f]{16}$/)),
  /** Whose it is; written into decisions and the access log. */
  name: Schema.String.pipe(Schema.pattern(/^[^\p{C}]{1,200}$/u)),
  roles: Schema.NonEmptyArray(Role),
  /** Names of regions, or `*`. */
  regions: Schema.NonEmptyArray(Schema.NonEmptyString),
  /** SHA-256 of the secret. It has 256 random bits: there is nothing for a slow hash to slow down. */
  digest: Schema.String.pipe(Schema.pattern(/^sha256:[0-9a-f]{64}$/)),
  createdAt: Schema.DateFromString.pipe(Schema.validDate()),
  /** Null: until it is revoked. */
  expiresAt: Schema.NullOr(Schema.DateFromString.pipe(Schema.validDate()))
})
export type TokenRecord = typeof TokenRecord.Type

export const TokensDocument = Schema.Struct({ tokens: Schema.Array(TokenRecord) })

const SECRET_BYTES = 32
const ID_BYTES = 8
/** 16 characters of id, 43 of secret; a fixed beginning, so that scanners find a leaked one. */
const TOKEN = /^gst_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/

const digestOf = (secret: string): Buffer => createHash("sha256").update(secret).digest()

/** A new token and what is to be kept of it. */
export const mintToken = (
  words: Omit<TokenRecord, "id" | "digest">
): { readonly token: string; readonly record: TokenRecord } => {
  const id = randomBytes(ID_BYTES).toString("hex")
  const secret = randomBytes(SECRET_BYTES).toString("base64url")
  const digest = `sha256:${digestOf(secret).toString("hex")}`
  return { token: `gst_${id}_${secret}`, record: { id, digest, ...words } }
}

export interface KeptToken {
  readonly record: TokenRecord
  readonly digest: Buffer
}

/** The records by id, ready for `findToken`. */
export const keepTokens = (records: ReadonlyArray<TokenRecord>): ReadonlyMap<string, KeptToken> =>
  new Map(
    records.map((record) => [
      record.id,
      { record, digest: Buffer.from(record.digest.slice("sha256:".length), "hex") }
    ])
  )

const nobody = Buffer.alloc(32)

/** The record whose secret this is; undefined for anything else. Takes the same time for every secret of an id. */
export const findToken = (kept: ReadonlyMap<string, KeptToken>, token: string): TokenRecord | undefined => {
  const parts = TOKEN.exec(token)
  if (parts === null) return undefined
  const found = kept.get(parts[1])
  const same = timingSafeEqual(digestOf(parts[2]), found?.digest ?? nobody)
  return same ? found?.record : undefined
}
