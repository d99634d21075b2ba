// Energies to p-values: how often a normal event has an energy at least this high. From a model's calibration,
// or without a model from the stream's own past.
import { ENERGY_BINS, type EnergyHistogram } from "../../schema/event/CellState.ts"
import type { Calibration } from "../../schema/model/Manifest.ts"

/** Share of energies beyond which the tail is extrapolated. */
export const TAIL_SHARE = 0.02
/** Fewest energies beyond the tail's start that a tail is fitted to. */
const TAIL_MIN = 10
const SHAPE_MAX = 0.9

export interface Tail {
  readonly tailFrom: number
  readonly tailScale: number
  readonly tailShape: number
}

/** Share of normal energies above y, where `share` lie above 0: generalised Pareto (Pickands 1975), exponential at shape 0. */
const tailShareAt = (y: number, scale: number, shape: number, share: number): number =>
  shape < 1e-6 ? share * Math.exp(-y / scale) : share * (1 + (shape * y) / scale) ** (-1 / shape)

/** Inverse of the above: y for a share p ≤ `share`. */
const tailAt = (p: number, scale: number, shape: number, share: number): number =>
  shape < 1e-6 ? scale * Math.log(share / p) : (scale / shape) * ((share / p) ** shape - 1)

/**
 * Fits the tail from the first two probability-weighted moments of the excesses (Hosking and Wallis 1987):
 * m0 = mean y, m1 = mean of (1 − F(y)) y. The shape stays within [0, 0.9]: no end of the tail is assumed, so
 * that no energy gets probability 0.
 */
const fitMoments = (m0: number, m1: number): readonly [scale: number, shape: number] => {
  const spread = m0 - 2 * m1
  const shape = spread > 0 ? 2 - m0 / spread : SHAPE_MAX
  const bounded = Math.min(SHAPE_MAX, Math.max(0, shape))
  return [Math.max(1e-6, m0 * (1 - bounded)), bounded]
}

/**
 * Tail beyond the 98 % quantile of energies (in any order; not finite ones are left out). With fewer than 10
 * beyond it the tail is exponential with their mean excess, or with the spread of the upper half.
 */
export const fitTail = (energies: ArrayLike<number>): Tail => {
  const sorted = Float64Array.from(energies).filter(Number.isFinite).sort()
  const n = sorted.length
  if (n === 0) return { tailFrom: 0, tailScale: 1, tailShape: 0 }
  const start = Math.min(n - 1, Math.max(0, Math.ceil(n * (1 - TAIL_SHARE)) - 1))
  const tailFrom = sorted[start]
  const excesses = n - 1 - start
  if (excesses < TAIL_MIN) {
    let mean = 0
    for (let i = start + 1; i < n; i++) mean += (sorted[i] - tailFrom) / excesses
    const half = (tailFrom - sorted[Math.floor((n - 1) / 2)]) / Math.log(0.5 / TAIL_SHARE)
    return { tailFrom, tailScale: Math.max(1e-6, mean, half), tailShape: 0 }
  }
  let m0 = 0
  let m1 = 0
  for (let i = start + 1; i < n; i++) {
    const y = sorted[i] - tailFrom
    m0 += y / excesses
    m1 += (y * ((n - 1 - i + 0.35) / excesses)) / excesses
  }
  const [tailScale, tailShape] = fitMoments(m0, m1)
  return { tailFrom, tailScale, tailShape }
}

/** A calibration ready for look-ups. */
export interface ConformalScale {
  /** p-value of an energy, 0 < p ≤ 1; not finite energies get 1. */
  readonly pvalue: (energy: number) => number
  /** Energy from which p ≤ the given one, nats. */
  readonly energyAt: (p: number) => number
}

/** First index of `sorted` with sorted[i] ≥ value; its length if there is none. */
const lowerBound = (sorted: Float64Array, value: number): number => {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (sorted[middle] < value) low = middle + 1
    else high = middle
  }
  return low
}

/** Of this many calibration energies the highest one may be an anomaly's; the tail takes its place. */
const TRUSTED_PER_ANOMALY = 1_000

/**
 * p = (1 + #{calibration ≥ e}) / (n + 1) up to the highest energy but the distrusted ones; beyond it the tail
 * thins out what was counted. Counting holds for any energies that are exchangeable, a fitted tail only where
 * it fits. The few highest are a matter of chance, so beyond them the larger of two shares holds: the tail from
 * there, and the tail from the 98 % quantile, which rests on all excesses.
 */
