// What scores of a labelled series are worth beyond ROC and AP: soft labels, incidents, daily lists, alarm rates.
import { measure } from "../src/services/train/evaluate.ts"

/** Widest buffer around an incident for `vusPr`, rows. */
const BUFFER_MAX = 100

/** Runs of rows with label 1, both ends included. */
export const incidentsOf = (
  labels: ArrayLike<number>
): ReadonlyArray<readonly [first: number, last: number]> => {
  const found: Array<readonly [number, number]> = []
  for (let row = 0; row < labels.length; row++) {
    if (labels[row] !== 1) continue
    const first = row
    while (row + 1 < labels.length && labels[row + 1] === 1) row++
    found.push([first, row])
  }
  return found
}

/** Labels with a buffer of this many rows, half before and half after each incident: √(1 − distance / buffer). */
export const softLabels = (labels: ArrayLike<number>, buffer: number): Float64Array => {
  const soft = Float64Array.from(labels)
  for (const [first, last] of incidentsOf(labels)) {
    for (let distance = 1; distance <= buffer / 2; distance++) {
      const share = Math.sqrt(1 - distance / buffer)
      const before = first - distance
      const after = last + distance
      if (before >= 0 && share > soft[before]) soft[before] = share
      if (after < soft.length && share > soft[after]) soft[after] = share
    }
  }
  return soft
}

/** Rows by falling score, and where each run of equal scores ends. */
const ranked = (scores: ArrayLike<number>) => {
  const order = Int32Array.from({ length: scores.length }, (_, row) => row).sort(
    (a, b) => scores[b] - scores[a]
  )
  const ends: Array<number> = []
  for (let at = 1; at <= order.length; at++) {
    if (at === order.length || scores[order[at]] !== scores[order[at - 1]]) ends.push(at)
  }
  return { order, ends }
}

/** Average precision where a row counts as an anomaly by its share in [0, 1]; ties are taken together. */
const averagePrecision = ({ order, ends }: ReturnType<typeof ranked>, shares: Float64Array): number => {
  let all = 0
  let hits = 0
  let area = 0
  let at = 0
  for (const share of shares) all += share
  for (const end of ends) {
    let tied = 0
    for (; at < end; at++) tied += shares[order[at]]
    hits += tied
    area += (tied * hits) / end
  }
  return area / all
}

/** Average precision, averaged over soft labels with buffers of 0 to 100 rows around the incidents of one series. */
export const vusPr = (scores: ArrayLike<number>, labels: ArrayLike<number>): number => {
  const rank = ranked(scores)
  let sum = 0
  for (let buffer = 0; buffer <= BUFFER_MAX; buffer++)
    sum += averagePrecision(rank, softLabels(labels, buffer))
  return sum / (BUFFER_MAX + 1)
}

/** Share of rows with label 0 that are flagged. */
export const alarmRate = (flags: ArrayLike<number>, labels: ArrayLike<number>): number => {
  let normals = 0
  let flagged = 0
  for (let row = 0; row < labels.length; row++) {
    if (labels[row] === 1) continue
    normals++
    flagged += flags[row]
  }
  return flagged / normals
}

/** Incidents in which one row or more is flagged. */
export const incidentsHit = (flags: ArrayLike<number>, labels: ArrayLike<number>): number =>
  incidentsOf(labels).filter(([first, last]) => {
    for (let row = first; row <= last; row++) if (flags[row] === 1) return true
    return false
  }).length

/** Share of rows with label 0 that score at least as high as the row below which this share of the anomalies lies. */
export const falseAlarmsWhereMissed = (
  scores: ArrayLike<number>,
  labels: ArrayLike<number>,
  missed: number
): number => {
  const anomalies = Float64Array.from(scores)
    .filter((_, row) => labels[row] === 1)
    .sort()
  const threshold = anomalies[Math.min(anomalies.length - 1, Math.floor(missed * anomalies.length))]
  return alarmRate(
    Array.from(scores, (score) => (score >= threshold ? 1 : 0)),
    labels
  )
}

/** Share of anomalies among the `most` highest scores of each day, averaged over days. */
export const precisionInDailyTop = (
  scores: ArrayLike<number>,
  labels: ArrayLike<number>,
  days: ArrayLike<number>,
  most: number
): number => {
  const byDay = new Map<number, Array<number>>()
  for (let row = 0; row < scores.length; row++) {
    const rows = byDay.get(days[row])
    if (rows === undefined) byDay.set(days[row], [row])
    else rows.push(row)
  }
  let sum = 0
  for (const rows of byDay.values()) {
    const top = rows.sort((a, b) => scores[b] - scores[a]).slice(0, most)
    sum += top.filter((row) => labels[row] === 1).length / most
  }
  return sum / byDay.size
}

/** ROC-AUC and average precision. */
export const rankings = (scores: ArrayLike<number>, labels: ArrayLike<number>) => {
  const { averagePrecision: ap, rocAuc: roc } = measure(scores, labels, new Uint8Array(labels.length))
  return { roc, ap }
}

/** Mean squared deviations of each row from the calibration rows, clipped to ±20: the plainest peer of a series. */
export const meanSquares = (
  calibration: ReadonlyArray<ArrayLike<number>>,
  rows: ReadonlyArray<ArrayLike<number>>
): Float64Array => {
  const width = calibration[0].length
  const centre = new Float64Array(width)
  const spread = new Float64Array(width)
  for (const row of calibration) for (let j = 0; j < width; j++) centre[j] += row[j] / calibration.length
  for (const row of calibration) {
    for (let j = 0; j < width; j++) spread[j] += (row[j] - centre[j]) ** 2 / calibration.length
  }
  return Float64Array.from(rows, (row) => {
    let sum = 0
    for (let j = 0; j < width; j++) {
      const distance = Math.abs(row[j] - centre[j])
      const z = distance === 0 ? 0 : Math.min(20, distance / Math.sqrt(spread[j] + 1e-18))
      sum += (z * z) / width
    }
    return sum
  })
}
