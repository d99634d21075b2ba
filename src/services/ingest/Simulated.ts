// The simulated devices as a producer: appends their events to the log, at a pace of the wall clock.
import { Clock, Context, Effect, Layer, Schedule } from "effect"
import type { LogUnavailable } from "../../schema/error/IngestError.ts"
import { EventLog, type NewRecord } from "./EventLog.ts"
import { makeSimulation, type SimEvent, type Simulation, type SimulationOptions } from "./simulate.ts"

/** Events of one append, at most. */
export const PRODUCE_BATCH_EVENTS_MAX = 4_096
/** How often a paced producer wakes up. */
const PACE_TICK_MILLIS = 20
/** What a producer that fell behind makes up for, at most: it never answers a stall with a burst. */
const PACE_ARREARS_MILLIS = 1_000
/** A log that is away is tried again for about this long; then `produce` fails. */
const RETRY_MILLIS_MAX = 30_000

/** When to stop, and how fast to go; whichever bound comes first ends it, without any it goes on. */
export interface Pace {
  /** Wall-clock pace; as fast as the log takes them by default. */
  readonly eventsPerSecond?: number
  readonly eventsMax?: number
  readonly durationMillis?: number
  /** Called after each append with what the log has taken, in order. */
  readonly onAppended?: (events: ReadonlyArray<SimEvent>) => Effect.Effect<void>
}

export interface Produced {
  readonly events: number
  readonly millis: number
  /** Events left out because the log could not keep the pace; 0 without a pace. */
  readonly behind: number
}

const recordOf = (event: SimEvent): NewRecord => ({ key: event.key, value: event.value })

/** Retries of one append: the same events again, so that the ids of the stream take each once. */
const patience = Schedule.exponential("100 millis").pipe(
  Schedule.union(Schedule.spaced("2 seconds")),
  Schedule.upTo(RETRY_MILLIS_MAX)
)

/** The devices of one simulation, and the means to let them speak. */
export class Simulated extends Context.Tag("groundstate/services/ingest/Simulated")<
  Simulated,
  {
    readonly simulation: Simulation
    /** Goes on where the last call ended; not to be run twice at once. Fails when the log stays away. */
    readonly produce: (pace: Pace) => Effect.Effect<Produced, LogUnavailable>
  }
>() {
  /** `topic` must exist. */
  static readonly layer = (
    topic: string,
    options: SimulationOptions
  ): Layer.Layer<Simulated, never, EventLog> =>
    Layer.effect(
      Simulated,
      Effect.map(EventLog, (log) => {
        const simulation = makeSimulation(options)
        return { simulation, produce: (pace) => produce(log, topic, simulation, pace) }
      })
    )
}

const produce = Effect.fn("Simulated.produce")(function* (
  log: EventLog["Type"],
  topic: string,
  simulation: Simulation,
  pace: Pace
) {
  const eventsMax = pace.eventsMax ?? Number.POSITIVE_INFINITY
  const durationMillis = pace.durationMillis ?? Number.POSITIVE_INFINITY
  const perMilli = (pace.eventsPerSecond ?? Number.POSITIVE_INFINITY) / 1_000
  const startedAt = yield* Clock.currentTimeMillis
  let sent = 0
  let behind = 0
  for (;;) {
    const elapsed = (yield* Clock.currentTimeMillis) - startedAt
    if (sent >= eventsMax || elapsed >= durationMillis) return { events: sent, millis: elapsed, behind }
    let due = PRODUCE_BATCH_EVENTS_MAX
    if (perMilli !== Number.POSITIVE_INFINITY) {
      due = Math.floor(elapsed * perMilli) - sent - behind
      const arrears = Math.ceil(perMilli * PACE_ARREARS_MILLIS)
      if (due > arrears) {
        behind += due - arrears
        due = arrears
      }
    }
    const count = Math.min(due, eventsMax - sent, PRODUCE_BATCH_EVENTS_MAX)
    if (count <= 0) {
      yield* Effect.sleep(PACE_TICK_MILLIS)
      continue
    }
    const events = simulation.next(count)
    yield* log.append(topic, events.map(recordOf)).pipe(Effect.retry(patience))
    sent += count
    if (pace.onAppended !== undefined) yield* pace.onAppended(events)
    yield* Effect.yieldNow()
  }
})
