// What every command that changes something has in common: who decides, and that it happens once.
import { randomUUID } from "node:crypto"
import { userInfo } from "node:os"
import { Effect } from "effect"
import type { Api, ApiError } from "./ApiClient.ts"
import { type Input, optionalFlag } from "./inputs.ts"

/** `--stream` where a device or model may belong to several. */
export const streamFlag = optionalFlag("stream", {
  value: "STREAM",
  about: "name of the stream; may be left out where the runner serves only one"
})

/** `--by`: who decides. */
export const operatorFlag: Input<string | undefined> = optionalFlag("by", {
  value: "NAME",
  about: "who decides, kept with the decision; your login name without it"
})

/** The name given, or the login name; `operator` where the system has no name for the user. */
export const operatorName = (by: string | undefined): string => {
  if (by !== undefined) return by
  try {
    return userInfo().username || "operator"
  } catch {
    return "operator"
  }
}

export const devicePath = (id: string): string => `/v1/devices/${encodeURIComponent(id)}`

export const streamQuery = (stream: string | undefined): { readonly stream?: string } =>
  stream === undefined ? {} : { stream }

/** Sends a decision with a fresh Idempotency-Key, and once more with the same key where no answer came. */
export const sendOnce = (api: Api, path: string, body: unknown): Effect.Effect<unknown, ApiError> =>
  Effect.suspend(() => {
    const headers = { "idempotency-key": randomUUID() }
    return Effect.retry(api.post(path, body, { headers }), {
      times: 1,
      while: (error) =>
        error._tag === "ServerUnavailable" && /timeout|within|reset|socket/i.test(error.detail)
    })
  })
