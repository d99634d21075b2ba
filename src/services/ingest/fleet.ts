// The simulated fleet: four kinds of device, and what is particular to each device of a kind.
import { makeRandom } from "./random.ts"

/** Numeric fields of every simulated event, in the order of the arrays below. */
export const simulatedNumbers = ["temperature", "vibration", "current", "bytesOut", "latency"] as const
/** Categories that a rare value may be injected into. */
export const simulatedCategories = ["mode", "firmware", "errorCode"] as const

/** How one field of one kind behaves; log fields are described by their natural logarithm. */
export interface FieldModel {
  readonly level: number
  /** Standard deviation of the level between devices, cut at 2.5 of them. */
  readonly spread: number
  /** Standard deviation of the noise within a device. */
  readonly noise: number
  /** Height of the daily rhythm. */
  readonly daily: number
  /** Correlation of the noise with the device's load, which its fields share; 0 to 1. */
  readonly load: number
}

export interface KindModel {
  readonly kind: string
  /** Share of the fleet. */
  readonly share: number
  /** Reports every so many ticks of half the mean interval. */
  readonly every: 1 | 2 | 4
  /** Hour of the day, UTC, at which the rhythm peaks. */
  readonly peakHour: number
  /** In the order of `simulatedNumbers`; null where the kind has no such sensor. */
  readonly fields: ReadonlyArray<FieldModel | null>
  readonly modes: ReadonlyArray<readonly [string, number]>
  readonly firmware: ReadonlyArray<readonly [string, number]>
  readonly errors: ReadonlyArray<readonly [string, number]>
}

const field = (level: number, spread: number, noise: number, daily: number, load: number): FieldModel => ({
  level,
  spread,
  noise,
  daily,
  load
})
const logField = (median: number, spread: number, noise: number, daily: number, load: number): FieldModel =>
  field(Math.log(median), spread, noise, daily, load)

export const kinds: ReadonlyArray<KindModel> = [
  {
    kind: "pump",
    share: 0.35,
    every: 2,
    peakHour: 14,
    fields: [
      field(48, 4, 0.9, 1.1, 0.6),
      field(2.4, 0.35, 0.16, 0.1, 0.6),
      field(11.5, 1.2, 0.45, 0.4, 0.7),
      logField(4_200, 0.25, 0.1, 0.05, 0.1),
      logField(38, 0.3, 0.14, 0.12, 0)
    ],
    modes: [
      ["run", 0.72],
      ["idle", 0.2],
      ["boost", 0.08]
    ],
    firmware: [
      ["3.2.1", 0.6],
      ["3.2.0", 0.3],
      ["3.1.7", 0.1]
    ],
    errors: [
      ["none", 0.97],
      ["E12", 0.02],
      ["E14", 0.01]
    ]
  },
  {
    kind: "freezer",
    share: 0.25,
    every: 4,
    peakHour: 16,
    fields: [
      field(-19.5, 0.8, 0.35, 0.3, 0.5),
      null,
      field(3.1, 0.3, 0.18, 0.12, 0.7),
      logField(1_900, 0.2, 0.08, 0.02, 0),
      logField(45, 0.3, 0.14, 0.1, 0)
    ],
    modes: [
      ["cool", 0.82],
      ["hold", 0.13],
      ["defrost", 0.05]
    ],
    firmware: [
      ["7.0.4", 0.7],
      ["6.9.9", 0.3]
    ],
    errors: [
      ["none", 0.98],
      ["E31", 0.02]
    ]
  },
  {
    kind: "gateway",
    share: 0.2,
    every: 1,
    peakHour: 11,
    fields: [
      field(56, 3, 0.7, 0.9, 0.5),
      null,
      null,
      logField(260_000, 0.4, 0.18, 0.25, 0.5),
      logField(12, 0.25, 0.12, 0.15, 0.5)
    ],
    modes: [
      ["relay", 0.9],
      ["sync", 0.1]
    ],
    firmware: [
      ["12.4.0", 0.5],
      ["12.3.8", 0.5]
    ],
    errors: [
      ["none", 0.95],
      ["E51", 0.03],
      ["E52", 0.02]
    ]
  },
  {
    kind: "turnstile",
    share: 0.2,
    every: 2,
    peakHour: 8,
    fields: [
      field(22, 1.2, 0.3, 0.4, 0),
      field(0.9, 0.12, 0.07, 0.05, 0.5),
      field(1.4, 0.15, 0.09, 0.08, 0.7),
      logField(2_600, 0.2, 0.14, 0.16, 0.7),
      logField(60, 0.3, 0.15, 0.1, 0)
    ],
    modes: [
      ["open", 0.55],
      ["locked", 0.35],
      ["free-exit", 0.1]
    ],
    firmware: [
      ["1.18.2", 0.8],
      ["1.17.0", 0.2]
    ],
    errors: [
      ["none", 0.98],
      ["E71", 0.02]
    ]
  }
]