export const makeCalibration = (calibration: Calibration): ConformalScale => {
  const sorted = Float64Array.from(calibration.energies).sort()
  const n = sorted.length
  const shape = Math.max(0, calibration.tailShape)
  const trusted = n === 0 ? calibration.tailFrom : sorted[n - 1 - Math.floor(n / TRUSTED_PER_ANOMALY)]
  const from = Math.max(trusted, calibration.tailFrom)
  const { tailFrom } = calibration
  const tailScale = Math.max(1e-9, calibration.tailScale)
  const scale = tailScale + shape * (from - tailFrom)
  const countedShare = (energy: number) => (1 + n - lowerBound(sorted, energy)) / (n + 1)
  const shareBeyond = n === 0 ? TAIL_SHARE : countedShare(nextAbove(from))
  const pvalue = (energy: number): number => {
    if (Number.isNaN(energy)) return 1
    if (!(energy > from)) return countedShare(energy)
    if (energy === Number.POSITIVE_INFINITY) return Number.MIN_VALUE
    const near = tailShareAt(energy - from, scale, shape, shareBeyond)
    const far = from > tailFrom ? tailShareAt(energy - tailFrom, tailScale, shape, TAIL_SHARE) : 0
    return Math.max(Number.MIN_VALUE, near, Math.min(far, shareBeyond))
  }
  const energyAt = (p: number): number => {
    if (!(p < 1)) return Number.NEGATIVE_INFINITY
    if (p < shareBeyond) {
      const near = from + tailAt(p, scale, shape, shareBeyond)
      return from > tailFrom ? Math.max(near, tailFrom + tailAt(p, tailScale, shape, TAIL_SHARE)) : near
    }
    // The least energy with few enough calibration energies at or above it.
    const allowed = Math.floor(p * (n + 1) - 1 + 1e-9)
    if (n === 0 || allowed >= n) return Number.NEGATIVE_INFINITY
    return nextAbove(sorted[n - 1 - allowed])
  }
  return { pvalue, energyAt }
}

const nextAbove = (value: number): number =>
  value + Math.max(Number.MIN_VALUE, Math.abs(value) * Number.EPSILON)

// ---- The stream's own past

const LOWEST = 1 / 16
const BINS_PER_DOUBLING = 16
/** Weight at which the past is halved. */
const WEIGHT_MAX = 2 ** 20
/** Energies needed before a tail is fitted. */
export const HISTOGRAM_EVENTS_MIN = 2_500
/** While less is known, only energies from here on are alarming, nats above normal, … */
export const EXTREME_ENERGY = 30
/** … and only if this many times as high as what one in 200 lies above. */
const EARLY_MARGIN = 1.5
/** The threshold never falls below this: what is so near to normal needs no answer. */
export const THRESHOLD_MIN = 3

/** Energies above the 90 % quantile tell how fast normal ones fade. */
const BULK_SHARE = 0.1

/** Bin of an energy. */
export const energyBin = (energy: number): number => {
  if (!(energy > LOWEST)) return 0
  const bin = 1 + Math.floor(BINS_PER_DOUBLING * Math.log2(energy / LOWEST))
  return bin < ENERGY_BINS ? bin : ENERGY_BINS - 1
}

/** Lower edge of a bin, nats; −Infinity for the first. */
export const binEdge = (bin: number): number =>
  bin <= 0 ? Number.NEGATIVE_INFINITY : LOWEST * 2 ** ((bin - 1) / BINS_PER_DOUBLING)

/** Energy in nats from which an event is alarming, for the budget given to `countEnergy`. */
export const histogramThreshold = (histogram: EnergyHistogram): number =>
  histogram.totals[2] === 0 ? EXTREME_ENERGY : histogram.tail[3]

/** Energy that this share of the counted weight lies above, to a bin. */
const quantileAt = ({ counts, totals }: EnergyHistogram, share: number): number => {
  const allowed = share * totals[0]
  let bin = ENERGY_BINS - 1
  let above = counts[bin]
  while (bin > 1 && above + counts[bin - 1] <= allowed) above += counts[--bin]
  return binEdge(bin)
}

