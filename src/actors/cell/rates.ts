// Events per second over the last few seconds, from counts at irregular times. Plain; the clock is monotonic.

/** Seconds over which the rate is taken. */
const WINDOW_SECONDS = 5

export interface Rates {
  readonly add: (events: number) => void
  readonly perSecond: () => number
}

export const makeRates = (now: () => number = () => performance.now()): Rates => {
  const counts = new Float64Array(WINDOW_SECONDS + 1)
  let second = Math.floor(now() / 1_000)
  const advance = () => {
    const at = Math.floor(now() / 1_000)
    const steps = Math.min(at - second, counts.length)
    for (let i = 1; i <= steps; i++) counts[(second + i) % counts.length] = 0
    second = at
  }
  return {
    add: (events) => {
      advance()
      counts[second % counts.length] += events
    },
    perSecond: () => {
      advance()
      let sum = 0
      for (let i = 1; i <= WINDOW_SECONDS; i++)
        sum += counts[(second - i + counts.length * 2) % counts.length]
      return sum / WINDOW_SECONDS
    }
  }
}
