// A device that is called like its file: where a stream's device lies at `file`, rows without one get the file's name.

const extensions = /\.(jsonl|ndjson|json|csv|tsv|txt)(\.gz)?$/i

/** Is this the name of a file of events: JSON lines, CSV or TSV, `.gz` of each? */
export const holdsEvents = (name: string): boolean => extensions.test(name)

/** Does this path of a stream's device mean the file's name? */
export const deviceIsFile = (device: ReadonlyArray<string> | undefined): boolean =>
  device !== undefined && device.length === 1 && device[0] === "file"

/** Name of a file without its folders and extensions: `data/pumps/7.csv.gz` is `7`. */
export const fileDevice = (path: string): string =>
  path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1).replace(extensions, "")

/**
 * What stands in place of the opening brace of a parsed row so that it has the key `file`; undefined where it
 * has one already, or is no object.
 */
const openingOf = (event: unknown, file: string): string | undefined => {
  if (typeof event !== "object" || event === null || Array.isArray(event)) return undefined
  if (Object.hasOwn(event, "file")) return undefined
  return `{"file":${JSON.stringify(file)}${Object.keys(event).length === 0 ? "" : ","}`
}

const text = new TextEncoder()
const BRACE = 123

/** The row's bytes with the key `file`, otherwise as they were; `event` is the row, parsed. */
export const withFile = (value: Uint8Array, event: unknown, file: string): Uint8Array => {
  const opening = openingOf(event, file)
  if (opening === undefined) return value
  const rest = value.subarray(value.indexOf(BRACE) + 1)
  const head = text.encode(opening)
  const whole = new Uint8Array(head.length + rest.length)
  whole.set(head)
  whole.set(rest, head.length)
  return whole
}

/** The same of a row as text; text that is no JSON stays as it is. */
export const textWithFile = (json: string, file: string): string => {
  let event: unknown
  try {
    event = JSON.parse(json)
  } catch {
    return json
  }
  const opening = openingOf(event, file)
  return opening === undefined ? json : opening + json.slice(json.indexOf("{") + 1)
}
