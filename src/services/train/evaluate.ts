// How well scores tell labelled anomalies from the rest.

/** Ratios lie in [0, 1]; undefined questions (no anomalies, or nothing else) answer NaN. */
export interface Metrics {
  readonly rows: number
  readonly anomalies: number
  /** Area under the ROC curve; ties count half. */
  readonly rocAuc: number
  /** Average precision: precision at each recall step, ties taken together. */
  readonly averagePrecision: number
  /** Share of anomalies caught where 1 % of normal rows alarm. */
  readonly truePositiveRateAt1Percent: number
  /** Share of anomalies, and of normal rows, that alert at the model's own threshold. */
  readonly detectionRate: number
  readonly falseAlarmRate: number
  /** Counts behind the two shares. */
  readonly caught: number
  readonly falseAlarms: number
}

/** scores: higher is more anomalous; labels: 1 is an anomaly; alerts: 1 where the row alerted. */
export const measure = (
  scores: ArrayLike<number>,
  labels: ArrayLike<number>,
  alerts: ArrayLike<number>
): Metrics => {
  const rows = scores.length
  const order = Float64Array.from({ length: rows }, (_, at) => at).sort((a, b) => scores[b] - scores[a])
  let anomalies = 0
  let caught = 0
  let falseAlarms = 0
  for (let row = 0; row < rows; row++) {
    if (labels[row] === 1) {
      anomalies++
      if (alerts[row] === 1) caught++
    } else if (alerts[row] === 1) falseAlarms++
  }
  const normals = rows - anomalies
  let hits = 0
  let misses = 0
  let area = 0
  let precision = 0
  let early = 0
  const allowed = Math.floor(0.01 * normals)
  for (let at = 0; at < rows; ) {
    let tiedHits = 0
    let tiedMisses = 0
    const score = scores[order[at]]
    for (; at < rows && scores[order[at]] === score; at++) labels[order[at]] === 1 ? tiedHits++ : tiedMisses++
    area += tiedMisses * (hits + tiedHits / 2)
    hits += tiedHits
    misses += tiedMisses
    precision += (tiedHits * hits) / (hits + misses)
    if (misses <= allowed) early = hits
  }
  return {
    rows,
    anomalies,
    rocAuc: area / (anomalies * normals),
    averagePrecision: precision / anomalies,
    truePositiveRateAt1Percent: normals > 0 ? early / anomalies : Number.NaN,
    detectionRate: caught / anomalies,
    falseAlarmRate: falseAlarms / normals,
    caught,
    falseAlarms
  }
}
