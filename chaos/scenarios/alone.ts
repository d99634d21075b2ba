// What scenarios with one embedded runner share: events that come steadily, and what became of them.
import type { makeEvents } from "../../test/support/chaosStream.ts"
import { type Told as Answer, passes, type RunnerProcess, until } from "../../test/support/runner.ts"
import { ask } from "../watch.ts"

export const cellsOf = async (runner: RunnerProcess): Promise<ReadonlyArray<Answer>> =>
  (await ask(runner, "/v1/cells")).items

export interface Flow {
  readonly sent: () => number
  /** No further events; resolves when the last were taken. May be called again. */
  readonly stop: () => Promise<void>
}

/** Posts `count` events after each `everyMillis` until it is stopped; one that is refused ends it and is told. */
export const flow = (
  runner: RunnerProcess,
  next: ReturnType<typeof makeEvents>,
  { count, everyMillis }: { readonly count: number; readonly everyMillis: number },
  because: Array<string>
): Flow => {
  let sent = 0
  let over = false
  const producing = (async () => {
    while (!over) {
      const events = Array.from({ length: count }, () => JSON.parse(next().json))
      const { status } = await runner.ask("POST", "/v1/events", events)
      if (status !== 202) throw new Error(`events were answered with ${status}`)
      sent += events.length
      await passes(everyMillis)
    }
  })().catch((cause) => {
    because.push(String(cause))
  })
  return {
    sent: () => sent,
    stop: () => {
      over = true
      return producing
    }
  }
}

/** Waits until all that was sent is scored, and counts it. */
export const account = async (runner: RunnerProcess, sent: number, because: Array<string>) => {
  const cells = await until("every event to be scored", async () => {
    const all = await cellsOf(runner)
    return all.reduce((sum, cell) => sum + cell.offset, 0) >= sent ? all : undefined
  })
  const sum = (counter: string): number => cells.reduce((total, cell) => total + cell.counters[counter], 0)
  const accounted = sum("scored") + sum("duplicates") + sum("deadLetters")
  if (accounted !== sent) because.push(`I1: ${sent} events were taken, ${accounted} are accounted for`)
  return {
    cells,
    alerts: sum("alerts"),
    told: {
      events: sent,
      lost: Math.max(0, sent - accounted),
      doubled: Math.max(0, accounted - sent),
      copies: 0,
      deadLetters: sum("deadLetters"),
      alertsEqual: undefined,
      statesEqual: undefined,
      disturbed: 0
    }
  }
}