const refit = (histogram: EnergyHistogram, budget: number): void => {
  const { counts, totals, tail } = histogram
  if (totals[0] < HISTOGRAM_EVENTS_MIN) {
    tail[3] = Math.max(EXTREME_ENERGY, EARLY_MARGIN * quantileAt(histogram, 1 / 200))
    return
  }
  let start = ENERGY_BINS - 1
  let beyond = counts[start]
  while (start > 1 && beyond + counts[start - 1] <= TAIL_SHARE * totals[0]) beyond += counts[--start]
  const from = start <= 1 ? LOWEST : binEdge(start)
  let m0 = 0
  let m1 = 0
  let above = beyond
  for (let bin = start; bin < ENERGY_BINS; bin++) {
    const count = counts[bin]
    if (count === 0) continue
    const y = (binEdge(bin) + binEdge(bin + 1)) / 2 - from
    above -= count
    m0 += count * y
    m1 += count * y * ((above + count / 2) / beyond)
  }
  if (beyond < TAIL_MIN) {
    tail[0] = from
    tail[1] = 1
    tail[2] = 0
  } else {
    const [scale, shape] = fitMoments(m0 / beyond, m1 / beyond)
    // The bins hold a little less than TAIL_SHARE: move the start so that the share is right.
    const share = Math.min(TAIL_SHARE, beyond / totals[0])
    tail[0] = from - (share < TAIL_SHARE ? tailAt(share, scale, shape, TAIL_SHARE) : 0)
    tail[1] = scale
    tail[2] = shape
  }
  // Anomalies among the events fatten the tail; what lies between the 90 and the 98 % quantile they hardly
  // touch. Where an exponential tail drawn from there ends sooner, it stands for the normal ones.
  const high = quantileAt(histogram, TAIL_SHARE)
  const scale = Math.max(1e-3, (high - quantileAt(histogram, BULK_SHARE)) / Math.log(BULK_SHARE / TAIL_SHARE))
  const share = Math.min(budget, TAIL_SHARE)
  if (high + tailAt(share, scale, 0, TAIL_SHARE) < tail[0] + tailAt(share, tail[1], tail[2], TAIL_SHARE)) {
    tail[0] = high
    tail[1] = scale
    tail[2] = 0
  }
  tail[3] = Math.max(THRESHOLD_MIN, tail[0] + tailAt(share, tail[1], tail[2], TAIL_SHARE))
}

/**
 * Counts the baseline energy of a normal event: in order, once per event. An alarming one (at or above the
 * threshold) counts as if it lay at the threshold, and only while such are no more than twice the budget's
 * share: a flood of anomalies doesn't teach the stream that floods are normal, while a stream whose tail is
 * heavier than assumed still widens its threshold step by step.
 */
export const countEnergy = (histogram: EnergyHistogram, energy: number, budget: number): void => {
  const { counts, totals } = histogram
  if (Number.isNaN(energy)) return
  const threshold = histogramThreshold(histogram)
  totals[2] += 1
  if (energy < threshold) counts[energyBin(energy)] += 1
  else if (totals[1] < 3 + 2 * budget * totals[0]) {
    counts[energyBin(threshold)] += 1
    totals[1] += 1
  } else {
    refitWhenDue(histogram, budget)
    return
  }
  totals[0] += 1
  if (totals[0] >= WEIGHT_MAX) {
    for (let bin = 0; bin < ENERGY_BINS; bin++) counts[bin] *= 0.5
    totals[0] *= 0.5
    totals[1] *= 0.5
  }
  refitWhenDue(histogram, budget)
}

/** Refits after the first event, then whenever the events have grown by 1/64 (at least 64, at most 4,096). */
const refitWhenDue = (histogram: EnergyHistogram, budget: number): void => {
  const { totals } = histogram
  if (totals[2] < totals[3]) return
  refit(histogram, budget)
  totals[3] = totals[2] + Math.min(4_096, Math.max(64, Math.floor(totals[2] / 64)))
}

/** p-value of an energy from the stream's own past: never below 1 / (n + 1) until a tail could be fitted. */
export const histogramPvalue = (histogram: EnergyHistogram, energy: number): number => {
  const { counts, totals, tail } = histogram
  if (Number.isNaN(energy)) return 1
  let above = 0
  for (let bin = energyBin(energy); bin < ENERGY_BINS; bin++) above += counts[bin]
  const counted = Math.min(1, (1 + above) / (1 + totals[0]))
  if (totals[0] < HISTOGRAM_EVENTS_MIN || tail[1] === 0 || !(energy > tail[0])) return counted
  return Math.max(
    Number.MIN_VALUE,
    Math.min(counted, tailShareAt(energy - tail[0], tail[1], tail[2], TAIL_SHARE))
  )
}
