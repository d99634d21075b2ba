// Those who wait for the verdict of one event, and verdicts that nobody has come for yet. Plain and bounded.
import type { Verdict } from "../../schema/verdict/Verdict.ts"

/** Verdicts kept for askers who come late, and askers kept waiting; the oldest give way. */
const ASKS_MAX = 8_192

export interface Askers {
  /** Calls back at once if the verdict is there, else when it comes. The answer stops waiting. */
  readonly wait: (askId: string, take: (verdict: Verdict) => void) => () => void
  readonly answer: (askId: string, verdict: Verdict) => void
  readonly waiting: number
}

export const makeAskers = (): Askers => {
  const waiting = new Map<string, (verdict: Verdict) => void>()
  const answered = new Map<string, Verdict>()
  const bound = (map: Map<string, unknown>) => {
    if (map.size > ASKS_MAX) map.delete(map.keys().next().value as string)
  }
  return {
    wait: (askId, take) => {
      const verdict = answered.get(askId)
      if (verdict !== undefined) {
        answered.delete(askId)
        take(verdict)
        return () => undefined
      }
      waiting.set(askId, take)
      bound(waiting)
      return () => void waiting.delete(askId)
    },
    answer: (askId, verdict) => {
      const take = waiting.get(askId)
      if (take === undefined) {
        answered.set(askId, verdict)
        bound(answered)
        return
      }
      waiting.delete(askId)
      take(verdict)
    },
    get waiting() {
      return waiting.size
    }
  }
}
