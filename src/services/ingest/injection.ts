// The anomalies that a simulation injects: what they are, when they strike, and what they do to an event.
import { simulatedCategories, simulatedNumbers } from "./fleet.ts"
import type { Random } from "./random.ts"

/** Every kind of injected anomaly, the order being the one of summaries. */
export const anomalyKinds = ["spike", "drift", "stuck", "flood", "rare-category"] as const
export type AnomalyKind = (typeof anomalyKinds)[number]

/** One injected anomaly: the truth that detection is judged by. Grows while the simulation runs. */
export interface Injection {
  /** `spike-1`, `drift-2`, …: numbered in order of their start. */
  readonly id: string
  readonly kind: AnomalyKind
  readonly device: string
  /** The field concerned; null for a flood. */
  readonly field: string | null
  /** Event time of its first and, so far, last event, epoch ms. */
  readonly startedAt: number
  readonly endsAt: number
  /** Positions of its first and, so far, last event among all events of the simulation, from 0. */
  readonly firstEventIndex: number
  readonly lastEventIndex: number
  /** Events it has touched so far, and how many it will have touched when it is over. */
  readonly events: number
  readonly plannedEvents: number
  readonly over: boolean
  /** Spike and drift: height in the device's own standard deviations, with sign. Flood: times its rate. Else 0. */
  readonly size: number
  /** One sentence for a person. */
  readonly detail: string
}

type Mutable<A> = { -readonly [K in keyof A]: A[K] }

/** An injection under way, with what it needs to go on. */
export interface Strike extends Mutable<Injection> {
  readonly deviceIndex: number
  /** Position in `simulatedNumbers` or `simulatedCategories`; −1 for a flood. */
  readonly fieldIndex: number
  /** What a stuck sensor repeats; NaN until its first event. */
  held: number
  /** The rare value. */
  readonly text: string
}

/** Shortest and longest of each kind, in events of the device. Floods last a minute of event time, or one report. */
export interface AnomalyLengths {
  readonly spike: readonly [number, number]
  readonly drift: readonly [number, number]
  readonly stuck: readonly [number, number]
  readonly rareCategory: readonly [number, number]
}

export const defaultLengths: AnomalyLengths = {
  spike: [1, 3],
  drift: [60, 100],
  stuck: [24, 40],
  rareCategory: [1, 3]
}

/** How many times its own rate a flooding device sends. */
export const FLOOD_FACTOR = 20
/** How long a flood lasts, event time; at least one period of the device. */
export const FLOOD_MILLIS = 60_000

/** Fields that can't fall below 0, by position in `simulatedNumbers`: their anomalies go up. */
const upwardsOnly = [false, true, true, false, false]

const rareModes = [
  "factory-test",
  "bypass",
  "diag-loop",
  "unlocked",
  "safe-boot",
  "raw-io",
  "bus-off",
  "shadow-run"
]

const drawLength = (random: Random, [low, high]: readonly [number, number]): number =>
  low + random.integer(high - low + 1)

const rareText = (category: number, random: Random): string => {
  switch (category) {
    case 0:
      return `${rareModes[random.integer(rareModes.length)]}-${random.integer(100)}`
    case 1:
      return `0.${random.integer(100)}.${random.integer(100)}-dev`
    default:
      return `E${900 + random.integer(100)}`
  }
}

/**
 * Draws an anomaly of a kind for one device. `hasField(f)` tells whether the device has numeric field f;
 * at least one must be there.
 */
export const drawStrike = (
  kind: AnomalyKind,
  number: number,
  device: string,
  deviceIndex: number,
  time: number,
  eventIndex: number,
  hasField: (field: number) => boolean,
  lengths: AnomalyLengths,
  random: Random
): Strike => {
  let fieldIndex = -1
  let field: string | null = null
  let size = 0
  let plannedEvents = 0
  let text = ""
  let detail = ""
  if (kind === "rare-category") {
    fieldIndex = random.integer(simulatedCategories.length)
    field = simulatedCategories[fieldIndex]
    text = rareText(fieldIndex, random)
    plannedEvents = drawLength(random, lengths.rareCategory)
    detail = `${field} is "${text}", which nobody uses`
  } else if (kind === "flood") {
    size = FLOOD_FACTOR
    plannedEvents = FLOOD_FACTOR
    detail = `sends ${FLOOD_FACTOR} times as often as it should`
  } else {
    do fieldIndex = random.integer(simulatedNumbers.length)
    while (!hasField(fieldIndex))
    field = simulatedNumbers[fieldIndex]
    const sign = upwardsOnly[fieldIndex] || random.uniform() < 0.5 ? 1 : -1
    if (kind === "spike") {
      size = sign * random.between(8, 15)
      plannedEvents = drawLength(random, lengths.spike)
      detail = `${field} jumps by ${size.toFixed(1)} standard deviations`
    } else if (kind === "drift") {
      size = sign * random.between(6, 10)
      plannedEvents = drawLength(random, lengths.drift)
      detail = `${field} creeps to ${size.toFixed(1)} standard deviations`
    } else {
      plannedEvents = drawLength(random, lengths.stuck)
      detail = `${field} repeats one value`
    }
  }
  return {
    id: `${kind}-${number}`,
    kind,
    device,
    field,
    startedAt: time,
    endsAt: time,
    firstEventIndex: eventIndex,
    lastEventIndex: eventIndex,
    events: 0,
    plannedEvents,
    over: false,
    size,
    detail,
    deviceIndex,
    fieldIndex,
    held: Number.NaN,
    text
  }
}

/**
 * Bends one event's numbers (in the scale of `Fleet.level`; NaN is missing) as the strike demands. Called once
 * per event of the device, before `events` counts it. `sigma` starts at the device's row.
 */
export const bend = (strike: Strike, numbers: Float64Array, sigma: Float64Array, row: number): void => {
  const f = strike.fieldIndex
  if (strike.kind === "spike") numbers[f] += strike.size * sigma[row + f]
  else if (strike.kind === "drift") {
    numbers[f] += (strike.size * sigma[row + f] * (strike.events + 1)) / strike.plannedEvents
  } else if (strike.kind === "stuck") {
    if (Number.isNaN(strike.held)) strike.held = numbers[f]
    else numbers[f] = strike.held
  }
}
