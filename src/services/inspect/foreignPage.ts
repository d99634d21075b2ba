// Requests that a web page of somebody else makes through the browser of whoever may ask: never answered.
import type { IncomingMessage } from "node:http"
import { isLoopback } from "../runtime/settingsRelations.ts"

/** `host` of an authority: `[::1]:8080` is `::1`. */
const hostOf = (authority: string): string =>
  (authority.startsWith("[") ? authority.slice(1).split("]", 1)[0] : authority.split(":", 1)[0]).toLowerCase()

/**
 * Without tokens a browser would be enough to decide about devices: a page may send simple requests anywhere, and
 * may give its own name the address 127.0.0.1. What comes from another origin is told by Origin and Sec-Fetch-Site;
 * with `ownNamesOnly` a name that is not this machine's own by Host. A link that is followed is nobody's page.
 */
export const isForeignPage = ({ method, headers }: IncomingMessage, ownNamesOnly: boolean): boolean => {
  const { origin, host } = headers
  if (ownNamesOnly && host !== undefined && !isLoopback(hostOf(host))) return true
  const site = headers["sec-fetch-site"]
  const followed = headers["sec-fetch-mode"] === "navigate" && (method === "GET" || method === "HEAD")
  if (!followed && (site === "cross-site" || site === "same-site")) return true
  return origin !== undefined && origin.replace(/^https?:\/\//, "") !== host
}
