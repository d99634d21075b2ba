// Tokens and JWTs of a made-up region: good ones, and those that an attacker would try.
import { createHmac, createSign, generateKeyPairSync, type KeyObject } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Schema } from "effect"
import type { Role } from "../../../src/schema/api/Access.ts"
import { mintToken, type TokenRecord, TokensDocument } from "../../../src/services/runtime/access/tokens.ts"
import { defaultConfig, type RunnerConfig } from "../../../src/services/runtime/Settings.ts"

const MADE = new Date("2026-01-01T00:00:00Z")
const encode = Schema.encodeSync(TokensDocument)
export const issuer = "https://id.example"
export const audience = `groundstate:${defaultConfig.region}`

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url")

/** A JWT as its signer would make it. */
export const es256 = (header: object, payload: object, key: KeyObject): string => {
  const text = `${part(header)}.${part(payload)}`
  const signature = createSign("sha256").update(text).sign({ key, dsaEncoding: "ieee-p1363" })
  return `${text}.${signature.toString("base64url")}`
}

export const hs256 = (header: object, payload: object, secret: string | Buffer): string => {
  const text = `${part(header)}.${part(payload)}`
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`
}

export const unsigned = (header: object, payload: object, signature = ""): string =>
  `${part(header)}.${part(payload)}.${signature}`

const makeToken = (name: string, role: Role, more: Partial<TokenRecord> = {}) =>
  mintToken({
    name,
    roles: [role],
    regions: [defaultConfig.region],
    createdAt: MADE,
    expiresAt: null,
    ...more
  })

/** A folder with a token of each kind and an issuer's keys. */
export const makeCredentials = () => {
  const folder = mkdtempSync(join(tmpdir(), "groundstate-access-"))
  const tokensFile = join(folder, "tokens.json")
  const keysFile = join(folder, "keys.json")
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const stranger = generateKeyPairSync("ec", { namedCurve: "P-256" })
  writeFileSync(
    keysFile,
    JSON.stringify({
      keys: [{ ...publicKey.export({ format: "jwk" }), kid: "one", alg: "ES256", use: "sig" }]
    })
  )
  const minted = {
    viewer: makeToken("vera", "viewer"),
    producer: makeToken("gateway", "producer"),
    operator: makeToken("ada", "operator"),
    admin: makeToken("root", "admin"),
    expired: makeToken("old", "admin", { expiresAt: MADE }),
    elsewhere: makeToken("far", "admin", { regions: ["north"] })
  }
  const write = (records: ReadonlyArray<TokenRecord>) =>
    writeFileSync(tokensFile, JSON.stringify(encode({ tokens: records })))
  write(Object.values(minted).map(({ record }) => record))
  const tokenOf = (name: keyof typeof minted) => minted[name].token
  const access: Partial<RunnerConfig["access"]> = {
    tokensFile,
    jwt: { issuer, keysFile, audience: undefined, rolesClaim: "roles", nameClaim: "sub" } as never
  }
  return {
    access,
    tokensFile,
    keysFile,
    minted,
    tokenOf,
    write,
    publicKey,
    privateKey,
    stranger,
    remove: () => rmSync(folder, { recursive: true, force: true })
  }
}

export type Credentials = ReturnType<typeof makeCredentials>

/** A JWT with these claims over good ones; times are seconds around now. */
export const jwtOf = (
  { privateKey }: Credentials,
  claims: Readonly<Record<string, unknown>> = {},
  key: KeyObject = privateKey,
  header: Readonly<Record<string, unknown>> = {}
): string => es256({ alg: "ES256", kid: "one", typ: "JWT", ...header }, claimsOf(claims), key)

export const claimsOf = (claims: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => {
  const now = Math.floor(Date.now() / 1_000)
  return { iss: issuer, aud: audience, sub: "ida", roles: ["admin"], iat: now, exp: now + 600, ...claims }
}

/** Everything that must open nothing, by name. */
export const badTokens = (
  from: Credentials
): ReadonlyArray<readonly [name: string, authorization: string]> => {
  const { tokenOf, publicKey, stranger } = from
  const now = Math.floor(Date.now() / 1_000)
  const good = jwtOf(from)
  const [head, body, signature] = good.split(".")
  const admin = tokenOf("admin")
  const pem = publicKey.export({ format: "pem", type: "spki" })
  const jwk = publicKey.export({ format: "jwk" })
  const strange = stranger.publicKey.export({ format: "jwk" })
  const jwt = (claims: Readonly<Record<string, unknown>>, header: Readonly<Record<string, unknown>> = {}) =>
    jwtOf(from, claims, undefined, header)
  const bearer = (name: string, token: string) => [name, `Bearer ${token}`] as const
  return [
    bearer("garbage", "x"),
    bearer("an id without a secret", admin.slice(0, 20)),
    bearer("another secret", admin.slice(0, -4) + (admin.endsWith("AAAA") ? "BBBB" : "AAAA")),
    bearer("another id", admin.replace(/^gst_../, admin.startsWith("gst_00") ? "gst_11" : "gst_00")),
    bearer("a secret that goes on", `${admin}A`),
    bearer("an expired token", tokenOf("expired")),
    bearer("a token of another region", tokenOf("elsewhere")),
    ["another scheme", `Basic ${Buffer.from(`root:${admin}`).toString("base64")}`],
    ["no scheme", admin],
    ["two tokens", `Bearer ${admin} ${admin}`],
    ["two tokens by comma", `Bearer x, Bearer ${admin}`],
    ["an empty token", "Bearer "],
    bearer("9 KB of token", "a".repeat(9_000)),
    bearer("an expired JWT", jwt({ exp: now - 61 })),
    bearer("a JWT from the future", jwt({ nbf: now + 120 })),
    bearer("a JWT without an end", jwt({ exp: undefined })),
    bearer("a JWT for another region", jwt({ aud: "groundstate:north" })),
    bearer("a JWT for nobody", jwt({ aud: undefined })),
    bearer("a JWT of another issuer", jwt({ iss: "https://evil.example" })),
    bearer("a JWT without a name", jwt({ sub: undefined })),
    bearer("a JWT with a line break in its name", jwt({ sub: "ida\nadmin" })),
    bearer("a JWT without roles", jwt({ roles: undefined })),
    bearer("a JWT with roles that are none", jwt({ roles: ["root", { admin: true }] })),
    bearer("a JWT by another key", jwtOf(from, {}, stranger.privateKey)),
    bearer("a JWT that brings its key", jwtOf(from, {}, stranger.privateKey, { jwk: strange })),
    bearer(
      "a JWT that names its keys",
      jwtOf(from, {}, stranger.privateKey, { jku: "https://evil.example" })
    ),
    bearer("a JWT by an unknown key", jwtOf(from, {}, stranger.privateKey, { kid: "two" })),
    bearer("a JWT whose claims were altered", `${head}.${part(claimsOf({ sub: "eve" }))}.${signature}`),
    bearer("a JWT whose signature was cut", `${head}.${body}.${signature.slice(0, -2)}`),
    bearer("alg none", unsigned({ alg: "none" }, claimsOf())),
    bearer("alg none with a signature", unsigned({ alg: "none" }, claimsOf(), signature)),
    bearer("alg None", unsigned({ alg: "None" }, claimsOf(), signature)),
    bearer("HS256 by the public key", hs256({ alg: "HS256", kid: "one" }, claimsOf(), pem as string)),
    bearer("HS256 by the public JWK", hs256({ alg: "HS256", kid: "one" }, claimsOf(), JSON.stringify(jwk))),
    bearer("HS256 by nothing", hs256({ alg: "HS256" }, claimsOf(), "")),
    bearer("RS256 by name", jwt({}, { alg: "RS256" })),
    bearer("ES384 by name", jwt({}, { alg: "ES384" })),
    bearer("a critical header", jwt({}, { crit: ["until"], until: "noon" })),
    bearer("a signature of zeros", `${head}.${body}.${Buffer.alloc(64).toString("base64url")}`)
  ]
}
