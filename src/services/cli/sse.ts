// Server-sent events from the text of a response (WHATWG HTML, 9.2.6).

export interface ServerSentEvent {
  /** `message` where the server names none. */
  readonly event: string
  readonly data: string
  /** The last id seen on the connection; empty before the first. */
  readonly id: string
}

/** Bytes of one event beyond which the rest of it is dropped. */
const EVENT_CHARACTERS_MAX = 4 * 1024 * 1024

/** A parser for one connection: feed it pieces of text as they come, it answers the events that are whole. */
export const makeSseParser = (): ((piece: string) => ReadonlyArray<ServerSentEvent>) => {
  let rest = ""
  let afterReturn = false
  let event = ""
  let data: Array<string> = []
  let size = 0
  let id = ""
  return (piece) => {
    const events: Array<ServerSentEvent> = []
    // A line break of \r\n may be cut between two pieces.
    rest += afterReturn && piece.startsWith("\n") ? piece.slice(1) : piece
    afterReturn = piece === "" ? afterReturn : rest.endsWith("\r")
    for (;;) {
      const end = rest.search(/[\r\n]/)
      if (end < 0) break
      const line = rest.slice(0, end)
      rest = rest.slice(rest.startsWith("\r\n", end) ? end + 2 : end + 1)
      if (line === "") {
        if (data.length > 0)
          events.push({ event: event === "" ? "message" : event, data: data.join("\n"), id })
        event = ""
        data = []
        size = 0
        continue
      }
      const colon = line.indexOf(":")
      if (colon === 0) continue
      const name = colon < 0 ? line : line.slice(0, colon)
      const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1)
      if (name === "event") event = value
      else if (name === "id" && !value.includes("\u0000")) id = value
      else if (name === "data" && size + value.length <= EVENT_CHARACTERS_MAX) {
        data.push(value)
        size += value.length
      }
    }
    if (rest.length > EVENT_CHARACTERS_MAX) rest = ""
    return events
  }
}
