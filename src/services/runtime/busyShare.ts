// How busy the event loop is: what decides between answering sooner and doing more at once.
import { type EventLoopUtilization, performance } from "node:perf_hooks"

/** Looks closer together than this answer alike: a single turn of the loop says nothing. */
const WINDOW_MILLIS = 100

/** Answers the share of time, 0 to 1, in which the event loop was not waiting, over the last window or so. */
export const makeBusyShare = (): (() => number) => {
  let from: EventLoopUtilization = performance.eventLoopUtilization()
  let at = performance.now()
  let share = 0
  return () => {
    const now = performance.now()
    if (now - at >= WINDOW_MILLIS) {
      const until = performance.eventLoopUtilization()
      share = performance.eventLoopUtilization(until, from).utilization
      from = until
      at = now
    }
    return share
  }
}
