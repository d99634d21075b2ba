// Who may do what: roles, the permissions that each holds, and which permission an endpoint needs.
import { Context, Schema } from "effect"

export const roleNames = ["viewer", "producer", "operator", "admin"] as const
/** What a token is for; a token may hold several. */
export const Role = Schema.Literal(...roleNames)
export type Role = typeof Role.Type

/**
 * `read`: look at everything. `produce`: events, and events whose verdict is waited for. `operate`: decisions about
 * devices and dead letters. `administer`: which model scores.
 */
export type Permission = "read" | "produce" | "operate" | "administer"

/** A producer sees nothing, and whoever decides about devices sends no events: each can lose its token alone. */
export const permissionsOf: Readonly<Record<Role, ReadonlyArray<Permission>>> = {
  viewer: ["read"],
  producer: ["produce"],
  operator: ["read", "operate"],
  admin: ["read", "produce", "operate", "administer"]
}

/** What an address needs: a permission, or nothing, where it tells nothing that is not public. */
export type Need = Permission | "nothing"

/** Annotation of an endpoint: what it needs. One without needs `read` for GET, and `administer` for all else. */
export class Needs extends Context.Tag("groundstate/schema/api/Needs")<Needs, Need>() {}

/** What an endpoint with these annotations needs. */
export const needOf = (method: string, annotations: Context.Context<never>): Need => {
  const declared = Context.getOption(annotations as Context.Context<Needs>, Needs)
  return declared._tag === "Some" ? declared.value : method === "GET" ? "read" : "administer"
}

/** The smallest role that holds the permission. */
export const roleFor = (permission: Permission): Role =>
  roleNames.find((role) => permissionsOf[role].includes(permission)) ?? "admin"
