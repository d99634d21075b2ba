// Simulated devices: events in a repeatable order, with anomalies injected into a clean stream.
import { NUMBER_BYTES_MAX, textBytes, writeFixed, writeInteger, writePiece } from "./eventText.ts"
import { type Fleet, kinds, makeFleet, pickWeighted, rhythmAt, simulatedNumbers } from "./fleet.ts"
import {
  type AnomalyLengths,
  anomalyKinds,
  bend,
  defaultLengths,
  drawStrike,
  FLOOD_FACTOR,
  FLOOD_MILLIS,
  type Injection,
  type Strike
} from "./injection.ts"
import { makeRandom, NORMAL_MAX } from "./random.ts"

export interface SimulationOptions {
  /** The same seed and options give the same bytes. */
  readonly seed: number
  readonly devices: number
  /** Event time of the first report, epoch ms. Event time outruns the clock: start far enough in the past that it stays behind. */
  readonly startMillis: number
  /** Mean event time between two reports of one device; 60,000 by default. */
  readonly intervalMillis?: number
  /** So many events come before the first anomaly; 60 per device by default. */
  readonly warmupEvents?: number
  /** Mean count of events between two injections; 0 for a clean stream. 1,000 by default. */
  readonly injectEvery?: number
  /** Reports for which a device stays clean after an anomaly; 30 by default. */
  readonly restReports?: number
  /** Shortest and longest of each kind of anomaly, in events. */
  readonly lengths?: Partial<AnomalyLengths>
}

export interface SimEvent {
  /** Position among all events of the simulation, from 0. */
  readonly index: number
  readonly device: string
  /** Event time, epoch ms. */
  readonly time: number
  /** The device's name in UTF-8, shared by all its events. */
  readonly key: Uint8Array
  /** The event as JSON in UTF-8; never written again. */
  readonly value: Uint8Array
  /** The anomaly that this event is part of. */
  readonly injected: Injection | undefined
}

export interface Simulation {
  readonly fleet: Fleet
  /** In order of their start; entries grow as their events come. */
  readonly injections: ReadonlyArray<Injection>
  /** How much event time one event takes on average, in milliseconds, floods aside. */
  readonly millisPerEvent: number
  /** Events made so far. */
  readonly emitted: number
  /** Event time reached, epoch ms. */
  readonly now: number
  /** The next events. Order and bytes do not depend on how many are asked for at a time. */
  readonly next: (count: number) => ReadonlyArray<SimEvent>
  /** The anomaly of a device that covers an event time, the end stretched by `slackMillis`; for judging alerts. */
  readonly injectionAt: (device: string, time: number, slackMillis: number) => Injection | undefined
}

const DEFAULT_INTERVAL_MILLIS = 60_000
/** Ticks after which the schedule repeats: the least common multiple of `KindModel.every`. */
const CYCLE_TICKS = 4
/** Correlation of a device's noise from one report to the next. */
const PERSISTENCE = 0.75
const FRESHNESS = Math.sqrt(1 - PERSISTENCE * PERSISTENCE)
/** Share of events that come without one of their fields. */
const MISSING_SHARE = 0.001
/** Chance that a device draws its mode anew at a report. */
const MODE_CHANGE = 0.03
/** Reports come early or late by at most this share of their period. */
const JITTER = 0.015
/** Room for one event's JSON besides its name and categories. */
const EVENT_BYTES_MAX = 512 + 2 * NUMBER_BYTES_MAX + simulatedNumbers.length * NUMBER_BYTES_MAX

const decimals = [2, 3, 3, 0, 2]
const isLog = [false, false, false, true, true]
const fieldHeads = simulatedNumbers.map((name) => textBytes(`,"${name}":`))
const idHead = textBytes(`{"id":"`)
const dash = textBytes("-")
const close = textBytes("}")
const firmwareHead = textBytes(`,"firmware":"`)
const modeHead = textBytes(`","mode":"`)
const errorHead = textBytes(`","errorCode":"`)
const quote = textBytes(`"`)