/** Minutes of a day; the rhythm's table has one entry more, so that it can be read between them. */
const MINUTES = 1_440

/** Shape of the daily rhythm, −1 to 1: minute of the day after the peak → height. Steeper up than a sine. */
export const rhythm: Float64Array = Float64Array.from({ length: MINUTES + 1 }, (_, minute) => {
  const angle = (2 * Math.PI * minute) / MINUTES
  return (Math.cos(angle) + 0.25 * Math.cos(2 * angle)) / 1.25
})
/** Standard deviation of the rhythm over a day. */
const RHYTHM_DEVIATION = Math.sqrt((1 + 0.0625) / 2) / 1.25

/** Height of the rhythm at an event time (epoch ms) for a device whose peak comes `peakMillis` after midnight UTC. */
export const rhythmAt = (time: number, peakMillis: number): number => {
  const minute = ((((time - peakMillis) / 60_000) % MINUTES) + MINUTES) % MINUTES
  const whole = Math.floor(minute)
  return rhythm[whole] + (rhythm[whole + 1] - rhythm[whole]) * (minute - whole)
}

/** The fleet as columns; F = `simulatedNumbers.length`, tables are row-major and NaN where a kind lacks a field. */
export interface Fleet {
  readonly count: number
  readonly names: ReadonlyArray<string>
  /** Position in `kinds`. */
  readonly kind: Uint8Array
  readonly peakMillis: Float64Array
  readonly level: Float64Array
  readonly noise: Float64Array
  readonly daily: Float64Array
  /** Noise and rhythm together: what an injected anomaly is measured in. */
  readonly sigma: Float64Array
  /** Position in the kind's `firmware`. */
  readonly firmware: Uint8Array
  /** Where in a tick the device reports, 0 to 1, and in which tick of its cycle. */
  readonly phase: Float64Array
  readonly tick: Uint8Array
}

/** Position drawn from [name, weight] pairs; `u` in [0, 1). */
export const pickWeighted = (weights: ReadonlyArray<readonly [string, number]>, u: number): number => {
  let left = u
  for (let i = 0; i < weights.length; i++) {
    left -= weights[i][1]
    if (left < 0) return i
  }
  return 0
}

/** Draws a fleet of `count` devices. A device's traits depend on seed and position alone. */
export const makeFleet = (seed: number, count: number): Fleet => {
  const width = simulatedNumbers.length
  const table = () => new Float64Array(count * width).fill(Number.NaN)
  const fleet = {
    count,
    names: new Array<string>(count),
    kind: new Uint8Array(count),
    peakMillis: new Float64Array(count),
    level: table(),
    noise: table(),
    daily: table(),
    sigma: table(),
    firmware: new Uint8Array(count),
    phase: new Float64Array(count),
    tick: new Uint8Array(count)
  }
  const shares = kinds.map((kind) => [kind.kind, kind.share] as const)
  for (let d = 0; d < count; d++) {
    const random = makeRandom(seed, 16 + d)
    // The first devices go round the kinds, so that the smallest fleet has one of each.
    const kind = d < kinds.length ? d : pickWeighted(shares, random.uniform())
    const model = kinds[kind]
    fleet.kind[d] = kind
    fleet.names[d] = `${model.kind}-${String(d + 1).padStart(5, "0")}`
    fleet.peakMillis[d] = (model.peakHour + random.between(-1, 1)) * 3_600_000
    fleet.firmware[d] = pickWeighted(model.firmware, random.uniform())
    fleet.phase[d] = random.uniform()
    fleet.tick[d] = random.integer(model.every)
    const factor = random.between(0.85, 1.2)
    for (let f = 0; f < width; f++) {
      const one = model.fields[f]
      const offset = Math.max(-2.5, Math.min(2.5, random.normal()))
      if (one === null) continue
      const at = d * width + f
      fleet.level[at] = one.level + one.spread * offset
      fleet.noise[at] = one.noise * factor
      fleet.daily[at] = one.daily * factor
      fleet.sigma[at] = Math.hypot(fleet.noise[at], fleet.daily[at] * RHYTHM_DEVIATION)
    }
  }
  return fleet
}
