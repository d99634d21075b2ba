// What was asked and what became of it, one JSON object a line, so that a run can be read again afterwards.
import { createWriteStream, mkdirSync } from "node:fs"
import { dirname } from "node:path"

/** Of a call: begun, answered, refused, or without an answer, so that nobody knows whether it was done. */
export type Outcome = "invoke" | "ok" | "fail" | "unknown"

export interface History {
  readonly path: string
  readonly write: (what: string, entry?: Readonly<Record<string, unknown>>) => void
  readonly close: () => Promise<void>
}

/** Wall clock, epoch ms: the only one that the broker's own times can be compared with. */
export const now = (): number => Date.now()

export const openHistory = (path: string): History => {
  mkdirSync(dirname(path), { recursive: true })
  const file = createWriteStream(path)
  const begun = now()
  return {
    path,
    write: (what, entry = {}) => {
      file.write(`${JSON.stringify({ ...entry, at: now() - begun, what })}\n`)
    },
    close: () => new Promise((resolve) => file.end(() => resolve()))
  }
}
