// Who asks: what a request's credentials came to, and what follows from it for the request.
import { Context } from "effect"
import { type Need, type Permission, permissionsOf, type Role, roleFor } from "../../schema/api/Access.ts"
import { ApiProblem } from "../../schema/error/ApiError.ts"

export interface Caller {
  /** Whose token it is; undefined where requests need none, and nobody knows who asks. */
  readonly name: string | undefined
  /** Part of the token that may be shown. */
  readonly token: string | undefined
  readonly roles: ReadonlyArray<Role>
}

/** Whoever asks where requests need no token. */
export const everybody: Caller = { name: undefined, token: undefined, roles: ["admin"] }

/** Whoever asks, without a token that holds, for what needs none. */
export const nobodyKnown: Caller = { name: undefined, token: undefined, roles: [] }

/** Who sent the request that is being answered. */
export class AskedBy extends Context.Reference<AskedBy>()("groundstate/services/inspect/AskedBy", {
  defaultValue: (): Caller => everybody
}) {}

/** The name that a decision is recorded under: the token's, or the one that the request gives where there is none. */
export const decider = (caller: Caller, given: string): string => caller.name ?? given

export const mayDo = (caller: Caller, permission: Permission): boolean =>
  caller.roles.some((role) => permissionsOf[role].includes(permission))

/** Why credentials are not taken. `missing`: there are none. */
export type Unknown =
  | "missing"
  | "malformed"
  | "several"
  | "invalid"
  | "expired"
  | "revoked-or-unknown"
  | "audience"

export type Outcome =
  | { readonly _tag: "Known"; readonly caller: Caller }
  | { readonly _tag: "Unknown"; readonly why: Unknown }
  /** A token of ours, for other regions. */
  | { readonly _tag: "Elsewhere"; readonly caller: Caller }

/** A request that is not answered, with the challenge that says what would be. */
export interface Denial {
  readonly problem: ApiProblem
  readonly headers: Readonly<Record<string, string>>
  /** A word for the access log. */
  readonly why: string
  readonly caller: Caller | undefined
}

const details: Record<Unknown, string> = {
  missing: "This runner answers those who have a token.",
  malformed: "The Authorization header holds no bearer token.",
  several: "There is more than one Authorization header.",
  invalid: "The token is not one that this runner takes.",
  expired: "The token has expired.",
  "revoked-or-unknown": "The token is not one that this runner knows; it may have been revoked.",
  audience: "The token was made for somebody else than this region."
}

/** The challenge's realm; a quote in a region's name would end it. */
const realm = (region: string): string => `Bearer realm="${region.replaceAll(/[^\w .:-]/g, "_")}"`

const unknown = (region: string, why: Unknown): Denial => ({
  problem: ApiProblem.of(
    "unauthorized",
    `${details[why]} Nothing was done. Send one as \`Authorization: Bearer TOKEN\`; \`groundstate tokens create\` makes them.`
  ),
  headers: { "www-authenticate": realm(region) + (why === "missing" ? "" : ', error="invalid_token"') },
  why,
  caller: undefined
})

const forbidden = (region: string, caller: Caller, why: string, detail: string, scope?: string): Denial => ({
  problem: ApiProblem.of("forbidden", `${detail} Nothing was done.`),
  headers: {
    "www-authenticate": `${realm(region)}, error="insufficient_scope"${scope === undefined ? "" : `, scope="${scope}"`}`
  },
  why,
  caller
})

/** What keeps the caller from what an address needs; undefined where nothing does. `undefined` needs any token. */
export const denialOf = (outcome: Outcome, need: Need | undefined, region: string): Denial | undefined => {
  if (need === "nothing") return undefined
  if (outcome._tag === "Unknown") return unknown(region, outcome.why)
  const { caller } = outcome
  if (outcome._tag === "Elsewhere") {
    return forbidden(
      region,
      caller,
      "region",
      `The token of ${caller.name} does not hold in region ${region}.`
    )
  }
  if (need === undefined || mayDo(caller, need)) return undefined
  const role = roleFor(need)
  const has = caller.roles.join(", ")
  const also = role === "admin" ? "" : " (or admin)"
  return forbidden(
    region,
    caller,
    "role",
    `This needs the role ${role}${also}; the token of ${caller.name} has ${has}.`,
    role
  )
}
