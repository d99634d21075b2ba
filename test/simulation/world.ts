// One thread, one seed, one clock: decides which fiber of which process goes on next, and what becomes of requests.
import { Clock, Duration, Effect, type Clock as EffectClock, type Exit, type Scheduler } from "effect"
import type { Gate } from "./gate.ts"

/**
 * Operations of a fiber until it has to let another one go on, as Effect's own scheduler has it. Fewer would also
 * part what Effect's races and concurrent loops do in one go: interrupted in there, they never end.
 */
const OPERATIONS_MAX = 2_048
/** Virtual milliseconds that pass with a step, at most. */
const STEP_MILLIS_MAX = 0.4

/** How often a request is not applied, or is applied and its answer lost; of a thousand each. */
export interface Weather {
  readonly refused: number
  readonly unheard: number
}
export const FAIR: Weather = { refused: 0, unheard: 0 }

interface Request {
  readonly process: SimulatedProcess
  readonly what: string
  /** Does it or not; answers what the caller is to hear. */
  readonly arrive: () => () => void
  /** The caller no longer waits. */
  abandoned: boolean
  /** Set once it has been done: tells the caller. */
  answer: (() => void) | undefined
}

interface Timer {
  readonly process: SimulatedProcess
  readonly at: number
  readonly ring: () => void
}

/** A process: its fibers run only when the world says so. Frozen it keeps its memory, dead it has none. */
export class SimulatedProcess implements Scheduler.Scheduler {
  state: "running" | "frozen" | "dead" = "running"
  readonly tasks: Array<() => void> = []
  readonly name: string
  #left = OPERATIONS_MAX
  constructor(name: string) {
    this.name = name
  }
  shouldYield(): number | false {
    if (--this.#left > 0) return false
    this.#left = OPERATIONS_MAX
    return 0
  }
  scheduleTask(task: () => void): void {
    if (this.state !== "dead") this.tasks.push(task)
  }
}

export type World = ReturnType<typeof makeWorld>

export const makeWorld = (chance: () => number) => {
  const processes: Array<SimulatedProcess> = []
  const requests: Array<Request> = []
  const timers: Array<Timer> = []
  const trace: Array<readonly [steps: number, now: number, process: string, what: string]> = []
  let current: SimulatedProcess | undefined
  let now = 1_000
  let steps = 0
  let weather = FAIR
  const below = (count: number) => Math.floor(chance() * count)
  const oneIn = (odds: number) => chance() * odds < 1
  const note = (process: string, what: string) => {
    trace.push([steps, now, process, what])
  }

  const gateOf =
    (process: SimulatedProcess): Gate =>
    <A, E>(what: string, apply: () => Exit.Exit<A, E>, lost: (detail: string) => E) =>
      Effect.async<A, E>((resume) => {
        const request: Request = {
          process,
          what,
          abandoned: false,
          answer: undefined,
          arrive: () => {
            const fate = below(1_000)
            if (fate < weather.refused) {
              note(process.name, `${what}: refused`)
              return () => resume(Effect.fail(lost("it was refused")))
            }
            const exit: Exit.Exit<A, E> = apply()
            const unheard = fate < weather.refused + weather.unheard
            note(
              process.name,
              `${what}: ${exit._tag === "Success" ? "done" : "failed"}${unheard ? ", unheard" : ""}`
            )
            return () => resume(unheard ? Effect.fail(lost("the answer was lost")) : exit)
          }
        }
        requests.push(request)
        return Effect.sync(() => {
          request.abandoned = true
        })
      })

  const clockOf = (process: SimulatedProcess): EffectClock.Clock => ({
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => now,
    unsafeCurrentTimeNanos: () => BigInt(Math.floor(now * 1e6)),
    currentTimeMillis: Effect.sync(() => now),
    currentTimeNanos: Effect.sync(() => BigInt(Math.floor(now * 1e6))),
    sleep: (duration) =>
      Effect.async<void>((resume) => {
        const timer = { process, at: now + Duration.toMillis(duration), ring: () => resume(Effect.void) }
        timers.push(timer)
        return Effect.sync(() => void remove(timers, timer))
      })
  })

  const runnable = () => processes.filter(({ state, tasks }) => state === "running" && tasks.length > 0)

  const runTask = (process: SimulatedProcess): void => {
    current = process
    process.tasks.shift()?.()
  }

  const runRequest = (): void => {
    const request = requests[below(requests.length)]
    if (request.answer !== undefined) {
      remove(requests, request)
      if (!request.abandoned && request.process.state !== "dead") request.answer()
      return
    }
    // What nobody waits for any more may still have been on its way.
    if ((request.abandoned || request.process.state === "dead") && oneIn(2)) {
      remove(requests, request)
      return
    }
    request.answer = request.arrive()
  }

  const due = () => timers.filter(({ at, process }) => at <= now && process.state !== "frozen")

  /** One step of whoever the seed says; false where nobody has anything to do. */
  const step = (): boolean => {
    steps++
    now += chance() * STEP_MILLIS_MAX
    const tasks = runnable()
    // Fibers mostly come first, as they do where requests cross a network.
    if (tasks.length > 0 && (requests.length === 0 || !oneIn(5))) {
      runTask(tasks[below(tasks.length)])
      return true
    }
    const ringing = due()
    if (ringing.length > 0 && (requests.length === 0 || oneIn(2))) {
      const timer = ringing[below(ringing.length)]
      remove(timers, timer)
      timer.ring()
      return true
    }
    if (requests.length > 0) {
      runRequest()
      return true
    }
    if (tasks.length > 0) return true
    const next = Math.min(...timers.filter(({ process }) => process.state !== "frozen").map(({ at }) => at))
    if (!Number.isFinite(next)) return false
    now = Math.max(now, next)
    return true
  }

  return {
    below,
    oneIn,
    chance,
    note,
    trace,
    step,
    gateOf,
    clockOf,
    get now() {
      return now
    },
    get steps() {
      return steps
    },
    /** Is there a chance for a fault now: something is on its way? */
    get busy() {
      return requests.length > 0
    },
    setWeather: (next: Weather) => {
      weather = next
    },
    start: (name: string): SimulatedProcess => {
      const process = new SimulatedProcess(name)
      processes.push(process)
      return process
    },
    /** Its memory is gone; what it had sent may arrive. */
    kill: (process: SimulatedProcess) => {
      process.state = "dead"
      process.tasks.length = 0
      for (let i = timers.length - 1; i >= 0; i--) if (timers[i].process === process) timers.splice(i, 1)
      note(process.name, "killed")
    },
    /** Runs `act` with the world's clock and steps in place of those of this real process. */
    owned: <A>(act: () => A): A => {
      const { performance, setImmediate } = globalThis
      const { now: realNow } = performance
      performance.now = () => now
      globalThis.setImmediate = ((run: () => void) => {
        current?.scheduleTask(run)
      }) as unknown as typeof setImmediate
      try {
        return act()
      } finally {
        performance.now = realNow
        globalThis.setImmediate = setImmediate
      }
    }
  }
}

const remove = <A>(list: Array<A>, item: A): void => {
  const at = list.indexOf(item)
  if (at >= 0) list.splice(at, 1)
}
