// Addresses by template: what exists, under which methods, and under which name it is counted.
import type { Need } from "../../schema/api/Access.ts"

export interface Route {
  readonly method: string
  /** `/v1/devices/:id`. */
  readonly template: string
  /** What whoever asks must be allowed. */
  readonly needs: Need
}

/** What an address means: unreadable, unknown, known under other methods, or found. */
export type Match =
  | { readonly _tag: "Malformed"; readonly detail: string }
  | { readonly _tag: "TooLong" }
  | { readonly _tag: "Unknown" }
  | { readonly _tag: "WrongMethod"; readonly allow: ReadonlyArray<string>; readonly template: string }
  | { readonly _tag: "Found"; readonly template: string; readonly path: string; readonly needs: Need }

/** Longest request target, in characters; a device's id of 512 bytes takes 1,536 when percent-encoded. */
export const TARGET_CHARACTERS_MAX = 8_192

const sameSegments = (template: ReadonlyArray<string>, path: ReadonlyArray<string>): boolean => {
  if (template.length !== path.length) return false
  for (let i = 0; i < template.length; i++) {
    if (template[i].startsWith(":") ? path[i] === "" : template[i] !== path[i]) return false
  }
  return true
}

const decodes = (text: string): boolean => {
  try {
    return !decodeURIComponent(text).includes("\0")
  } catch {
    return false
  }
}

/**
 * Compiles routes. The target is what stands in the request line: a path with its query, or (from proxies) a
 * whole address. HEAD is answered wherever GET is.
 */
export const makeMatcher = (routes: ReadonlyArray<Route>) => {
  const compiled = routes.map((route) => ({ ...route, segments: route.template.split("/") }))
  return (method: string, target: string): Match => {
    if (target.length > TARGET_CHARACTERS_MAX) return { _tag: "TooLong" }
    const local = target.startsWith("/") ? target : target.replace(/^https?:\/\/[^/?#]*/i, "")
    const stop = local.search(/[?#]/)
    const path = stop < 0 ? local : local.slice(0, stop)
    if (!decodes(path))
      return { _tag: "Malformed", detail: "The path is not valid percent-encoded UTF-8 text." }
    // The router below takes `;` for the start of the query, as some servers do.
    if (path.includes(";")) return { _tag: "Malformed", detail: "Write `;` in a path as %3B." }
    if (stop >= 0 && !decodes(local.slice(stop).replaceAll("+", " "))) {
      return { _tag: "Malformed", detail: "The query is not valid percent-encoded UTF-8 text." }
    }
    const segments = path.split("/")
    const here = compiled.filter((route) => sameSegments(route.segments, segments))
    if (here.length === 0) return { _tag: "Unknown" }
    const wanted = method === "HEAD" ? "GET" : method
    const found = here.find((route) => route.method === wanted)
    if (found !== undefined) return { _tag: "Found", template: found.template, path, needs: found.needs }
    const allow = new Set(
      here.flatMap((route) => (route.method === "GET" ? ["GET", "HEAD"] : [route.method]))
    )
    return { _tag: "WrongMethod", allow: [...allow].sort(), template: here[0].template }
  }
}
