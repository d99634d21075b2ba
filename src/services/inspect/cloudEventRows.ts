// The CloudEvents HTTP binding (1.0.2): from a request in binary or structured mode to what goes to the log.
import { decodeBase64, requiredAttributes } from "../ingest/cloudEvents.ts"
import { skipKey, skipSpace, skipValue } from "../ingest/json.ts"
import { BODY_DEPTH_MAX } from "./splitRows.ts"

const percentDecoded = (value: string): string => {
  const quoted = /^"(.*)"$/s.exec(value)
  const plain = quoted === null ? value : quoted[1].replace(/\\(.)/gs, "$1")
  try {
    return decodeURIComponent(plain)
  } catch {
    return plain
  }
}

/**
 * Binary mode: attributes come as `ce-` headers of the request and go to the log as `ce_` headers of the record
 * (Kafka binding). Undefined where the request has none. Values are unquoted and percent-decoded (3.1.3.2).
 */
export const binaryHeaders = (
  headers: Readonly<Record<string, string | undefined>>
): Readonly<Record<string, string>> | undefined => {
  let record: Record<string, string> | undefined
  for (const name in headers) {
    const value = headers[name]
    if (!name.startsWith("ce-") || value === undefined || !/^ce-[a-z0-9]{1,64}$/.test(name)) continue
    record ??= {}
    record[`ce_${name.slice(3)}`] = percentDecoded(value)
  }
  return record === undefined ? undefined : { ...record, "content-type": "application/json" }
}

/** The event inside a structured envelope, or what is wrong with the envelope. */
export type EnvelopeData =
  | { readonly _tag: "Data"; readonly bytes: Uint8Array; readonly start: number; readonly end: number }
  | { readonly _tag: "Fault"; readonly detail: string }

const fault = (detail: string): EnvelopeData => ({ _tag: "Fault", detail })

/**
 * Takes the event out of the envelope bytes[start, end), for streams whose events are plain JSON. `data` is
 * handed on with its own bytes; `data_base64` is decoded. The bytes are JSON already (see `splitRows`).
 */
export const envelopeData = (bytes: Uint8Array, start: number, end: number): EnvelopeData => {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start)
  let envelope: unknown
  try {
    envelope = JSON.parse(text.toString("utf8"))
  } catch {
    return fault("the CloudEvent is not JSON")
  }
  if (typeof envelope !== "object" || envelope === null || Array.isArray(envelope)) {
    return fault("a CloudEvent is a JSON object")
  }
  const attributes = envelope as Readonly<Record<string, unknown>>
  if (attributes["specversion"] !== "1.0") return fault('attribute specversion: expected "1.0"')
  for (const name of requiredAttributes) {
    if (typeof attributes[name] !== "string" || attributes[name] === "") {
      return fault(`attribute ${name}: expected a text that is not empty`)
    }
  }
  if (Object.hasOwn(attributes, "data_base64")) {
    const encoded = attributes["data_base64"]
    const data = typeof encoded === "string" ? decodeBase64(encoded) : undefined
    if (data === undefined || Object.hasOwn(attributes, "data")) {
      return fault("attribute data_base64: expected padded base64, and no `data` beside it")
    }
    return { _tag: "Data", bytes: data, start: 0, end: data.length }
  }
  let i = skipSpace(bytes, start, end) + 1
  let found: EnvelopeData = fault("attribute data: expected an event")
  while (i > 0 && i < end) {
    const keyStart = skipSpace(bytes, i, end)
    const colon = skipKey(bytes, keyStart, end)
    if (colon < 0) break
    const valueStart = skipSpace(bytes, colon, end)
    const valueEnd = skipValue(bytes, valueStart, end, 1, BODY_DEPTH_MAX)
    if (valueEnd < 0) return fault("the CloudEvent is not JSON, or nests too deep")
    const key: unknown = JSON.parse(
      Buffer.from(bytes.buffer, bytes.byteOffset + keyStart, colon - 1 - keyStart).toString("utf8")
    )
    if (key === "data") {
      if (found._tag === "Data") return fault("attribute data: expected once, got it twice")
      found = { _tag: "Data", bytes, start: valueStart, end: valueEnd }
    }
    i = skipSpace(bytes, valueEnd, end) + 1
  }
  return found
}
