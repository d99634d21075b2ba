// CloudEvents 1.0 on a log: where the envelope of an event is, and whether it is one.
//
// A stream of format `cloudevents` takes both modes of the Kafka binding, record by record:
// - structured: the header `content-type` is `application/cloudevents+json`, or no header says anything; the
//   value is the envelope, and the event lies in its `data` (or, encoded, in `data_base64`);
// - binary: any other record with headers; attributes are the headers `ce_<name>`, the value is the event.
// Declared fields are looked up in the event alone. The identity keys (device, time, id) are looked up in the
// event first and, where it has none and the key has one level, among the attributes; so
// `identity: { device: subject, time: time, id: id }` works in both modes. A stream of format `json` never looks
// at headers.

/** Headers of one record, names in lower case. */
export type Headers = Readonly<Record<string, string>>

const header = (headers: Headers, name: string): string | undefined =>
  Object.hasOwn(headers, name) ? headers[name] : undefined

/** The media type of a record without parameters, in lower case; empty where there is none. */
const mediaType = (headers: Headers): string =>
  (header(headers, "content-type") ?? "").split(";", 1)[0].trim().toLowerCase()

/** Is this record in binary mode? */
export const isBinaryMode = (headers: Headers | undefined): headers is Headers =>
  headers !== undefined &&
  !mediaType(headers).startsWith("application/cloudevents") &&
  (mediaType(headers) !== "" || Object.keys(headers).some((name) => name.startsWith("ce_")))

/** Attributes every CloudEvent has, beside its `specversion`. */
export const requiredAttributes = ["id", "source", "type"] as const

/** What is wrong with the envelope that the headers of a binary-mode record make, or undefined. */
export const binaryProblem = (headers: Headers): string | undefined => {
  if (header(headers, "ce_specversion") !== "1.0") {
    return "header ce_specversion: expected 1.0, the version this stream reads"
  }
  for (const name of requiredAttributes) {
    if (!header(headers, `ce_${name}`)) return `header ce_${name}: expected a text that is not empty`
  }
  const type = mediaType(headers)
  return type === "" || type === "application/json" || type.endsWith("+json")
    ? undefined
    : "header content-type: expected a JSON media type, such as application/json"
}

/** What is wrong with the media type of a structured-mode record, or undefined. */
export const structuredProblem = (headers: Headers | undefined): string | undefined => {
  const type = headers === undefined ? "" : mediaType(headers)
  return type === "" || type === "application/cloudevents+json"
    ? undefined
    : "header content-type: expected application/cloudevents+json, the only structured form this stream reads"
}

/** Longest attribute, in UTF-8 bytes, that can be an identity; longer ones count as too long. */
export const ATTRIBUTE_BYTES_MAX = 1_024

const encoder = new TextEncoder()

/**
 * Writes attribute `name` of a binary-mode record to `target` (ATTRIBUTE_BYTES_MAX + 1 bytes or more) as UTF-8;
 * answers its length, −1 where the record has none, ATTRIBUTE_BYTES_MAX + 1 where it is too long.
 */
export const writeAttribute = (headers: Headers, name: string, target: Uint8Array): number => {
  const text = header(headers, `ce_${name}`)
  if (text === undefined) return -1
  const { read, written } = encoder.encodeInto(text, target)
  if (read === text.length && written <= ATTRIBUTE_BYTES_MAX) return written
  // What was cut must not read as a whole time by chance.
  target[ATTRIBUTE_BYTES_MAX] = 0
  return ATTRIBUTE_BYTES_MAX + 1
}

/** The bytes that base64 text (RFC 4648, padded) stands for, or undefined where it is none. */
export const decodeBase64 = (text: string): Uint8Array | undefined =>
  text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text) ? Buffer.from(text, "base64") : undefined
