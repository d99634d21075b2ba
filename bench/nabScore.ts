// The score of the Numenta anomaly benchmark (Lavin and Ahmad 2015): early detections in a window earn most, each
// false one costs, and the sum is set between that of a silent detector (0) and a perfect one (100).

/** Costs of a profile: `CostMatrix` of the benchmark's profiles. */
export interface NabProfile {
  readonly tpWeight: number
  readonly fnWeight: number
  readonly fpWeight: number
}

/** One series with its windows as row numbers, both ends included. */
export interface NabSeries {
  readonly rows: number
  readonly windows: ReadonlyArray<readonly [first: number, last: number]>
}

const PROBATION_SHARE = 0.15
const PROBATION_ROWS_MAX = 750

/** Rows at the start of a series in which nothing counts. */
export const probationOf = (rows: number): number =>
  Math.min(Math.floor(PROBATION_SHARE * rows), PROBATION_ROWS_MAX)

/** Worth of a detection by its place: −1 the window's start, 0 its end, beyond 3 windows later the full cost. */
const worthAt = (place: number): number => (place > 3 ? -1 : 2 / (1 + Math.exp(5 * place)) - 1)

/** Unscaled score of one series by the rows at which a detector alarmed, ascending. */
export const nabRaw = (
  { rows, windows }: NabSeries,
  alarms: ReadonlyArray<number>,
  { tpWeight, fnWeight, fpWeight }: NabProfile
): number => {
  const probation = probationOf(rows)
  const best = new Float64Array(windows.length).fill(Number.NEGATIVE_INFINITY)
  let score = 0
  for (const row of alarms) {
    if (row < probation) continue
    const inside = windows.findIndex(([first, last]) => row >= first && row <= last)
    if (inside >= 0) {
      const [first, last] = windows[inside]
      const worth = (worthAt(-(last - row + 1) / (last - first + 1)) * tpWeight) / worthAt(-1)
      if (worth > best[inside]) best[inside] = worth
      continue
    }
    let before = -1
    for (let w = 0; w < windows.length; w++) if (windows[w][1] < row) before = w
    if (before < 0) score -= fpWeight
    else {
      const [first, last] = windows[before]
      score += worthAt((row - last) / Math.max(1, last - first)) * fpWeight
    }
  }
  for (const worth of best) score += worth === Number.NEGATIVE_INFINITY ? -fnWeight : worth
  return score
}

/** Score of several series, 0 for silence, 100 for one alarm at the start of each window and no other. */
export const nabScore = (
  series: ReadonlyArray<NabSeries>,
  alarms: ReadonlyArray<ReadonlyArray<number>>,
  profile: NabProfile
): number => {
  let raw = 0
  let windows = 0
  series.forEach((one, at) => {
    raw += nabRaw(one, alarms[at], profile)
    windows += one.windows.length
  })
  const silent = -profile.fnWeight * windows
  return (100 * (raw - silent)) / (profile.tpWeight * windows - silent)
}

/** Rows at or above a threshold, each followed by this quiet time in the unit of `times`. */
export const alarmsAt = (
  scores: ArrayLike<number>,
  times: ArrayLike<number>,
  threshold: number,
  quiet: number
): ReadonlyArray<number> => {
  const alarms: Array<number> = []
  let until = Number.NEGATIVE_INFINITY
  for (let row = 0; row < scores.length; row++) {
    if (!(scores[row] >= threshold) || times[row] < until) continue
    alarms.push(row)
    until = times[row] + quiet
  }
  return alarms
}