/** An extra event that a flooding device has yet to send. */
interface Flood {
  readonly strike: Strike
  readonly gapMillis: number
  dueAt: number
  left: number
}

const clip = (x: number): number => Math.max(-NORMAL_MAX, Math.min(NORMAL_MAX, x))

/**
 * Makes a simulation of `devices` pumps, freezers, gateways and turnstiles. Every device follows its own level,
 * a daily rhythm in event time and correlated noise cut at four standard deviations. Anomalies are laid over
 * that: outside of them the stream is the same as without any.
 */
export const makeSimulation = (options: SimulationOptions): Simulation => {
  const count = Math.max(1, Math.floor(options.devices))
  const tickMillis = (options.intervalMillis ?? DEFAULT_INTERVAL_MILLIS) / 2
  const injectEvery = options.injectEvery ?? 1_000
  const warmupEvents = options.warmupEvents ?? 60 * count
  const restReports = options.restReports ?? 30
  const lengths: AnomalyLengths = { ...defaultLengths, ...options.lengths }
  const fleet = makeFleet(options.seed, count)
  // Three sequences, so that an anomaly changes nothing but its own events.
  const clean = makeRandom(options.seed, 0)
  const chance = makeRandom(options.seed, 1)
  const extra = makeRandom(options.seed, 2)
  const width = simulatedNumbers.length

  const keys = fleet.names.map(textBytes)
  const deviceHeads = fleet.names.map((name) => textBytes(`","device":"${name}","ts":`))
  const kindHeads = kinds.map((kind) => textBytes(`,"kind":"${kind.kind}"`))
  const modes = kinds.map((kind) => kind.modes.map(([name]) => textBytes(name)))
  const firmware = kinds.map((kind) => kind.firmware.map(([name]) => textBytes(name)))
  const errors = kinds.map((kind) => kind.errors.map(([name]) => textBytes(name)))

  // Who reports when, over one cycle: sorted by time, then walked round and round.
  const slots: Array<{ readonly device: number; readonly at: number }> = []
  for (let d = 0; d < count; d++) {
    const every = kinds[fleet.kind[d]].every
    for (let tick = fleet.tick[d]; tick < CYCLE_TICKS; tick += every) {
      slots.push({ device: d, at: (tick + fleet.phase[d]) * tickMillis })
    }
  }
  slots.sort((a, b) => a.at - b.at || a.device - b.device)
  const slotDevice = Int32Array.from(slots, (slot) => slot.device)
  const slotAt = Float64Array.from(slots, (slot) => slot.at)
  const cycleMillis = CYCLE_TICKS * tickMillis

  // State of the noise: one load per device, one own part per field.
  const load = new Float64Array(count)
  const own = new Float64Array(count * width)
  const mode = new Uint8Array(count)
  for (let d = 0; d < count; d++) {
    load[d] = clean.normal()
    for (let f = 0; f < width; f++) own[d * width + f] = clean.normal()
    mode[d] = pickWeighted(kinds[fleet.kind[d]].modes, clean.uniform())
  }
  const numbers = new Float64Array(width)

  const injections: Array<Strike> = []
  const byDevice = new Map<string, Array<Strike>>()
  const active = new Array<Strike | undefined>(count).fill(undefined)
  const restUntil = new Float64Array(count)
  const floods: Array<Flood> = []
  let floodDue = Number.POSITIVE_INFINITY
  const bag: Array<number> = []
  let nextStrike =
    injectEvery > 0 ? warmupEvents + chance.exponential() * injectEvery : Number.POSITIVE_INFINITY

  let cycle = 0
  let slot = 0
  let emitted = 0
  let now = options.startMillis

  const periodOf = (d: number): number => kinds[fleet.kind[d]].every * tickMillis

  /** Kinds come in shuffled rounds, so that a short run has about as many of each. */
  const drawKind = (): (typeof anomalyKinds)[number] => {
    if (bag.length === 0) {
      for (let i = 0; i < anomalyKinds.length; i++) bag.splice(chance.integer(i + 1), 0, i)
    }
    return anomalyKinds[bag.pop() as number]
  }

  const begin = (d: number, time: number): Strike => {
    const hasField = (f: number): boolean => kinds[fleet.kind[d]].fields[f] !== null
    const kind = drawKind()
    const strike = drawStrike(
      kind,
      injections.length + 1,
      fleet.names[d],
      d,
      time,
      emitted,
      hasField,
      lengths,
      chance
    )
    injections.push(strike)
    const known = byDevice.get(strike.device)
    if (known === undefined) byDevice.set(strike.device, [strike])
    else known.push(strike)
    active[d] = strike
    if (kind === "flood") {
      const gapMillis = periodOf(d) / FLOOD_FACTOR
      const left = Math.ceil(Math.max(FLOOD_MILLIS, periodOf(d)) / gapMillis)
      strike.plannedEvents = left + 1
      floods.push({ strike, gapMillis, dueAt: time + gapMillis, left })
      floodDue = Math.min(floodDue, time + gapMillis)
    }
    return strike
  }

  const end = (strike: Strike): void => {
    strike.over = true
    active[strike.deviceIndex] = undefined
    restUntil[strike.deviceIndex] = strike.endsAt + restReports * periodOf(strike.deviceIndex)
  }

  /** Fills `numbers` with the device's next report; the noise moves on. */
  const report = (d: number, time: number): void => {
    const fields = kinds[fleet.kind[d]].fields
    const height = rhythmAt(time, fleet.peakMillis[d])
    const shared = clip(PERSISTENCE * load[d] + FRESHNESS * clean.normal())
    load[d] = shared
    for (let f = 0; f < width; f++) {
      const model = fields[f]
      if (model === null) continue
      const at = d * width + f
      own[at] = clip(PERSISTENCE * own[at] + FRESHNESS * clean.normal())
      const z = clip(model.load * shared + Math.sqrt(1 - model.load * model.load) * own[at])
      numbers[f] = fleet.level[at] + fleet.daily[at] * height + fleet.noise[at] * z
    }
  }

  /** As `report`, for the extra events of a flood: near the present noise, which stays as it is. */
  const repeat = (d: number, time: number): void => {
    const height = rhythmAt(time, fleet.peakMillis[d])
    for (let f = 0; f < width; f++) {
      const at = d * width + f
      const z = clip(own[at] + 0.3 * extra.normal())
      numbers[f] = fleet.level[at] + fleet.daily[at] * height + fleet.noise[at] * z
    }
  }

  let room = new Uint8Array(0)
  let used = 0

  /** Writes the event in `numbers` as JSON; the strike's rare value stands in for its category. */
  const write = (
    d: number,
    time: number,
    modeAt: number,
    errorAt: number,
    missing: number,
    strike: Strike | undefined
  ): Uint8Array => {
    if (room.length - used < EVENT_BYTES_MAX) {
      room = new Uint8Array(256 * EVENT_BYTES_MAX)
      used = 0
    }
    const kind = fleet.kind[d]
    const rare = strike !== undefined && strike.kind === "rare-category" ? strike.fieldIndex : -1
    const rarePiece = rare >= 0 ? textBytes((strike as Strike).text) : quote
    let p = writePiece(room, used, idHead)
    p = writePiece(room, p, keys[d])
    p = writePiece(room, p, dash)
    p = writeInteger(room, p, time)
    p = writePiece(room, p, deviceHeads[d])
    p = writeInteger(room, p, time)
    p = writePiece(room, p, kindHeads[kind])
    p = writePiece(room, p, firmwareHead)
    p = writePiece(room, p, rare === 1 ? rarePiece : firmware[kind][fleet.firmware[d]])
    p = writePiece(room, p, modeHead)
    p = writePiece(room, p, rare === 0 ? rarePiece : modes[kind][modeAt])
    p = writePiece(room, p, errorHead)
    p = writePiece(room, p, rare === 2 ? rarePiece : errors[kind][errorAt])
    p = writePiece(room, p, quote)
    for (let f = 0; f < width; f++) {
      if (kinds[kind].fields[f] === null || f === missing) continue
      p = writePiece(room, p, fieldHeads[f])
      p = writeFixed(room, p, isLog[f] ? Math.exp(numbers[f]) : numbers[f], decimals[f])
    }
    p = writePiece(room, p, close)
    const value = room.subarray(used, p)
    used = p
    return value
  }

  const take = (d: number, time: number, value: Uint8Array, strike: Strike | undefined): SimEvent => {
    if (strike !== undefined) {
      strike.events++
      strike.endsAt = time
      strike.lastEventIndex = emitted
      if (strike.kind !== "flood" && strike.events >= strike.plannedEvents) end(strike)
    }
    if (time > now) now = time
    return { index: emitted++, device: fleet.names[d], time, key: keys[d], value, injected: strike }
  }

  const floodEvent = (): SimEvent => {
    let at = 0
    for (let i = 1; i < floods.length; i++) if (floods[i].dueAt < floods[at].dueAt) at = i
    const flood = floods[at]
    const d = flood.strike.deviceIndex
    // Odd milliseconds: no extra event shares its time, and so its id, with a report.
    const time = 2 * Math.floor(flood.dueAt / 2) + 1
    repeat(d, time)
    const event = take(d, time, write(d, time, mode[d], 0, -1, undefined), flood.strike)
    flood.left--
    flood.dueAt += flood.gapMillis
    if (flood.left <= 0) {
      floods.splice(at, 1)
      flood.strike.plannedEvents = flood.strike.events
      end(flood.strike)
    }
    floodDue = Number.POSITIVE_INFINITY
    for (const other of floods) floodDue = Math.min(floodDue, other.dueAt)
    return event
  }

  const reportEvent = (nominal: number): SimEvent => {
    const d = slotDevice[slot]
    if (++slot === slotDevice.length) {
      slot = 0
      cycle++
    }
    const kind = kinds[fleet.kind[d]]
    // Even milliseconds: see `floodEvent`.
    const time = 2 * Math.floor((nominal + clean.between(-JITTER, JITTER) * periodOf(d)) / 2)
    report(d, time)
    if (clean.uniform() < MODE_CHANGE) mode[d] = pickWeighted(kind.modes, clean.uniform())
    const errorAt = pickWeighted(kind.errors, clean.uniform())
    let missing = clean.uniform() < MISSING_SHARE ? clean.integer(width) : -1
    let strike = active[d]
    if (strike === undefined && emitted >= nextStrike && time >= restUntil[d]) {
      strike = begin(d, time)
      nextStrike = emitted + chance.exponential() * injectEvery
    }
    if (strike !== undefined) {
      bend(strike, numbers, fleet.sigma, d * width)
      missing = -1
    }
    return take(d, time, write(d, time, mode[d], errorAt, missing, strike), strike)
  }

  return {
    fleet,
    injections,
    millisPerEvent: cycleMillis / slotDevice.length,
    get emitted() {
      return emitted
    },
    get now() {
      return now
    },
    next: (wanted) => {
      const events = new Array<SimEvent>(wanted)
      for (let i = 0; i < wanted; i++) {
        const nominal = options.startMillis + cycle * cycleMillis + slotAt[slot]
        events[i] = floodDue <= nominal ? floodEvent() : reportEvent(nominal)
      }
      return events
    },
    injectionAt: (device, time, slackMillis) => {
      const known = byDevice.get(device)
      if (known === undefined) return undefined
      for (let i = known.length - 1; i >= 0; i--) {
        if (time >= known[i].startedAt && time <= known[i].endsAt + slackMillis) return known[i]
      }
      return undefined
    }
  }
}
